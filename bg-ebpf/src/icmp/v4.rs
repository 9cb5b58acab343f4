//! ICMP (RFC 792).

use network_types::ip::Ipv4Hdr;

use super::Icmp;
use crate::checksum::Change;
use crate::packet::Field as _;

const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// TTL of an answer.
const TTL: u8 = 64;

impl Icmp for Ipv4Hdr {
    const PROTOCOL: u8 = 1;
    const ECHO: [u8; 2] = [8, 0];

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        kind == UNREACHABLE || kind == TIME_EXCEEDED || kind == PARAMETER_PROBLEM
    }

    #[inline(always)]
    fn turn(&mut self) {
        let (source, destination) = (self.src_addr.fetch(), self.dst_addr.fetch());
        self.src_addr.put(destination);
        self.dst_addr.put(source);
        let word = |ttl| u16::from_ne_bytes([ttl, 0]);
        Change::default().two(word(self.ttl), word(TTL)).apply(&mut self.check);
        self.ttl = TTL;
    }

    /// The checksum of a message does not cover the addresses.
    #[inline(always)]
    fn before(_: Change) -> Change {
        Change::default()
    }

    /// The quoted header has a checksum of its own, which the message's covers too.
    #[inline(always)]
    fn quoted(&mut self, change: impl FnOnce(&mut Self) -> Change) -> [Change; 2] {
        let before = self.check.fetch();
        let change = change(self);
        [change, change.two(before, self.check.fetch())]
    }
}
