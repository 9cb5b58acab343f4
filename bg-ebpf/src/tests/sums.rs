//! What leaves over IPv6 is, byte by byte, the segment as if it had been built for its new addresses: the
//! checksum of a rewritten packet equals one over all of its bytes, and nothing else has changed.

use bg_common::reason::Reason;
use proptest::prelude::*;

use super::shapes;
use super::v6::{self, BACKENDS, Segment};
use super::{ACK, LAN, WAN, arrive, node};
use crate::verdict::Action;

/// RFC 1071, word by word over network-order bytes, odd lengths padded with a zero byte.
pub(crate) fn recomputed(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_leaves_equals_what_would_be_built_for_its_new_addresses(segment in shapes::segment(2)) {
        let mut host = node();
        v6::route(&mut host, 9000);
        let (action, sent) = arrive(&host, &segment.bytes(), v6::interface(&segment));
        if v6::interface(&segment) == LAN {
            prop_assert_eq!(action, Action::Redirect(WAN));
            prop_assert_eq!(sent, segment.returned().bytes());
            prop_assert_eq!(host.counted(Reason::Returned).packets, 1);
        } else {
            prop_assert_eq!(action, Action::Redirect(LAN));
            let backend: [u8; 16] = sent[38..54].try_into().unwrap();
            prop_assert!(BACKENDS[..2].contains(&backend), "{backend:02x?} is not blue");
            prop_assert_eq!(sent, segment.forwarded(backend).bytes());
            prop_assert_eq!(host.counted(Reason::Forwarded).packets, 1);

            let number = BACKENDS.iter().position(|known| *known == backend).unwrap();
            let reply = Segment { destination: segment.source, ..Segment::from_backend(number, ACK) };
            let (action, returned) = arrive(&host, &reply.bytes(), LAN);
            prop_assert_eq!(action, Action::Redirect(WAN));
            prop_assert_eq!(returned, reply.returned().bytes());
        }
    }
}
