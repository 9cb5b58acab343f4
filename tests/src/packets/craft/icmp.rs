//! ICMP errors.

use std::net::{IpAddr, SocketAddr};

use super::bytes::{ICMP, ICMP_V6, checksum, covered, link, octets};
use super::{Mac, Segment};

/// An ICMP message from `vip` to `client`; an error quotes the start of an IP packet.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are the fields of the headers")]
pub struct IcmpError {
    pub to: Mac,
    pub from: Mac,
    pub tags: Vec<[u8; 4]>,
    pub vip: IpAddr,
    pub client: IpAddr,
    /// TTL, or hop limit.
    pub ttl: u8,
    pub kind: u8,
    pub code: u8,
    /// The four bytes after the checksum.
    pub rest: [u8; 4],
    pub quote: Vec<u8>,
}

impl IcmpError {
    /// What a client gets to hear from the VIP about its `segment`: over IPv4 with the header, its options and
    /// eight bytes more in it, over IPv6 with as much as fits 1,280 bytes.
    pub fn about(segment: &Segment, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        let length = match segment.destination {
            SocketAddr::V4(_) => 20 + segment.ip_options.len() + 8,
            SocketAddr::V6(_) => 1280 - 48,
        };
        let mut quote = segment.ip_bytes();
        quote.truncate(length);
        Self {
            to: segment.from,
            from: segment.to,
            tags: segment.tags.clone(),
            vip: segment.destination.ip(),
            client: segment.source.ip(),
            ttl: 64,
            kind,
            code,
            rest,
            quote,
        }
    }

    /// All of its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut icmp = vec![self.kind, self.code, 0, 0];
        icmp.extend(self.rest);
        icmp.extend(&self.quote);
        let mut bytes = link(self.to, self.from, &self.tags, self.vip);
        let ends = [octets(self.vip), octets(self.client)].concat();
        let sum = if self.vip.is_ipv4() {
            let mut ip = vec![0x45, 0xc0];
            ip.extend(((20 + icmp.len()) as u16).to_be_bytes());
            ip.extend([0, 0, 0x40, 0, self.ttl, ICMP, 0, 0]);
            ip.extend(ends);
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            bytes.extend(ip);
            checksum(&icmp)
        } else {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((icmp.len() as u16).to_be_bytes());
            bytes.extend([ICMP_V6, self.ttl]);
            bytes.extend(ends);
            checksum(&covered(self.vip, self.client, ICMP_V6, &icmp))
        };
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(icmp);
        bytes
    }
}
