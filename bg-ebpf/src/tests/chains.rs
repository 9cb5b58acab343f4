//! The walk over the extension headers of IPv6, held against a judgement that sees the headers as they were
//! put together and not as bytes.

use std::vec::Vec;

use bg_common::reason::Reason;
use proptest::prelude::*;

use super::shapes;
use super::v6::{self, DESTINATION, Extension, FRAGMENT, HOP_BY_HOP, ROUTING, Segment, WALKED};
use super::{ACK, SYN, WAN, arrive, node};
use crate::parse;
use crate::verdict::Action;

/// Headers that are walked, most of them.
const MOST: usize = 8;

/// Protocols that the path knows, and fragments, which are put together with care.
const LOOKED_AT: [u8; 4] = [v6::TCP, parse::UDP, parse::ICMP_V6, FRAGMENT];

/// Any headers at all, in any order, with any contents, but none that says it is of a protocol that is looked at.
fn any_chain() -> impl Strategy<Value = Vec<Extension>> {
    let kind = prop_oneof![
        4 => Just(DESTINATION),
        2 => Just(ROUTING),
        1 => Just(HOP_BY_HOP),
        1 => any::<u8>().prop_filter("a fragment, or what is looked at", |kind| !LOOKED_AT.contains(kind)),
    ];
    let units = prop_oneof![6 => 0..4_u8, 2 => 20..40_u8, 1 => any::<u8>()];
    // Segments left: mostly none.
    let left = prop_oneof![6 => Just(0_u8), 1 => any::<u8>()];
    let header = (kind, units, left, any::<u8>()).prop_map(|(kind, units, left, fill)| {
        let mut bytes = std::vec![fill; 8 * (usize::from(units) + 1)];
        (bytes[1], bytes[3]) = (units, left);
        Extension(kind, bytes)
    });
    // Mostly atomic ones.
    let offset = prop_oneof![5 => Just(0_u16), 1 => 1..0x2000_u16];
    let fragment = (offset, prop::bool::weighted(0.2), any::<[u8; 4]>(), any::<u8>()).prop_map(
        |(offset, more, id, reserved)| {
            let mut fragment = v6::fragment(offset, more, id);
            fragment.1[1] = reserved;
            fragment
        },
    );
    let one = prop_oneof![12 => header, 1 => fragment];
    let count = prop_oneof![4 => 0..5_usize, 1 => 6..12_usize];
    count.prop_flat_map(move |count| proptest::collection::vec(one.clone(), count))
}

/// What becomes of a client's segment behind these headers.
fn judged(chain: &[Extension]) -> Reason {
    let mut fragments = chain.iter().filter(|extension| extension.0 == FRAGMENT);
    let first = fragments.next();
    for (place, Extension(kind, bytes)) in chain.iter().enumerate() {
        let known = match *kind {
            HOP_BY_HOP => place == 0,
            DESTINATION | FRAGMENT => true,
            ROUTING => bytes[3] == 0,
            _ => false,
        };
        let again = *kind == FRAGMENT && chain[..place].iter().any(|before| before.0 == FRAGMENT);
        if place == MOST || !known || again {
            return Reason::OtherProtocol;
        }
        // Behind a later fragment's header is the middle of something; only the last header says of what.
        if *kind == FRAGMENT && offset(bytes) != 0 {
            let of_tcp = place + 1 == chain.len();
            return if of_tcp { Reason::UnknownFragment } else { Reason::OtherProtocol };
        }
        // The later ones would not name the protocol either.
        if *kind == FRAGMENT && bytes[3] & 1 != 0 && place + 1 != chain.len() {
            return Reason::OtherProtocol;
        }
    }
    if chain.iter().map(|extension| extension.1.len()).sum::<usize>() > WALKED {
        return Reason::OtherProtocol;
    }
    match first {
        // Twenty bytes are no multiple of eight.
        Some(Extension(_, bytes)) if bytes[3] & 1 != 0 => Reason::BadFragment,
        _ => Reason::Forwarded,
    }
}

/// In units of eight bytes.
fn offset(fragment: &[u8]) -> u16 {
    u16::from_be_bytes([fragment[2], fragment[3]]) >> 3
}

/// The reason for which the only packet that arrived ended.
fn reason(host: &crate::host::Host) -> Reason {
    let mut ended = Reason::ALL.iter().copied().filter(|&reason| host.counted(reason).packets == 1);
    let reason = ended.next().expect("every packet is counted");
    assert_eq!(ended.next(), None, "it is counted once");
    reason
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_headers_are_walked_or_left_to_the_kernel_as_they_were_put_together(chain in any_chain()) {
        let mut host = node();
        v6::route(&mut host, 9000);
        let segment = Segment { chain, payload: std::vec![7; 5], ..Segment::to_service(SYN) };
        let (_, after) = arrive(&host, &segment.bytes(), WAN);
        let judged = judged(&segment.chain);
        prop_assert_eq!(reason(&host), judged);
        if judged == Reason::Forwarded {
            let backend = after[38..54].try_into().unwrap();
            prop_assert_eq!(after, segment.forwarded(backend).bytes());
        } else {
            prop_assert_eq!(after, segment.bytes());
        }
    }

    #[test]
    fn headers_beyond_the_bound_are_the_kernels(chain in shapes::chain(), more in 1..4_usize, units: u8) {
        let mut chain = chain;
        let option = |units: u8| {
            let mut bytes = std::vec![0; 8 * (usize::from(units) + 1)];
            bytes[1] = units;
            Extension(DESTINATION, bytes)
        };
        let length = |chain: &[Extension]| chain.iter().map(|extension| extension.1.len()).sum::<usize>();
        // As much as fits, and then a little more than that: of headers, or of bytes.
        while chain.len() < MOST && length(&chain) + 8 <= WALKED {
            let room = (WALKED - length(&chain)) / 8 - 1;
            chain.push(option(units.min(room as u8)));
        }
        let host = node();
        let fits = Segment { chain: chain.clone(), ..Segment::to_service(ACK) };
        arrive(&host, &fits.bytes(), WAN);
        prop_assert!(matches!(reason(&host), Reason::Forwarded | Reason::FragmentationNeeded));

        chain.extend((0..more).map(|_| option(0)));
        let host = node();
        let beyond = Segment { chain, ..Segment::to_service(ACK) };
        let (action, after) = arrive(&host, &beyond.bytes(), WAN);
        prop_assert_eq!((action, reason(&host)), (Action::Pass, Reason::OtherProtocol));
        prop_assert_eq!(after, beyond.bytes());
    }

    #[test]
    fn a_cut_is_seen_wherever_it_is(chain in shapes::chain(), cut: prop::sample::Index) {
        let segment = Segment { chain, payload: std::vec![9; 4], ..Segment::to_service(ACK) };
        let whole = segment.bytes();
        let length = 14 + cut.index(whole.len() - 14);
        let host = node();
        let (_, after) = arrive(&host, &whole[..length], WAN);
        prop_assert_eq!(after, &whole[..length]);
        // The last header's first eight bytes say that TCP follows.
        let last = segment.chain.last().map_or(0, |last| last.1.len() - 8);
        let known = 14 + 40 + segment.chained() - last;
        let tcp = 14 + 40 + segment.chained() + 20;
        let expected = match length {
            _ if length < known => Reason::OtherProtocol,
            _ if length < tcp => Reason::Truncated,
            _ => Reason::BadHeader,
        };
        prop_assert_eq!(reason(&host), expected);
    }
}

#[test]
fn the_generator_reaches_every_judgement() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<_, (usize, usize)>::new();
    for _ in 0..6_000 {
        let chain = any_chain().new_tree(&mut runner).unwrap().current();
        let (count, longest) = seen.entry(judged(&chain).name()).or_default();
        *count += 1;
        *longest = chain.len().max(*longest);
    }
    for reason in ["forwarded", "bad_fragment", "unknown_fragment", "other_protocol"] {
        assert!(seen.get(reason).is_some_and(|(count, _)| *count > 20), "{reason}: {seen:?}");
    }
    assert!(seen["forwarded"].1 >= 6, "{seen:?}");
}
