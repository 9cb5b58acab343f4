//! ICMP for IPv6 (RFC 4443).

use network_types::ip::Ipv6Hdr;

use super::{Error, HOPS, ICMP_HEADER, Report, seal};
use crate::checksum::Sum;
use crate::packet::{Field as _, Frame};

/// Every link takes packets of this length, and an error is not longer (RFC 4443, 2.4 (c)).
const MINIMUM_MTU: u16 = 1280;
const QUOTED: u16 = MINIMUM_MTU - <Ipv6Hdr as Report>::FRONT;
const HEADER: u16 = size_of::<Ipv6Hdr>() as u16;
const ICMP_V6: u8 = 58;

impl Report for Ipv6Hdr {
    /// As much of the packet as fits; what pads the frame is no part of it.
    #[inline(always)]
    fn quote(&self) -> u16 {
        let payload = u16::from_be(self.payload_len.fetch());
        payload.min(QUOTED - HEADER) + HEADER
    }

    #[inline(always)]
    fn write(&self, error: Error, quote: u16, mut frame: Frame<'_>) -> Option<()> {
        let ip = frame.take::<Self>()?;
        let icmp = frame.take::<[u8; ICMP_HEADER]>()?;
        let length = Self::FRONT - HEADER + quote;
        let (vip, client) = (self.dst_addr, self.src_addr);
        *ip = Self {
            vcf: [0x60, 0, 0, 0],
            payload_len: length.to_be_bytes(),
            next_hdr: ICMP_V6,
            hop_limit: HOPS,
            src_addr: vip,
            dst_addr: client,
        };

        // The pseudo-header has addresses, length and protocol (RFC 8200, 8.1).
        let mut sum = Sum::default()
            .sixteen(vip.fetch())
            .sixteen(client.fetch())
            .four(u32::from(length).to_be())
            .four(u32::from(ICMP_V6).to_be());
        for _ in 0..QUOTED / 16 {
            let Some(bytes) = frame.take::<[u8; 16]>() else { break };
            sum = sum.sixteen(bytes.fetch());
        }
        // One to fifteen bytes may be left; a zero byte fills up the last.
        for _ in 0..3 {
            let Some(word) = frame.take::<[u8; 4]>() else { break };
            sum = sum.four(word.fetch());
        }
        if let Some(two) = frame.take::<[u8; 2]>() {
            sum = sum.four(u32::from(two.fetch()));
        }
        if let Some(&mut [one]) = frame.take::<[u8; 1]>() {
            sum = sum.four(u32::from(u16::from_ne_bytes([one, 0])));
        }
        seal(icmp, header(error), sum);
        Some(())
    }
}

/// Type, code, checksum, and the four bytes whose meaning depends on the type.
#[inline(always)]
const fn header(error: Error) -> [u8; ICMP_HEADER] {
    match error {
        Error::TimeExceeded => [3, 0, 0, 0, 0, 0, 0, 0],
        Error::Unreachable => [1, 4, 0, 0, 0, 0, 0, 0],
        Error::TooBig(mtu) => {
            let mtu = mtu.to_be_bytes();
            [2, 0, 0, 0, mtu[0], mtu[1], mtu[2], mtu[3]]
        }
    }
}
