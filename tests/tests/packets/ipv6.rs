//! IPv6: what the cases of IPv4 show, for the same world over the other version.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bg_common::control::Environment::{Blue, Green};
use bg_common::reason::Reason;
use bg_tests::packets::over_v6::{elsewhere, expect_forwarded, expect_returned, from_backend, to_service};
use bg_tests::packets::state::UsedPin;
use bg_tests::packets::world::{
    BACKENDS, CLIENT, EDGE, NODE, ODD, PLAIN, SILENT_CLIENT, THIN_CLIENT, THIN_MAC, THIN_MTU, UNREADY,
    V6_BACKEND, V6_SERVICE, WAN_MAC, WEB, v6, v6_ip,
};
use bg_tests::packets::{Action, Rig, Segment, Tables, flags};

/// Cases 1, 2, 3, 11, 35, 48: the live environment, before and after a switch that is the same for both
/// versions; traffic class and flow label are kept.
#[test]
fn a_flow_is_sent_where_it_belongs() {
    Rig::run("v6flow", |rig| {
        let mut syn = to_service(flags::SYN);
        syn.tcp_options = vec![2, 4, 5, 0xb4, 1, 3, 3, 7];
        expect_forwarded(rig, &syn, 0);
        expect_forwarded(rig, &to_service(flags::ACK), 0);
        let plain = Segment { destination: v6(PLAIN), ..to_service(flags::ACK) };
        expect_forwarded(rig, &plain, 2);

        rig.tables.flip(0, Blue).unwrap();
        expect_forwarded(rig, &to_service(flags::ACK), 0);
        expect_forwarded(rig, &syn, 0); // remembered
        let tag = Tables::tag(v6(CLIENT), V6_SERVICE);
        let half = UsedPin { tag, half: Some((9, 9)), matched: false, established: None, closing: false };
        expect_forwarded(rig, &Segment { sequence: 9, ..to_service(flags::SYN) }, 1);
        assert_eq!(rig.tables.pins().unwrap(), [half]);
        expect_forwarded(rig, &Segment { sequence: 10, ..to_service(flags::ACK) }, 1);
        expect_returned(rig, &Segment { acknowledgement: 10, ..from_backend(1, flags::ACK) });
        let established = UsedPin { half: None, established: Some((9, 9)), ..half };
        assert_eq!(rig.tables.pins().unwrap(), [established]);
        // Cases 5 and 6: FIN or RST close the pin and free nothing.
        expect_forwarded(rig, &Segment { sequence: 10, ..to_service(flags::RST) }, 1);
        assert_eq!(rig.tables.pins().unwrap(), [UsedPin { closing: true, ..established }]);

        let [blue, green] = [0, 1].map(|environment| rig.service_counter(V6_SERVICE, environment));
        assert_eq!((blue.packets, blue.connections, green.packets, green.connections), (4, 2, 3, 1));
        assert_eq!(rig.tables.backend_counter(9).unwrap().syns, 1);
    });
}

/// Case 9: replies leave with the VIP and its port.
#[test]
fn a_reply_comes_from_the_vip() {
    Rig::run("v6reply", |rig| {
        for flags in [flags::SYN | flags::ACK, flags::ACK, flags::FIN | flags::ACK, flags::RST] {
            expect_returned(rig, &Segment { payload: vec![1, 2, 3], ..from_backend(0, flags) });
        }
        assert_eq!(rig.tables.backend_counter(8).unwrap().syn_acks, 1);
        let reply = Segment {
            destination: v6(THIN_CLIENT),
            tags: vec![[0x81, 0, 0, 42]],
            ..from_backend(0, flags::ACK)
        };
        let sent = Segment { from: THIN_MAC, ..reply.returned(v6(WEB)) };
        rig.expect(&reply.bytes(), Reason::Returned, Action::Redirect, &sent.bytes());
    });
}

/// Case 10: a backend's answer to the node itself, to its own link, and to IPv4 in disguise.
#[test]
fn own_traffic_is_untouched() {
    Rig::run("v6own", |rig| {
        let to = |ip| Segment {
            destination: SocketAddr::new(ip, 51_234),
            ..from_backend(0, flags::SYN | flags::ACK)
        };
        rig.expect_untouched(&to(v6_ip(NODE)).bytes(), Reason::OwnTraffic);
        rig.expect_untouched(&to("fe80::1".parse().unwrap()).bytes(), Reason::OwnTraffic);
        rig.expect_untouched(&to("::ffff:192.0.2.7".parse().unwrap()).bytes(), Reason::NotService);
        for hops in [0, 1] {
            let reply = Segment { ttl: hops, ..from_backend(0, flags::ACK) };
            rig.expect_untouched(&reply.bytes(), Reason::ReturnTtl);
        }
        let large = Segment {
            destination: v6(THIN_CLIENT),
            payload: vec![9; usize::from(THIN_MTU) - 59],
            ..from_backend(0, flags::ACK)
        };
        rig.expect_untouched(&large.bytes(), Reason::ReturnTooBig);
    });
}

/// Case 45: a neighbour that was never heard of, of either side.
#[test]
fn a_packet_to_an_unknown_neighbour_goes_up_rewritten() {
    Rig::run("v6silent", |rig| {
        let segment = Segment { destination: v6(EDGE), ..to_service(flags::SYN) };
        let rewritten = Segment { destination: BACKENDS[V6_BACKEND + 4].address, ..segment.clone() };
        rig.expect(&segment.bytes(), Reason::ForwardedByKernel, Action::Pass, &rewritten.bytes());
        let reply = Segment { destination: v6(SILENT_CLIENT), ..from_backend(0, flags::ACK) };
        let rewritten = Segment { source: v6(WEB), ..reply.clone() };
        rig.expect(&reply.bytes(), Reason::ReturnedByKernel, Action::Pass, &rewritten.bytes());
    });
}

/// Cases 17 and 18: right for every length, and as wrong as it came.
#[test]
fn checksums_are_updated_and_not_repaired() {
    Rig::run("v6sums", |rig| {
        for length in 0..70_u8 {
            let payload: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            expect_forwarded(rig, &Segment { payload: payload.clone(), ..to_service(flags::ACK) }, 0);
            expect_returned(rig, &Segment { payload, ..from_backend(0, flags::ACK) });
        }
        for tcp_error in [1, 0x1234, 0x8000, 0xfffe] {
            expect_forwarded(rig, &Segment { tcp_error, ..to_service(flags::ACK) }, 0);
        }
    });
}

/// Cases 39, 40, 41, 48: tags; frames for others; other destinations and ports.
#[test]
fn the_rest_is_as_for_ipv4() {
    Rig::run("v6rest", |rig| {
        let [vlan, outer] = [[0x81, 0, 0x60, 42], [0x88, 0xa8, 0, 7]];
        for tags in [vec![vlan], vec![outer, vlan]] {
            expect_forwarded(rig, &Segment { tags, ..to_service(flags::ACK) }, 0);
        }
        for to in [[0x33, 0x33, 0xff, 0, 0, 1], [2, 0, 0, 0, 0, 99]] {
            rig.expect_untouched(&Segment { to, ..to_service(flags::SYN) }.bytes(), Reason::ForeignMac);
        }
        let port = |address: SocketAddr, port| Segment {
            destination: SocketAddr::new(address.ip(), port),
            ..to_service(flags::SYN)
        };
        rig.expect_untouched(&port(v6(WEB), 444).bytes(), Reason::NotService);
        rig.expect_untouched(&port(v6(WEB), 0).bytes(), Reason::NotService);
        rig.expect_drop(&port(v6(EDGE), 444).bytes(), Reason::OtherPort);
        rig.expect_untouched(&port(v6(UNREADY), 80).bytes(), Reason::NotReady);
        let near = Segment { destination: v6(ODD), ..to_service(flags::ACK) };
        let sent = near.forwarded(&BACKENDS[V6_BACKEND + 6], WAN_MAC);
        rig.expect(&near.bytes(), Reason::Forwarded, Action::Tx, &sent.bytes());
        rig.tables.steady(2, Green).unwrap();
        rig.expect_drop(&near.bytes(), Reason::NoRoute);
    });
}

/// Cases 44 and 52: sources that no client has, and IPv4 in disguise, which must not find the IPv4 service.
#[test]
fn odd_addresses_are_never_taken_for_others() {
    Rig::run("v6odd", |rig| {
        let from = |ip: Ipv6Addr| Segment {
            source: SocketAddr::new(IpAddr::V6(ip), 40_000),
            ..to_service(flags::SYN)
        };
        for source in
            ["::", "::1", "::ffff:192.0.2.7", "::192.0.2.7", "ff02::1", "ff0e::1", "fe80::1", "febf::1"]
        {
            let segment = from(source.parse().unwrap());
            rig.expect_drop(&segment.bytes(), Reason::Martian);
            rig.expect_untouched(&elsewhere(&segment).bytes(), Reason::NotService);
        }
        let land = Segment { source: SocketAddr::new(v6(WEB).ip(), 40_000), ..to_service(flags::SYN) };
        rig.expect_drop(&land.bytes(), Reason::Martian);
        for source in ["2000::1", "64:ff9b::c000:207", "fc00::1", "fec0::1", "feff::1", "fe00::1"] {
            expect_forwarded(rig, &from(source.parse().unwrap()), 0);
        }
        let mapped = |at: SocketAddr| match at.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
            IpAddr::V6(_) => at,
        };
        let to_mapped = Segment { destination: mapped(WEB), ..to_service(flags::SYN) };
        rig.expect_untouched(&to_mapped.bytes(), Reason::NotService);
        let from_mapped = Segment { source: mapped(BACKENDS[0].address), ..from_backend(0, flags::ACK) };
        rig.expect_untouched(&from_mapped.bytes(), Reason::NotService);
    });
}
