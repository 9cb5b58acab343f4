//! The node's own answers, whatever the packet that they are about: well formed, with right checksums, from
//! the VIP to the client, and with the start of the packet as the client sent it in them.

use bg_common::abi::Address;
use bg_common::reason::Reason;
use proptest::prelude::*;

use super::anything::packet;
use super::shapes;
use super::v6::{self, covered};
use super::{
    ACK, BACKEND_MAC, BACKENDS, LAN, LAN_MAC, WAN, arrive, ethertype, from_client, hop, node, recomputed,
};
use crate::answer::allowance::{PER_TICK, RESERVE};
use crate::kernel::{Answer, Hop};
use crate::parse::{IPV4, IPV6};
use crate::verdict::Action;

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// The node, whose ways to backends take packets of so many bytes.
fn narrow(mtu: u32) -> crate::host::Host {
    let mut host = node();
    v6::route(&mut host, mtu);
    for backend in BACKENDS {
        let Answer::Hop(hop) = hop(LAN, LAN_MAC, BACKEND_MAC) else { unreachable!("it is one") };
        host.add_route(Address::v4(backend), 128, Answer::Hop(Hop { mtu, ..hop }));
    }
    host
}

/// Holds an answer against the packet that it is about.
fn check(packet: &[u8], answer: &[u8], reason: Reason, mtu: u32) {
    assert_eq!((&answer[..6], &answer[6..12]), (&packet[6..12], &packet[..6]), "to whom it came from");
    let link = 14 + (0..2).map_while(|tag| tags(packet, tag)).count() * 4;
    assert_eq!(answer[12..link], packet[12..link], "the tags");
    let (packet, answer) = (&packet[link..], &answer[link..]);
    if answer[0] >> 4 == 4 {
        check_v4(packet, answer, reason, mtu);
    } else {
        check_v6(packet, answer, reason, mtu);
    }
}

/// Whether there is such a tag.
fn tags(packet: &[u8], tag: usize) -> Option<()> {
    let at = 12 + 4 * tag;
    [[0x81, 0], [0x88, 0xa8]].iter().any(|kind| packet[at..at + 2] == *kind).then_some(())
}

fn check_v4(packet: &[u8], answer: &[u8], reason: Reason, mtu: u32) {
    assert_eq!(answer[..2], [0x45, 0xc0]);
    assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])), answer.len());
    assert_eq!(answer[4..10], [0, 0, 0x40, 0, 64, ICMP]);
    assert_eq!(recomputed(&answer[..20]), [0; 2], "the header's checksum");
    assert_eq!((&answer[12..16], &answer[16..20]), (&packet[16..20], &packet[12..16]));
    assert_eq!(recomputed(&answer[20..]), [0; 2], "the message's checksum");
    let [high, low] = (mtu as u16).to_be_bytes();
    let (kind, rest) = match reason {
        Reason::TimeExceeded => ([11, 0], [0; 4]),
        _ => ([3, 4], [0, 0, high, low]),
    };
    assert_eq!((&answer[20..22], &answer[24..28]), (&kind[..], &rest[..]));
    let quote = usize::from(packet[0] & 15) * 4 + 8;
    assert_eq!(answer[28..], packet[..quote]);
}

fn check_v6(packet: &[u8], answer: &[u8], reason: Reason, mtu: u32) {
    assert_eq!(answer[..4], [0x60, 0, 0, 0]);
    let length = u16::from_be_bytes([answer[4], answer[5]]);
    assert_eq!(usize::from(length) + 40, answer.len());
    assert!(answer.len() <= 1280, "{} bytes", answer.len());
    assert_eq!(answer[6..8], [ICMP_V6, 64]);
    assert_eq!((&answer[8..24], &answer[24..40]), (&packet[24..40], &packet[8..24]));
    let sum = recomputed(&covered(&answer[8..24], &answer[24..40], ICMP_V6, &answer[40..]));
    assert_eq!(sum, [0; 2], "the message's checksum");
    let (kind, rest) = match reason {
        Reason::TimeExceeded => ([3, 0], [0; 4]),
        _ => ([2, 0], mtu.to_be_bytes()),
    };
    assert_eq!((&answer[40..42], &answer[44..48]), (&kind[..], &rest[..]));
    let claimed = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert_eq!(answer[48..], packet[..claimed.min(1232)], "as much of the packet as there is room for");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_answer_to_anything_is_well_formed((packet, interface) in packet(), mtu in 20..100_u32) {
        let host = narrow(mtu);
        let (action, answer) = arrive(&host, &packet, interface);
        for reason in [Reason::TimeExceeded, Reason::FragmentationNeeded] {
            if host.counted(reason).packets == 1 {
                prop_assert_eq!(action, Action::Transmit);
                check(&packet, &answer, reason, mtu);
            }
        }
    }

    #[test]
    fn a_segment_over_ipv6_without_hops_or_too_large_is_answered(segment in shapes::segment(0), mtu in 60..2500_u32) {
        let host = narrow(mtu);
        let packet = segment.bytes();
        let (action, answer) = arrive(&host, &packet, v6::interface(&segment));
        let large = segment.total() as u32 > mtu;
        // To a backend the kernel says it, who knows it by its own address.
        let by_client = v6::interface(&segment) == WAN;
        let expected = match (by_client, segment.hops) {
            (true, 0 | 1) => Reason::TimeExceeded,
            (true, _) if large => Reason::FragmentationNeeded,
            (true, _) => Reason::Forwarded,
            (false, 0 | 1) => Reason::ReturnTtl,
            (false, _) if large => Reason::ReturnTooBig,
            (false, _) => Reason::Returned,
        };
        prop_assert_eq!(host.counted(expected).packets, 1, "not {}", expected.name());
        match expected {
            Reason::TimeExceeded | Reason::FragmentationNeeded => {
                prop_assert_eq!(action, Action::Transmit);
                check(&packet, &answer, expected, mtu);
            }
            Reason::ReturnTtl | Reason::ReturnTooBig => {
                prop_assert_eq!(action, Action::Pass);
                prop_assert_eq!(answer, packet);
            }
            _ => (),
        }
    }
}

#[test]
fn the_generator_makes_packets_that_are_answered() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for _ in 0..8_000 {
        let (packet, interface) = packet().new_tree(&mut runner).unwrap().current();
        let host = narrow(30);
        arrive(&host, &packet, interface);
        for reason in [Reason::TimeExceeded, Reason::FragmentationNeeded] {
            if host.counted(reason).packets == 1 {
                *seen.entry((reason.name(), ethertype(&packet))).or_default() += 1;
            }
        }
    }
    for reason in ["time_exceeded", "fragmentation_needed"] {
        for version in [IPV4, IPV6] {
            assert!(seen.get(&(reason, version)).is_some_and(|&count| count > 30), "{reason}: {seen:?}");
        }
    }
}

#[test]
fn a_processor_answers_only_so_often() {
    let mut host = narrow(1500);
    let mut late = from_client(1, ACK);
    late[22] = 1;
    // Right before the tick counter wraps, and after so long that all would be there again several times.
    for jiffies in [u32::MAX - 1, u32::MAX / 2] {
        host.jiffies.set(jiffies);
        for _ in 0..RESERVE {
            assert_eq!(arrive(&host, &late, WAN).0, Action::Transmit);
        }
        assert_eq!(arrive(&host, &late, WAN).0, Action::Drop);
        host.jiffies.set(jiffies.wrapping_add(2));
        for _ in 0..2 * PER_TICK {
            assert_eq!(arrive(&host, &late, WAN).0, Action::Transmit);
        }
        assert_eq!(arrive(&host, &late, WAN).0, Action::Drop);
    }
    assert_eq!(host.counted(Reason::Unanswered).packets, 4);
    // What does not fit has an allowance of its own.
    for backend in BACKENDS {
        let Answer::Hop(hop) = hop(LAN, LAN_MAC, BACKEND_MAC) else { unreachable!("it is one") };
        host.add_route(Address::v4(backend), 128, Answer::Hop(Hop { mtu: 20, ..hop }));
    }
    host.tables.node.route_epoch.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    assert_eq!(arrive(&host, &from_client(1, ACK), WAN).0, Action::Transmit);
    assert_eq!(host.counted(Reason::FragmentationNeeded).packets, 1);
}
