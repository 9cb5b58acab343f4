//! Packets that carry others (RFC 2003, RFC 2473).

use std::net::IpAddr;

use super::bytes::{checksum, link, octets};
use super::{DF, Mac, Segment};

/// A packet within which a client's travels to a backend.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are the fields of the headers")]
pub struct Outer {
    pub to: Mac,
    pub from: Mac,
    pub tags: Vec<[u8; 4]>,
    pub tos: u8,
    /// Only IPv6.
    pub flow_label: u32,
    /// Only IPv4.
    pub id: u16,
    /// Only IPv4.
    pub fragment: u16,
    pub ttl: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The packet that it carries.
    pub inner: Vec<u8>,
    /// Follows the packet, and is not part of it.
    pub padding: Vec<u8>,
}

impl Outer {
    /// What carries a client's segment of this hash to a backend, from the sources that the cases' node has.
    pub fn around(segment: &Segment, hash: u32, backend: IpAddr) -> Self {
        let [a, b, c, d] = hash.to_be_bytes();
        let source = match backend {
            IpAddr::V4(_) => IpAddr::from([172, 16, c, d]),
            IpAddr::V6(_) => IpAddr::from([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]),
        };
        Self {
            to: segment.to,
            from: segment.from,
            tags: segment.tags.clone(),
            tos: segment.tos,
            flow_label: hash & 0xf_ffff,
            id: 0,
            fragment: DF,
            ttl: 64,
            source,
            destination: backend,
            inner: Segment { ttl: segment.ttl - 1, ..segment.clone() }.ip_bytes(),
            padding: segment.padding.clone(),
        }
    }

    /// The same as it leaves by the device with address `from` to a neighbour.
    #[must_use]
    pub fn sent(self, to: Mac, from: Mac) -> Self {
        Self { to, from, ..self }
    }

    /// All of its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = link(self.to, self.from, &self.tags, self.destination);
        let ends = [octets(self.source), octets(self.destination)].concat();
        if self.destination.is_ipv4() {
            let mut ip = vec![0x45, self.tos];
            ip.extend(((20 + self.inner.len()) as u16).to_be_bytes());
            ip.extend(self.id.to_be_bytes());
            ip.extend(self.fragment.to_be_bytes());
            ip.extend([self.ttl, 4, 0, 0]);
            ip.extend(ends);
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            bytes.extend(ip);
        } else {
            bytes.extend((6 << 28 | u32::from(self.tos) << 20 | self.flow_label).to_be_bytes());
            bytes.extend((self.inner.len() as u16).to_be_bytes());
            bytes.extend([if self.inner[0] >> 4 == 4 { 4 } else { 41 }, self.ttl]);
            bytes.extend(ends);
        }
        bytes.extend(&self.inner);
        bytes.extend(&self.padding);
        bytes
    }
}
