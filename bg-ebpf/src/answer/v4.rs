//! ICMP (RFC 792).

use network_types::ip::Ipv4Hdr;

use super::{Error, HOPS, ICMP_HEADER, Report, seal};
use crate::checksum::Sum;
use crate::packet::{Field as _, Frame};

/// Bytes of the transport header that are quoted: ports and sequence number.
const QUOTED: u16 = 8;
/// The longest quote in words of four bytes: an IPv4 header with all its options, and [`QUOTED`].
const QUOTE_WORDS: u16 = (60 + QUOTED) / 4;
const ICMP: u8 = 1;
/// Internetwork control (RFC 1812, 4.3.2.5).
const TOS: u8 = 0xc0;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

impl Report for Ipv4Hdr {
    #[inline(always)]
    fn quote(&self) -> u16 {
        u16::from(self.vihl & 15) * 4 + QUOTED
    }

    #[inline(always)]
    fn write(&self, error: Error, quote: u16, mut frame: Frame<'_>) -> Option<()> {
        let ip = frame.take::<Self>()?;
        let icmp = frame.take::<[u8; ICMP_HEADER]>()?;
        let (vip, client) = (self.dst_addr, self.src_addr);
        *ip = Self {
            vihl: 0x45,
            tos: TOS,
            tot_len: (Self::FRONT + quote).to_be_bytes(),
            id: [0; 2],
            frags: DONT_FRAGMENT,
            ttl: HOPS,
            proto: ICMP,
            check: [0; 2],
            src_addr: vip,
            dst_addr: client,
        };
        let words = [
            [0x45, TOS, ip.tot_len[0], ip.tot_len[1]],
            [0, 0, DONT_FRAGMENT[0], DONT_FRAGMENT[1]],
            [HOPS, ICMP, 0, 0],
            vip,
            client,
        ];
        let sum = words.iter().fold(Sum::default(), |sum, word| sum.four(u32::from_ne_bytes(*word)));
        ip.check.put(sum.finish());

        let mut sum = Sum::default();
        for _ in 0..QUOTE_WORDS {
            let Some(word) = frame.take::<[u8; 4]>() else { break };
            sum = sum.four(word.fetch());
        }
        seal(icmp, header(error), sum);
        Some(())
    }
}

/// Type, code, checksum, and the four bytes whose meaning depends on the type (RFC 1191 for the second).
#[inline(always)]
const fn header(error: Error) -> [u8; ICMP_HEADER] {
    match error {
        Error::TimeExceeded => [11, 0, 0, 0, 0, 0, 0, 0],
        Error::Unreachable => [3, 3, 0, 0, 0, 0, 0, 0],
        Error::TooBig(mtu) => {
            let mtu = (mtu as u16).to_be_bytes();
            [3, 4, 0, 0, 0, 0, mtu[0], mtu[1]]
        }
    }
}
