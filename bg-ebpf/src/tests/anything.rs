//! Any bytes at all: the path neither panics nor looks beyond the packet, and counts every packet once.

use std::vec::Vec;

use bg_common::reason::Reason;
use proptest::prelude::*;

use super::shapes;
use super::v6::{self, Extension, Segment};
use super::{ACK, BACKENDS, CLIENT, LAN, LAN_MAC, SYN, WAN, arrive, ethertype, frame, from_client, node};
use crate::packet::{Frame, Packet};
use crate::parse::{IPV4, IPV6};
use crate::verdict::Action;

/// A packet in the middle of memory that belongs to others.
struct Window {
    memory: Vec<u8>,
    start: usize,
    end: usize,
    interface: u32,
}

const BEFORE: usize = 64;
const BEHIND: usize = 64;

impl Window {
    fn new(packet: &[u8], interface: u32, others: u8) -> Self {
        let memory = [&[others; BEFORE], packet, &[others; BEHIND]].concat();
        Self { memory, start: BEFORE, end: BEFORE + packet.len(), interface }
    }
}

impl Packet for Window {
    fn interface(&self) -> u32 {
        self.interface
    }

    fn frame(&mut self) -> Frame<'_> {
        Frame::of(&mut self.memory[self.start..self.end])
    }

    fn move_start(&mut self, by: i32) -> bool {
        self.start = self.start.checked_add_signed(by as isize).expect("the path moves by 48 bytes at most");
        true
    }

    fn move_end(&mut self, by: i32) -> bool {
        self.end = self.end.checked_add_signed(by as isize).expect("the path only cuts");
        true
    }
}

/// Bytes that begin like a packet of ours, then anything, with some of them changed.
pub(super) fn packet() -> impl Strategy<Value = (Vec<u8>, u32)> {
    let ours = prop_oneof![
        shapes::segment(0).prop_map(|mut segment| {
            segment.payload.truncate(64);
            (segment.bytes(), v6::interface(&segment))
        }),
        (flags(), ttl(), fragment()).prop_map(|(flags, hops, fragment)| {
            let segment =
                Segment { hops, chain: fragment.into_iter().collect(), ..Segment::to_service(flags) };
            (segment.bytes(), WAN)
        }),
        (any::<u16>(), flags(), ttl()).prop_map(|(port, flags, ttl)| {
            let mut bytes = from_client(port, flags);
            bytes[22] = ttl;
            (bytes, WAN)
        }),
        (any::<u16>(), ttl()).prop_map(|(port, ttl)| {
            let mut bytes = frame(LAN_MAC, [2; 6], (BACKENDS[1], 8080), (CLIENT, port), ACK);
            bytes[22] = ttl;
            (bytes, LAN)
        }),
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| (bytes, WAN)),
    ];
    let tail = proptest::collection::vec(any::<u8>(), 0..80);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    // What the path branches on: EtherType, header length, total length, fragment, TTL, protocol, first
    // extension header, TCP.
    let branches = proptest::collection::vec((12..82_usize, any::<u8>()), 0..3);
    (ours, tail, changes, branches, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((mut bytes, interface), tail, changes, branches, cut, cuts)| {
            bytes.extend(tail);
            for (index, value) in changes {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = value;
                }
            }
            for (index, value) in branches {
                if let Some(byte) = bytes.get_mut(index) {
                    *byte = value;
                }
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            (bytes, interface)
        },
    )
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![Just(SYN), Just(ACK), any::<u8>()]
}

fn fragment() -> impl Strategy<Value = Option<Extension>> {
    let offset = prop_oneof![Just(0), 0..0x2000_u16];
    proptest::option::of(
        (offset, any::<bool>()).prop_map(|(offset, more)| v6::fragment(offset, more, [1; 4])),
    )
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![0..3_u8, any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn what_lies_around_a_packet_makes_no_difference((packet, interface) in packet()) {
        let runs = [0x00, 0xff, 0x45].map(|others| {
            let host = node();
            let mut window = Window::new(&packet, interface, others);
            let action = host.receive(&mut window);
            let (front, behind) = (window.start.min(BEFORE), BEFORE + packet.len());
            // Nothing is written in front of the packet but what was made room for, nothing behind it.
            assert!(window.memory[..front].iter().all(|&byte| byte == others));
            assert!(window.memory[behind..].iter().all(|&byte| byte == others));
            (action, window.memory[window.start..window.end].to_vec())
        });
        prop_assert_eq!(&runs[0], &runs[1]);
        prop_assert_eq!(&runs[0], &runs[2]);
    }

    #[test]
    fn every_packet_is_counted_once_and_unsent_ones_are_untouched((packet, interface) in packet()) {
        let host = node();
        let (action, after) = arrive(&host, &packet, interface);
        let counted: Vec<_> =
            Reason::ALL.iter().map(|&reason| (reason, host.counted(reason))).filter(|(_, c)| c.packets > 0).collect();
        prop_assert_eq!(counted.len(), 1);
        let (reason, counter) = counted[0];
        prop_assert_eq!((counter.packets, counter.bytes), (1, packet.len() as u64));
        let rewritten = [
            Reason::Forwarded, Reason::Returned, Reason::TimeExceeded, Reason::FragmentationNeeded,
            Reason::ForwardedByKernel, Reason::ReturnedByKernel, Reason::Refused,
        ];
        if !rewritten.contains(&reason) {
            prop_assert_eq!(&after, &packet);
        }
        prop_assert_eq!(action == Action::Drop, reason.verdict() == bg_common::reason::Verdict::Drop);
    }
}

#[test]
fn the_generator_reaches_the_path_to_its_end() {
    // A property over packets that all end at the first check would prove nothing.
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        let (packet, interface) = packet().new_tree(&mut runner).unwrap().current();
        let host = node();
        arrive(&host, &packet, interface);
        let reason = Reason::ALL.iter().find(|&&reason| host.counted(reason).packets > 0).unwrap();
        seen.insert((reason.name(), ethertype(&packet)));
    }
    let both = [IPV4, IPV6];
    for reason in [
        "bad_flags",
        "bad_header",
        "bad_fragment",
        "foreign_mac",
        "forwarded",
        "later_fragment",
        "unknown_fragment",
        "martian",
        "not_service",
        "other_port",
        "other_protocol",
        "return_ttl",
        "returned",
        "time_exceeded",
        "truncated",
    ] {
        let versions = both.iter().filter(|version| seen.contains(&(reason, **version)));
        assert_eq!(versions.count(), 2, "{reason} never happened over IPv4 or IPv6: {seen:?}");
    }
}
