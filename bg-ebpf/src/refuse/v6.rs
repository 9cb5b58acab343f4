//! IPv6 (RFC 8200).

use network_types::ip::Ipv6Hdr;

use super::{HOPS, TCP, TCP_HEADER, Turn};
use crate::checksum::Sum;
use crate::packet::{Field as _, Frame};

/// The traffic class without ECN, which a RST does not have, in the first two bytes.
const DSCP: [u8; 2] = [0x0f, 0xc0];

impl Turn for Ipv6Hdr {
    #[inline(always)]
    fn turn(&self, frame: &mut Frame<'_>) -> Option<Sum> {
        let ip = frame.take::<Self>()?;
        let (vip, client) = (self.dst_addr, self.src_addr);
        *ip = Self {
            vcf: [0x60 | self.vcf[0] & DSCP[0], self.vcf[1] & DSCP[1], 0, 0],
            payload_len: TCP_HEADER.to_be_bytes(),
            next_hdr: TCP,
            hop_limit: HOPS,
            src_addr: vip,
            dst_addr: client,
        };
        // The pseudo-header has addresses, length and protocol (RFC 8200, 8.1).
        let sum = Sum::default().sixteen(vip.fetch()).sixteen(client.fetch());
        Some(sum.four(u32::from(TCP_HEADER).to_be()).four(u32::from(TCP).to_be()))
    }
}
