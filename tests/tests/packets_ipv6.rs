//! IPv6: what the cases of IPv4 show, for the same world over the other version, and what only IPv6 has.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bg_common::control::Environment::{Blue, Green};
use bg_common::reason::Reason;
use bg_tests::packets::craft::{Extension, IcmpError};
use bg_tests::packets::state::UsedPin;
use bg_tests::packets::world::{
    BACKENDS, CLIENT, EDGE, LAN_MAC, NODE, ODD, PLAIN, SILENT_CLIENT, THIN_CLIENT, THIN_MAC, THIN_MTU,
    UNREADY, V6_BACKEND, V6_SERVICE, WAN_MAC, WEB, v6, v6_ip,
};
use bg_tests::packets::{Action, Rig, Segment, Tables, flags};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AH: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

fn to_service(flags: u8) -> Segment {
    Segment { tos: 0xb9, flow_label: 0xa_bcde, ..Segment::to_service(flags).over_v6() }
}

/// A segment of IPv6 backend `number` to the client.
fn from_backend(number: usize, flags: u8) -> Segment {
    let backend = &BACKENDS[V6_BACKEND + number];
    Segment { from: backend.mac, source: backend.address, destination: v6(CLIENT), ..to_service(flags) }
}

fn elsewhere(segment: &Segment) -> Segment {
    Segment { destination: v6(SocketAddr::from(([198, 51, 100, 1], 443))), ..segment.clone() }
}

/// Options of a length in bytes, a multiple of eight: padding.
fn options(kind: u8, length: usize) -> Extension {
    let mut bytes = vec![0; length];
    bytes[1] = (length / 8 - 1) as u8;
    Extension(kind, bytes)
}

fn routing(segments_left: u8) -> Extension {
    let mut extension = options(ROUTING, 24);
    extension.1[2] = 4;
    extension.1[3] = segments_left;
    extension
}

/// Offset in units of eight bytes.
fn fragment(offset: u16, more: bool) -> Extension {
    let mut bytes = vec![0, 0];
    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    Extension(FRAGMENT, bytes)
}

#[track_caller]
fn expect_forwarded(rig: &mut Rig<'_>, segment: &Segment, backend: usize) {
    let sent = segment.forwarded(&BACKENDS[V6_BACKEND + backend], LAN_MAC);
    rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
}

#[track_caller]
fn expect_returned(rig: &mut Rig<'_>, segment: &Segment) {
    rig.expect(&segment.bytes(), Reason::Returned, Action::Tx, &segment.returned(v6(WEB)).bytes());
}

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

/// What the client gets to hear about `segment`: as much of it as fits 1,280 bytes.
fn answer(segment: &Segment, kind: u8, rest: [u8; 4]) -> Vec<u8> {
    let mut quote = segment.ip_bytes();
    quote.truncate(1280 - 48);
    IcmpError {
        to: segment.from,
        from: segment.to,
        tags: segment.tags.clone(),
        vip: segment.destination.ip(),
        client: segment.source.ip(),
        kind,
        code: 0,
        rest,
        quote,
    }
    .bytes()
}

/// Case 26: hop limits 0 and 1 end here, 2 has one hop left. Every length of the last words of a quote.
#[test]
fn a_packet_without_hops_left_is_answered() {
    Rig::run("v6hops", |rig| {
        for length in (0..40).chain([1140, 1170, 1171, 1172, 1173, 1174, 1400]) {
            let segment = Segment { payload: vec![0xa7; length], ..to_service(flags::ACK) };
            for ttl in [0, 1] {
                let segment = Segment { ttl, ..segment.clone() };
                let told = answer(&segment, 3, [0; 4]);
                rig.expect(&segment.bytes(), Reason::TimeExceeded, Action::Tx, &told);
            }
            expect_forwarded(rig, &Segment { ttl: 2, ..segment }, 0);
        }
        // Tags are kept, padding is not quoted, extension headers are.
        let segment = Segment {
            ttl: 1,
            tags: vec![[0x88, 0xa8, 0, 7], [0x81, 0, 0, 42]],
            padding: vec![0xee; 6],
            extensions: vec![options(DESTINATION, 16)],
            ..to_service(flags::SYN)
        };
        let told = answer(&segment, 3, [0; 4]);
        rig.expect(&segment.bytes(), Reason::TimeExceeded, Action::Tx, &told);
    });
}

/// Case 46: exactly the MTU passes; one byte more comes back with the MTU in it.
#[test]
fn a_packet_larger_than_the_way_out_is_answered() {
    Rig::run("v6mtu", |rig| {
        rig.tables.steady(1, Green).unwrap();
        for extensions in [vec![], vec![options(HOP_BY_HOP, 8), options(DESTINATION, 24)]] {
            let extra: usize = extensions.iter().map(|extension| extension.1.len()).sum();
            let of = |total: usize| Segment {
                destination: v6(EDGE),
                extensions: extensions.clone(),
                payload: vec![0x3c; total - 60 - extra],
                ..to_service(flags::ACK)
            };
            let fits = of(THIN_MTU.into());
            let sent = fits.forwarded(&BACKENDS[V6_BACKEND + 5], THIN_MAC);
            rig.expect(&fits.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
            let mtu = THIN_MTU.to_be_bytes();
            for total in [usize::from(THIN_MTU) + 1, 1500] {
                let large = of(total);
                let told = answer(&large, 2, [0, 0, mtu[0], mtu[1]]);
                rig.expect(&large.bytes(), Reason::FragmentationNeeded, Action::Tx, &told);
            }
        }
    });
}

/// Case 36: chains of headers are walked, in both directions, and kept as they are.
#[test]
fn extension_headers_are_walked() {
    Rig::run("v6chain", |rig| {
        let chains = [
            vec![options(HOP_BY_HOP, 8)],
            vec![options(DESTINATION, 8)],
            vec![options(DESTINATION, 1400)],
            vec![routing(0)],
            vec![options(HOP_BY_HOP, 16), options(DESTINATION, 32), routing(0), options(DESTINATION, 8)],
            vec![fragment(0, false)],
            vec![options(HOP_BY_HOP, 8), routing(0), fragment(0, false), options(DESTINATION, 264)],
            vec![options(DESTINATION, 8); 8],
        ];
        for extensions in chains {
            let segment = Segment { extensions, payload: vec![5; 3], ..to_service(flags::ACK) };
            expect_forwarded(rig, &segment, 0);
            rig.expect_untouched(&elsewhere(&segment).bytes(), Reason::NotService);
            let reply = Segment { extensions: segment.extensions, ..from_backend(0, flags::ACK) };
            expect_returned(rig, &reply);
        }
    });
}

/// Cases 36 and 38: what is beyond the bound, out of place, unknown or secret is the kernel's.
#[test]
fn other_headers_are_the_kernels() {
    Rig::run("v6kernel", |rig| {
        let chains = [
            vec![options(DESTINATION, 8); 9],
            vec![options(DESTINATION, 2048)],
            vec![options(DESTINATION, 1024), options(DESTINATION, 1024)],
            vec![options(DESTINATION, 8), options(HOP_BY_HOP, 8)],
            vec![routing(1)],
            vec![fragment(0, false), fragment(0, false)],
            vec![options(AH, 24)],
            vec![options(ESP, 24)],
            vec![options(NO_NEXT, 8)],
            vec![options(135, 8)],
            vec![options(253, 8)],
            vec![options(17, 8)],                          // UDP
            vec![options(58, 8)],                          // neighbour discovery and the like
            vec![options(HOP_BY_HOP, 8), options(58, 24)], // MLD
        ];
        for extensions in chains {
            let segment = Segment { extensions, ..to_service(flags::SYN) };
            rig.expect_untouched(&segment.bytes(), Reason::OtherProtocol);
        }
    });
}

/// Case 37, TCP: an atomic fragment is a packet (above); a first one is not forwarded; later ones have no
/// ports.
#[test]
fn fragments_are_not_forwarded() {
    Rig::run("v6frags", |rig| {
        for front in [vec![], vec![options(HOP_BY_HOP, 8)]] {
            let with = |last| [front.clone(), vec![last]].concat();
            let first = Segment { extensions: with(fragment(0, true)), ..to_service(flags::ACK) };
            rig.expect_drop(&first.bytes(), Reason::FirstFragment);
            rig.expect_untouched(&elsewhere(&first).bytes(), Reason::NotService);
            let reply = Segment { extensions: first.extensions, ..from_backend(0, flags::ACK) };
            rig.expect_drop(&reply.bytes(), Reason::FirstFragment);
            for (offset, more) in [(1, true), (1, false), (0x1fff, true)] {
                let later = Segment { extensions: with(fragment(offset, more)), ..to_service(flags::ACK) };
                rig.expect_untouched(&later.bytes(), Reason::LaterFragment);
            }
        }
    });
}

/// Cases 8, 28, 29, 30, 31: broken ones, judged only if they are to a service.
#[test]
fn broken_packets_are_dropped_only_if_they_are_ours() {
    Rig::run("v6broken", |rig| {
        let possible = [2, 18, 4, 20, 16, 17];
        for flags in 0..64 {
            let segment = to_service(flags);
            if possible.contains(&(flags & !(flags::PSH | flags::URG))) {
                expect_forwarded(rig, &segment, 0);
            } else {
                rig.expect_drop(&segment.bytes(), Reason::BadFlags);
            }
        }
        let segment = Segment { payload: vec![7; 10], ..to_service(flags::ACK) };
        let mut bad: Vec<(usize, Vec<u8>)> = [0x40, 0x50, 0x70, 0x00].map(|v| (14, vec![v])).to_vec();
        bad.extend([31_u16, 1500, 0xffff, 19, 1, 0].map(|length| (18, length.to_be_bytes().to_vec())));
        bad.extend([0x00, 0x40, 0xf0].map(|offset| (66, vec![offset])));
        for (at, value) in bad {
            for (segment, ours) in [(&segment, true), (&elsewhere(&segment), false)] {
                let mut packet = segment.bytes();
                packet[at..at + value.len()].copy_from_slice(&value);
                if ours {
                    rig.expect_drop(&packet, Reason::BadHeader);
                } else {
                    rig.expect_untouched(&packet, Reason::NotService);
                }
            }
        }
        let padded = Segment { padding: vec![0xde; 6], ..to_service(flags::ACK) };
        expect_forwarded(rig, &padded, 0);

        let segment = Segment { extensions: vec![options(DESTINATION, 16)], ..to_service(flags::ACK) };
        let (whole, other) = (segment.bytes(), elsewhere(&segment).bytes());
        // Up to the header that says what follows it nobody can tell whether it is TCP.
        for length in 14..14 + 48 {
            rig.expect_untouched(&whole[..length], Reason::OtherProtocol);
        }
        for length in 14 + 48..whole.len() {
            rig.expect_drop(&whole[..length], Reason::Truncated);
            rig.expect_untouched(&other[..length], Reason::NotService);
        }
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
