//! IPv4 (RFC 791).

use network_types::ip::Ipv4Hdr;

use super::{HOPS, TCP, TCP_HEADER, Turn};
use crate::checksum::Sum;
use crate::packet::{Field as _, Frame};

const LENGTH: [u8; 2] = <Ipv4Hdr as Turn>::LENGTH.to_be_bytes();
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];
/// The type of service without ECN, which a RST does not have.
const DSCP: u8 = 0xfc;

impl Turn for Ipv4Hdr {
    #[inline(always)]
    fn turn(&self, frame: &mut Frame<'_>) -> Option<Sum> {
        let ip = frame.take::<Self>()?;
        let tos = self.tos & DSCP;
        let (vip, client) = (self.dst_addr, self.src_addr);
        let addresses = Sum::default().four(vip.fetch()).four(client.fetch());
        let words = [
            [0x45, tos, LENGTH[0], LENGTH[1]],
            [0, 0, DONT_FRAGMENT[0], DONT_FRAGMENT[1]],
            [HOPS, TCP, 0, 0],
        ];
        let sum = words.iter().fold(addresses, |sum, word| sum.four(u32::from_ne_bytes(*word)));
        *ip = Self {
            vihl: 0x45,
            tos,
            tot_len: LENGTH,
            id: [0; 2],
            frags: DONT_FRAGMENT,
            ttl: HOPS,
            proto: TCP,
            check: [0; 2],
            src_addr: vip,
            dst_addr: client,
        };
        ip.check.put(sum.finish());
        // The pseudo-header has addresses, protocol and length (RFC 9293, 3.1).
        let [high, low] = TCP_HEADER.to_be_bytes();
        Some(addresses.four(u32::from_ne_bytes([0, TCP, high, low])))
    }
}
