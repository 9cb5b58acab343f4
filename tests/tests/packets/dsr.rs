//! Mode dsr: only the hardware addresses change. Case 49, and what it means for cases 9, 20, 26, 45 and 46.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bg_common::abi::mode;
use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::{DF, IcmpError, MF, Mac};
use bg_tests::packets::world::{
    self, BACKENDS, CLIENT, CLIENT_MAC, EDGE, LAN_MAC, ODD, SILENT, THIN_MAC, THIN_MTU, V6_BACKEND,
    V6_SERVICE, WAN_MAC, WEB, v6, v6_ip,
};
use bg_tests::packets::{Action, Rig, Segment, Transport, flags};

const WEBS: [u16; 2] = [0, V6_SERVICE];

fn both(segment: Segment) -> [Segment; 2] {
    [segment.over_v6(), segment]
}

/// The packet as it is, on its way to a neighbour.
fn sent(segment: &Segment, to: Mac, from: Mac) -> Vec<u8> {
    Segment { to, from, ..segment.clone() }.bytes()
}

/// The backend of that environment of a service's version of IP.
fn backend(segment: &Segment, number: usize) -> &'static world::Backend {
    &BACKENDS[number + if segment.destination.is_ipv4() { 0 } else { V6_BACKEND }]
}

/// Case 49: whatever the packet looks like, it is the backend's as it came.
#[test]
fn only_hardware_addresses_change() {
    Rig::run("dsr", |rig| {
        rig.tables.mode(&WEBS, mode::DSR).unwrap();
        rig.tables.serve_udp(true).unwrap();
        let bare = Segment::to_service(flags::ACK);
        let shapes = [
            bare.clone(),
            Segment { flags: flags::SYN, tcp_options: vec![1; 40], ..bare.clone() },
            Segment { padding: vec![0xee; 6], payload: vec![3; 7], tos: 0xb9, ..bare.clone() },
            Segment { tags: vec![[0x81, 0, 0x60, 42]], ip_options: vec![1; 12], ..bare.clone() },
            Segment { tcp_error: 0x0202, ..bare.clone() },
            // It has arrived as far as hops are concerned.
            Segment { ttl: 1, ..bare.clone() },
            Segment { transport: Transport::Udp, payload: vec![9; 33], ..bare },
        ];
        for segment in shapes.into_iter().flat_map(both) {
            let to = backend(&segment, 0);
            let expected = sent(&segment, to.mac, LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &expected);
        }
        assert_eq!(rig.service_counter(0, 0).connections, 1);
        // Nobody waits for an answer that comes this way.
        assert_eq!(rig.tables.backend_counter(0).unwrap().syns, 0);
    });
}

/// A connection that was opened after a flip stays, whatever the client sends, and one from before it too.
#[test]
fn a_connection_stays_through_switches_without_its_replies() {
    Rig::run("dsrpin", |rig| {
        rig.tables.mode(&WEBS, mode::DSR).unwrap();
        rig.tables.flip(0, Environment::Blue).unwrap();
        for syn in both(Segment::to_service(flags::SYN)) {
            let mut goes_to = |segment: &Segment, environment| {
                let expected = sent(segment, backend(segment, environment).mac, LAN_MAC);
                rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &expected);
            };
            let mut old = Segment { flags: flags::ACK, ..syn.clone() };
            old.source.set_port(40_001);
            goes_to(&old, 0);
            goes_to(&syn, 1);
            let at = |behind: u32, flags| Segment {
                sequence: syn.sequence.wrapping_add(behind),
                flags,
                payload: vec![5; 100],
                ..syn.clone()
            };
            // Many times around the sequence numbers.
            for megabytes in (0..9000).step_by(16) {
                goes_to(&at((megabytes << 20_u32) + 1, flags::ACK), 1);
            }
            let now = 8992 << 20_u32;
            // The SYN again, late; a keepalive probe; a retransmission.
            goes_to(&syn, 1);
            goes_to(&at(now, flags::ACK), 1);
            goes_to(&at(now - (1 << 29), flags::ACK), 1);
            // What nobody can have sent in it.
            goes_to(&at(now.wrapping_add(1 << 31), flags::ACK), 0);
        }
    });
}

/// The VIP is the node's own: the kernel would take the packet for itself, not find the neighbour.
#[test]
fn without_a_neighbour_it_is_lost() {
    Rig::run("dsrlost", |rig| {
        rig.tables.mode(&[2, 2 + V6_SERVICE], mode::DSR).unwrap();
        for segment in both(Segment { destination: EDGE, ..Segment::to_service(flags::SYN) }) {
            rig.expect_drop(&segment.bytes(), Reason::NoNeighbour);
            let to = backend(&segment, SILENT);
            world::neighbour(rig.namespace, to.address.ip(), to.mac, "lan").unwrap();
            let expected = sent(&segment, to.mac, LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &expected);
        }
    });
}

/// A router would send a packet to the VIP back here.
#[test]
fn behind_a_router_it_is_lost() {
    Rig::run("dsrroute", |rig| {
        rig.tables.mode(&[3, 3 + V6_SERVICE], mode::DSR).unwrap();
        rig.tables.steady(2, Environment::Green).unwrap();
        for segment in both(Segment { destination: ODD, ..Segment::to_service(flags::SYN) }) {
            rig.expect_drop(&segment.bytes(), Reason::NoRoute);
            let (far, router) = (backend(&segment, 7).address.ip(), backend(&segment, 0).address.ip());
            rig.namespace.ip_all(&[format!("route add {far} via {router} dev lan")]).unwrap();
            rig.expect_drop(&segment.bytes(), Reason::NotOnLink);
            rig.expect_drop(&segment.bytes(), Reason::NotOnLink);
        }
    });
}

/// Case 46: nobody may fragment what the kernel would take for its own, so that the client is told in any case.
#[test]
fn a_packet_that_does_not_fit_is_answered() {
    Rig::run("dsrmtu", |rig| {
        rig.tables.mode(&[2, 2 + V6_SERVICE], mode::DSR).unwrap();
        rig.tables.steady(1, Environment::Green).unwrap();
        let [high, low] = THIN_MTU.to_be_bytes();
        for fragment in [DF, 0] {
            let segment = Segment { destination: EDGE, fragment, ..Segment::to_service(flags::ACK) };
            for segment in both(segment) {
                let header = if segment.destination.is_ipv4() { 40 } else { 60 };
                let fits = Segment { payload: vec![5; usize::from(THIN_MTU) - header], ..segment };
                let expected = sent(&fits, backend(&fits, 5).mac, THIN_MAC);
                rig.expect(&fits.bytes(), Reason::Forwarded, Action::Redirect, &expected);
                let long = Segment { payload: vec![5; usize::from(THIN_MTU) - header + 1], ..fits };
                let (kind, code) = if long.destination.is_ipv4() { (3, 4) } else { (2, 0) };
                let told = IcmpError::about(&long, kind, code, [0, 0, high, low]).bytes();
                rig.expect(&long.bytes(), Reason::FragmentationNeeded, Action::Tx, &told);
            }
        }
    });
}

/// Later fragments would not follow the first one.
#[test]
fn fragments_are_not_taken_without_rewriting() {
    Rig::run("dsrfrag", |rig| {
        for mode in [mode::DSR, mode::IPIP] {
            rig.tables.mode(&WEBS, mode).unwrap();
            let first = Segment { fragment: MF, payload: vec![5; 4], ..Segment::to_service(flags::ACK) };
            rig.expect_drop(&first.bytes(), Reason::DirectFragment);
        }
    });
}

/// Replies do not come this way; what does come from a backend is nobody's.
#[test]
fn what_comes_from_a_backend_is_left_alone() {
    Rig::run("dsrback", |rig| {
        rig.tables.mode(&WEBS, mode::DSR).unwrap();
        rig.tables.remove_endpoint(0).unwrap();
        let reply = Segment {
            from: BACKENDS[0].mac,
            source: BACKENDS[0].address,
            destination: CLIENT,
            ..Segment::to_service(flags::ACK)
        };
        rig.expect_untouched(&reply.bytes(), Reason::NotService);
        rig.expect_untouched(&Segment { source: WEB, ..reply }.bytes(), Reason::NotService);
    });
}

/// Case 20: an error about a reply is the backend's as it came.
#[test]
fn an_error_about_a_reply_reaches_its_backend() {
    Rig::run("dsricmp", |rig| {
        rig.tables.mode(&WEBS, mode::DSR).unwrap();
        rig.tables.serve_udp(true).unwrap();
        let router = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
        let ends = [(router, WEB, CLIENT), (v6_ip(router), v6(WEB), v6(CLIENT))];
        for (router, vip, client) in ends {
            for transport in [Transport::Tcp, Transport::Udp] {
                let kind = if vip.is_ipv4() { (3, 4) } else { (2, 0) };
                let error = error(router, vip, client, transport, kind);
                let to = &BACKENDS[if vip.is_ipv4() { 0 } else { V6_BACKEND }];
                let led = IcmpError { to: to.mac, from: LAN_MAC, ..error.clone() };
                rig.expect(&error.bytes(), Reason::ErrorForwarded, Action::Redirect, &led.bytes());
            }
        }
    });
}

fn error(
    router: IpAddr,
    vip: SocketAddr,
    client: SocketAddr,
    transport: Transport,
    (kind, code): (u8, u8),
) -> IcmpError {
    let reply = Segment {
        source: vip,
        destination: client,
        transport,
        payload: vec![7; 33],
        ..Segment::to_service(flags::ACK)
    };
    IcmpError {
        to: WAN_MAC,
        from: CLIENT_MAC,
        tags: Vec::new(),
        vip: router,
        client: vip.ip(),
        ttl: 1,
        kind,
        code,
        rest: [0, 0, 5, 0],
        quote: reply.ip_bytes(),
    }
}
