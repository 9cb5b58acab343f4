//! Mode ipip: the packet travels to its backend within another one. Case 50, and what it means for cases 20, 26, 45
//! and 46.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bg_common::abi::mode;
use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::{IcmpError, Outer};
use bg_tests::packets::wire::Wire;
use bg_tests::packets::world::{
    self, BACKENDS, CLIENT, CLIENT_MAC, EDGE, LAN_MAC, SILENT, V6_BACKEND, V6_SERVICE, WAN_MAC, WEB, v6,
    v6_ip,
};
use bg_tests::packets::{Action, Rig, Segment, Tables, Transport, flags};

const WEBS: [u16; 2] = [0, V6_SERVICE];
const PATIENCE: Duration = Duration::from_mins(1);

fn both(segment: Segment) -> [Segment; 2] {
    [segment.over_v6(), segment]
}

fn service(segment: &Segment) -> u16 {
    if segment.destination.is_ipv4() { 0 } else { V6_SERVICE }
}

fn backend(segment: &Segment, number: usize) -> &'static world::Backend {
    &BACKENDS[number + if segment.destination.is_ipv4() { 0 } else { V6_BACKEND }]
}

/// What carries a client's segment to backend `number`, as it leaves by the lan.
fn carried(segment: &Segment, number: usize) -> Outer {
    let to = backend(segment, number);
    let hash = Tables::hash(segment.source, service(segment));
    Outer::around(segment, hash, to.address.ip()).sent(to.mac, LAN_MAC)
}

fn shapes() -> Vec<Segment> {
    let bare = Segment::to_service(flags::ACK);
    let shapes = [
        bare.clone(),
        Segment { flags: flags::SYN, tcp_options: vec![1; 40], ..bare.clone() },
        Segment { padding: vec![0xee; 6], tos: 0xb9, ttl: 2, ..bare.clone() },
        // Congestion experienced.
        Segment { tos: 0x03, flow_label: 0xa_bcde, payload: vec![3; 1001], ..bare.clone() },
        Segment { tags: vec![[0x81, 0, 0x60, 42]], ip_options: vec![1; 12], ..bare.clone() },
        Segment { tags: vec![[0x88, 0xa8, 0, 7], [0x81, 0, 0, 42]], ..bare.clone() },
        Segment { tcp_error: 0x0202, ip_error: 0x0101, ..bare.clone() },
        Segment { fragment: 0, ..bare.clone() },
        Segment { transport: Transport::Udp, payload: vec![9; 33], ..bare.clone() },
        Segment { transport: Transport::UdpUnsummed, ..bare },
    ];
    let sound =
        |segment: &Segment| segment.destination.is_ipv4() || segment.transport != Transport::UdpUnsummed;
    shapes.into_iter().flat_map(both).filter(sound).collect()
}

/// Case 50: v4 in v4, and v6 in v6.
#[test]
fn a_packet_travels_within_another() {
    Rig::run("ipip", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        rig.tables.serve_udp(true).unwrap();
        for segment in shapes() {
            let sent = carried(&segment, 0).bytes();
            rig.expect(&segment.bytes(), Reason::Encapsulated, Action::Redirect, &sent);
        }
        assert_eq!(rig.service_counter(0, 0).connections, 1);
        assert_eq!(rig.service_counter(0, 0).packets, 10);
        assert_eq!(rig.tables.backend_counter(0).unwrap().syns, 0);
    });
}

/// Case 50: v4 in v6.
#[test]
fn a_packet_of_ipv4_travels_within_one_of_ipv6() {
    Rig::run("ipip46", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        rig.tables.serve_udp(true).unwrap();
        let to = BACKENDS[V6_BACKEND];
        rig.tables.tunnel(0, to.address.ip()).unwrap();
        for segment in shapes().into_iter().filter(|segment| segment.destination.is_ipv4()) {
            let hash = Tables::hash(segment.source, 0);
            let sent = Outer::around(&segment, hash, to.address.ip()).sent(to.mac, LAN_MAC).bytes();
            rig.expect(&segment.bytes(), Reason::Encapsulated, Action::Redirect, &sent);
        }
    });
}

/// A flow has one outer source, and flows have many.
#[test]
fn flows_are_told_apart_by_the_outer_source() {
    let sources: Vec<_> = (40_000..40_100)
        .map(|port| {
            let mut segment = Segment::to_service(flags::ACK);
            segment.source.set_port(port);
            carried(&segment, 0).source
        })
        .collect();
    let mut different = sources.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > 95, "100 flows have {} sources", different.len());
}

/// A connection that was opened after a flip stays.
#[test]
fn a_connection_stays_through_switches_without_its_replies() {
    Rig::run("ipippin", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        rig.tables.flip(0, Environment::Blue).unwrap();
        for syn in both(Segment::to_service(flags::SYN)) {
            for (flags, number) in [(flags::ACK, 0), (flags::SYN, 1), (flags::ACK, 1)] {
                let segment = Segment { flags, ..syn.clone() };
                let sent = carried(&segment, number).bytes();
                rig.expect(&segment.bytes(), Reason::Encapsulated, Action::Redirect, &sent);
            }
        }
    });
}

/// Case 50: too large after encapsulation. The client is told how much fits within, about its packet as it sent it.
#[test]
fn a_packet_that_does_not_fit_is_answered() {
    Rig::run("ipipmtu", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        let check = |rig: &mut Rig<'_>, segment: Segment, to: &world::Backend| {
            let outer = if to.address.is_ipv4() { 20_u16 } else { 40 };
            let headers = if segment.destination.is_ipv4() { 40 } else { 60 };
            let fits = Segment { payload: vec![5; 1500 - usize::from(outer) - headers], ..segment };
            let hash = Tables::hash(fits.source, service(&fits));
            let sent = Outer::around(&fits, hash, to.address.ip()).sent(to.mac, LAN_MAC).bytes();
            rig.expect(&fits.bytes(), Reason::Encapsulated, Action::Redirect, &sent);
            let long = Segment { payload: vec![5; fits.payload.len() + 1], ..fits };
            let (kind, code) = if long.destination.is_ipv4() { (3, 4) } else { (2, 0) };
            let [high, low] = (1500 - outer).to_be_bytes();
            let told = IcmpError::about(&long, kind, code, [0, 0, high, low]).bytes();
            rig.expect(&long.bytes(), Reason::FragmentationNeeded, Action::Tx, &told);
            long
        };
        let segment = Segment::to_service(flags::ACK);
        check(rig, segment.clone(), &BACKENDS[0]);
        check(rig, segment.over_v6(), &BACKENDS[V6_BACKEND]);
        rig.tables.tunnel(0, BACKENDS[V6_BACKEND].address.ip()).unwrap();
        check(rig, segment.clone(), &BACKENDS[V6_BACKEND]);
    });
}

/// What may be fragmented is the kernel's to fragment, as a whole.
#[test]
fn a_packet_that_may_be_fragmented_goes_up_within_one_that_may_be() {
    Rig::run("ipipfrag", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        let segment = Segment { fragment: 0, payload: vec![5; 1450], ..Segment::to_service(flags::ACK) };
        let hash = Tables::hash(segment.source, 0);
        let up =
            Outer { fragment: 0, id: segment.id, ..Outer::around(&segment, hash, BACKENDS[0].address.ip()) };
        rig.expect(&segment.bytes(), Reason::ForwardedByKernel, Action::Pass, &up.bytes());
    });
}

/// Case 26: a packet is forwarded, and only then put into another one.
#[test]
fn a_packet_without_hops_left_is_answered() {
    Rig::run("ipipttl", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        for segment in both(Segment { ttl: 1, ..Segment::to_service(flags::ACK) }) {
            let kind = if segment.destination.is_ipv4() { 11 } else { 3 };
            let told = IcmpError::about(&segment, kind, 0, [0; 4]).bytes();
            rig.expect(&segment.bytes(), Reason::TimeExceeded, Action::Tx, &told);
        }
    });
}

/// Case 45: the kernel finds the neighbour, and forwards what it was handed.
#[test]
fn a_packet_to_an_unknown_neighbour_goes_up_within_another() {
    Rig::run("ipipup", |rig| {
        rig.tables.mode(&[2, 2 + V6_SERVICE], mode::IPIP).unwrap();
        rig.namespace
            .sysctl("net/ipv4/neigh/lan/retrans_time_ms", &PATIENCE.as_millis().to_string())
            .unwrap();
        // The kernel must know a way back to what the outer packet seems to come from.
        rig.namespace.ip(&["route", "add", "172.16.0.0/16", "dev", "lan"]).unwrap();
        for segment in both(Segment { destination: EDGE, ..Segment::to_service(flags::SYN) }) {
            let to = backend(&segment, SILENT);
            let number = if segment.destination.is_ipv4() { 2 } else { 2 + V6_SERVICE };
            let hash = Tables::hash(segment.source, number);
            let up = Outer::around(&segment, hash, to.address.ip());
            rig.expect(&segment.bytes(), Reason::ForwardedByKernel, Action::Pass, &up.bytes());
            assert_eq!(rig.service_counter(number, 0).packets, 1);

            let wire = Wire::listen().unwrap();
            rig.receive(&segment.bytes());
            world::neighbour(rig.namespace, to.address.ip(), to.mac, "lan").unwrap();
            let forwarded = Outer { ttl: 63, ..up.clone().sent(to.mac, LAN_MAC) };
            if segment.destination.is_ipv4() {
                wire.expect(&forwarded.bytes(), PATIENCE);
            }
            let sent = up.sent(to.mac, LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Encapsulated, Action::Redirect, &sent.bytes());
        }
    });
}

/// Case 20: an error about a reply travels likewise, and what it quotes is as the backend sent it.
#[test]
fn an_error_about_a_reply_reaches_its_backend() {
    Rig::run("ipipicmp", |rig| {
        rig.tables.mode(&WEBS, mode::IPIP).unwrap();
        rig.tables.serve_udp(true).unwrap();
        let router = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
        for (router, vip, client) in [(router, WEB, CLIENT), (v6_ip(router), v6(WEB), v6(CLIENT))] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let reply = Segment {
                    source: vip,
                    destination: client,
                    transport,
                    ..Segment::to_service(flags::ACK)
                };
                let (kind, code) = if vip.is_ipv4() { (3, 4) } else { (2, 0) };
                let error = IcmpError {
                    to: WAN_MAC,
                    from: CLIENT_MAC,
                    tags: Vec::new(),
                    vip: router,
                    client: vip.ip(),
                    ttl: 64,
                    kind,
                    code,
                    rest: [0, 0, 5, 0],
                    quote: reply.ip_bytes(),
                };
                let forward = Segment { source: client, destination: vip, ..reply };
                let inner = IcmpError { ttl: 63, ..error.clone() }.bytes()[14..].to_vec();
                let tos = if vip.is_ipv4() { 0xc0 } else { 0 };
                let led = Outer { inner, tos, ..carried(&forward, 0) };
                rig.expect(&error.bytes(), Reason::ErrorForwarded, Action::Redirect, &led.bytes());
                let last = IcmpError { ttl: 1, ..error };
                rig.expect_drop(&last.bytes(), Reason::ErrorTtl);
            }
        }
    });
}
