//! An outer header of IPv4 (RFC 2003).

use network_types::ip::Ipv4Hdr;

use super::{Around, HOPS, Inner, Outer};
use crate::checksum::Sum;
use crate::packet::Field as _;
use crate::parse::IPV4;

/// IP within IP.
const IP_IN_IP: u8 = 4;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

impl Outer for Ipv4Hdr {
    const ETHERTYPE: u16 = IPV4;

    #[inline(always)]
    fn write(&mut self, inner: &Inner, around: &Around) {
        let total = (inner.total as u16).wrapping_add(Self::SIZE);
        // What is never fragmented needs no number (RFC 6864, 4.1); what is takes the sender's.
        let (id, fragment) = if around.divisible { (inner.id, [0; 2]) } else { ([0; 2], DONT_FRAGMENT) };
        *self = Self {
            vihl: 0x45,
            tos: inner.tos,
            tot_len: total.to_be_bytes(),
            id,
            frags: fragment,
            ttl: HOPS,
            proto: IP_IN_IP,
            check: [0; 2],
            src_addr: around.source.tail(),
            dst_addr: around.destination.tail(),
        };
        let words = [
            [0x45, inner.tos, self.tot_len[0], self.tot_len[1]],
            [id[0], id[1], fragment[0], fragment[1]],
            [HOPS, IP_IN_IP, 0, 0],
            self.src_addr,
            self.dst_addr,
        ];
        let sum = words.iter().fold(Sum::default(), |sum, word| sum.four(u32::from_ne_bytes(*word)));
        self.check.put(sum.finish());
    }
}
