//! An outer header of IPv6 (RFC 2473), without the option that limits how often packets are put into one another.

use network_types::ip::Ipv6Hdr;

use super::{Around, HOPS, Inner, Outer};
use crate::kernel::Version;
use crate::parse::IPV6;

/// IPv4 within IPv6, and IPv6 within it.
const V4_IN_V6: u8 = 4;
const V6_IN_V6: u8 = 41;
/// A flow label.
const LABEL: u32 = (1 << 20) - 1;

impl Outer for Ipv6Hdr {
    const ETHERTYPE: u16 = IPV6;

    #[inline(always)]
    fn write(&mut self, inner: &Inner, around: &Around) {
        // One label for one flow, by which routers spread flows (RFC 6438).
        let first = 6 << 28 | u32::from(inner.tos) << 20 | around.hash & LABEL;
        *self = Self {
            vcf: first.to_be_bytes(),
            payload_len: (inner.total as u16).to_be_bytes(),
            next_hdr: if inner.version == Version::V4 { V4_IN_V6 } else { V6_IN_V6 },
            hop_limit: HOPS,
            src_addr: around.source.0,
            dst_addr: around.destination.0,
        };
    }
}
