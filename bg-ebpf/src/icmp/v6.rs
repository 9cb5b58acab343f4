//! ICMP for IPv6 (RFC 4443).

use network_types::ip::Ipv6Hdr;

use super::Icmp;
use crate::checksum::Change;
use crate::packet::Field as _;

/// Hop limit of an answer.
const HOPS: u8 = 64;

impl Icmp for Ipv6Hdr {
    const PROTOCOL: u8 = 58;
    const ECHO: [u8; 2] = [128, 129];

    /// Unreachable, too big, time exceeded, parameter problem.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        (1..=4).contains(&kind)
    }

    #[inline(always)]
    fn turn(&mut self) {
        let (source, destination): ([u64; 2], [u64; 2]) = (self.src_addr.fetch(), self.dst_addr.fetch());
        self.src_addr.put(destination);
        self.dst_addr.put(source);
        self.hop_limit = HOPS;
    }

    /// The checksum of a message covers the addresses.
    #[inline(always)]
    fn before(change: Change) -> Change {
        change
    }

    #[inline(always)]
    fn quoted(&mut self, change: impl FnOnce(&mut Self) -> Change) -> [Change; 2] {
        let change = change(self);
        [change, change]
    }
}
