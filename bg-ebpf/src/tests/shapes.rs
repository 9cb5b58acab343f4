//! Segments over IPv6 in every shape that the path takes, for properties.

use std::vec::Vec;

use proptest::prelude::*;

use super::v6::{CLIENT, DESTINATION, Extension, FRAGMENT, HOP_BY_HOP, ROUTING, Segment, WALKED, fragment};
use super::{ACK, SYN};

/// Headers that are walked: at most eight of them, in any order that is, within [`WALKED`] bytes.
pub(super) fn chain() -> impl Strategy<Value = Vec<Extension>> {
    let units = || prop_oneof![6 => 0..4_u8, 2 => 0..40_u8, 1 => any::<u8>()];
    let one = prop_oneof![
        3 => (prop_oneof![Just(ROUTING), Just(DESTINATION)], units(), any::<u8>())
            .prop_map(|(kind, units, fill)| header(kind, units, fill)),
        1 => any::<[u8; 4]>().prop_map(|id| fragment(0, false, id)),
    ];
    let first = proptest::option::of(
        (units(), any::<u8>()).prop_map(|(units, fill)| header(HOP_BY_HOP, units, fill)),
    );
    (first, proptest::collection::vec(one, 0..8)).prop_map(|(first, others)| {
        let mut chain: Vec<Extension> = Vec::new();
        for extension in first.into_iter().chain(others) {
            let length: usize = chain.iter().map(|extension| extension.1.len()).sum();
            let again = extension.0 == FRAGMENT && chain.iter().any(|one| one.0 == FRAGMENT);
            if !again && length + extension.1.len() <= WALKED {
                chain.push(extension);
            }
        }
        chain
    })
}

/// Segments of any shape to the service, and from a backend, that nothing is wrong with; hop limits of
/// `least` and more.
pub(super) fn segment(least: u8) -> impl Strategy<Value = Segment> {
    let bytes = |count| proptest::collection::vec(any::<u8>(), count);
    let hops = prop_oneof![least..4, least..=255];
    let options = (0..=10_usize).prop_flat_map(|words| proptest::collection::vec(any::<u8>(), 4 * words));
    let payload = prop_oneof![4 => bytes(0..40), 1 => bytes(0..1600)];
    let shape = (0..1_u32 << 28, hops, chain(), options, payload, bytes(0..7));
    let ends = (any::<[u8; 8]>(), any::<u16>(), proptest::option::of(0..4_usize));
    let flags = prop_oneof![Just(SYN), Just(ACK), Just(ACK | 1), Just(4)];
    (shape, ends, flags).prop_map(|((label, hops, chain, options, payload, padding), ends, flags)| {
        let (host, port, backend) = ends;
        let mut client = CLIENT;
        client[8..].copy_from_slice(&host);
        let plain = match backend {
            None => Segment { source: (client, port), ..Segment::to_service(flags) },
            Some(backend) => Segment { destination: (client, port), ..Segment::from_backend(backend, flags) },
        };
        Segment { label, hops, chain, options, payload, padding, ..plain }
    })
}

/// Options or a routing header that is done with, of so many units of eight bytes beside the first one.
fn header(kind: u8, units: u8, fill: u8) -> Extension {
    let mut bytes = std::vec![fill; 8 * (usize::from(units) + 1)];
    bytes[1] = units;
    if kind == ROUTING {
        bytes[3] = 0;
    }
    Extension(kind, bytes)
}
