//! Packets that the node answers itself. The client hears from the VIP, about the packet that it sent.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::IcmpError;
use bg_tests::packets::extension::{DESTINATION, HOP_BY_HOP, options};
use bg_tests::packets::over_v6::{expect_forwarded, to_service};
use bg_tests::packets::world::{BACKENDS, EDGE, LAN_MAC, THIN_MAC, THIN_MTU, V6_BACKEND, v6};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// What the client gets to hear about `segment`.
fn answer(segment: &Segment, kind: u8, code: u8, rest: [u8; 4]) -> Vec<u8> {
    IcmpError::about(segment, kind, code, rest).bytes()
}

/// Segments of several shapes: bare, padded, tagged, with options, with an odd payload, broken checksum.
fn shapes() -> Vec<Segment> {
    let bare = Segment::to_service(flags::ACK);
    vec![
        bare.clone(),
        Segment { padding: vec![0xee; 6], ..bare.clone() },
        Segment { tags: vec![[0x81, 0, 0x60, 42]], ..bare.clone() },
        Segment { tags: vec![[0x88, 0xa8, 0, 7], [0x81, 0, 0, 42]], ip_options: vec![1; 40], ..bare.clone() },
        Segment { ip_options: vec![0x94, 4, 0, 0], payload: vec![3; 701], ..bare.clone() },
        Segment { payload: vec![0xff; 1], tcp_options: vec![1; 40], tos: 0xff, ..bare.clone() },
        Segment { ip_error: 0x0101, tcp_error: 0x0202, ..bare },
    ]
}

/// Case 26: TTL 1 (and 0) ends here, and the client is told so; nothing is stored for it.
#[test]
fn a_packet_without_hops_left_is_answered() {
    Rig::run("ttl", |rig| {
        rig.tables.flip(0, Environment::Blue).unwrap();
        for shape in shapes() {
            for (ttl, flags) in [(1, flags::ACK), (0, flags::ACK), (1, flags::SYN)] {
                let segment = Segment { ttl, flags, ..shape.clone() };
                let told = answer(&segment, 11, 0, [0; 4]);
                rig.expect(&segment.bytes(), Reason::TimeExceeded, Action::Tx, &told);
            }
        }
        assert_eq!(rig.tables.pins().unwrap(), []);
        assert_eq!(rig.tables.recent().unwrap(), [0; 4]);
        assert_eq!(rig.tables.census().unwrap(), []);
    });
}

/// Case 26: TTL 2 has one hop left.
#[test]
fn a_packet_with_one_hop_left_is_forwarded() {
    Rig::run("ttl2", |rig| {
        for shape in shapes() {
            let segment = Segment { ttl: 2, ..shape };
            let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}

/// Case 46: exactly the MTU passes; one byte more comes back with the MTU in it.
#[test]
fn a_packet_larger_than_the_way_out_is_answered() {
    Rig::run("mtu", |rig| {
        rig.tables.steady(1, Environment::Green).unwrap();
        let to_thin = |shape: &Segment, total: usize| {
            let payload = vec![0xa5; total - 40 - shape.ip_options.len() - shape.tcp_options.len()];
            Segment { destination: EDGE, payload, ..shape.clone() }
        };
        let mtu = THIN_MTU.to_be_bytes();
        for shape in shapes() {
            let fits = to_thin(&shape, THIN_MTU.into());
            let sent = fits.forwarded(&BACKENDS[5], THIN_MAC);
            rig.expect(&fits.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
            for total in [usize::from(THIN_MTU) + 1, 1500] {
                let large = to_thin(&shape, total);
                let told = answer(&large, 3, 4, [0, 0, mtu[0], mtu[1]]);
                rig.expect(&large.bytes(), Reason::FragmentationNeeded, Action::Tx, &told);
            }
        }
    });
}

/// Case 46: a packet that may be fragmented goes to the kernel for that, already rewritten.
#[test]
fn a_large_packet_that_may_be_fragmented_is_the_kernels() {
    Rig::run("loose", |rig| {
        rig.tables.steady(1, Environment::Green).unwrap();
        let segment = Segment {
            destination: EDGE,
            fragment: 0,
            payload: vec![0xa5; 1300],
            ..Segment::to_service(flags::ACK)
        };
        let rewritten = Segment { destination: BACKENDS[5].address, ..segment.clone() };
        rig.expect(&segment.bytes(), Reason::ForwardedByKernel, Action::Pass, &rewritten.bytes());
        assert_eq!(rig.service_counter(2, 1).packets, 1);
    });
}

/// Case 26, IPv6: hop limits 0 and 1 end here, 2 has one hop left. Every length of the last words of a quote.
#[test]
fn a_packet_over_ipv6_without_hops_left_is_answered() {
    Rig::run("v6hops", |rig| {
        for length in (0..40).chain([1140, 1170, 1171, 1172, 1173, 1174, 1400]) {
            let segment = Segment { payload: vec![0xa7; length], ..to_service(flags::ACK) };
            for ttl in [0, 1] {
                let segment = Segment { ttl, ..segment.clone() };
                let told = answer(&segment, 3, 0, [0; 4]);
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
        let told = answer(&segment, 3, 0, [0; 4]);
        rig.expect(&segment.bytes(), Reason::TimeExceeded, Action::Tx, &told);
    });
}

/// Case 46, IPv6: the same, with extension headers and without.
#[test]
fn a_packet_over_ipv6_larger_than_the_way_out_is_answered() {
    Rig::run("v6mtu", |rig| {
        rig.tables.steady(1, Environment::Green).unwrap();
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
                let told = answer(&large, 2, 0, [0, 0, mtu[0], mtu[1]]);
                rig.expect(&large.bytes(), Reason::FragmentationNeeded, Action::Tx, &told);
            }
        }
    });
}
