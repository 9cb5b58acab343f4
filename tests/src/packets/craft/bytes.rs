//! The parts that every packet has: addresses, link headers, checksums.

use std::net::IpAddr;

use super::Mac;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP_V6: u8 = 58;

/// An address as it lies in a packet.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What a checksum covers: the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1), and the bytes.
pub fn covered(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &[u8]) -> Vec<u8> {
    let mut covered = [octets(source), octets(destination)].concat();
    covered.extend((bytes.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, protocol]);
    covered.extend(bytes);
    covered
}

pub(super) fn link(to: Mac, from: Mac, tags: &[[u8; 4]], inner: IpAddr) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    bytes.extend(tags.concat());
    bytes.extend(if inner.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
    bytes
}

/// RFC 1071, as it is written there.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) * 256 + u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// One's complement addition.
pub(super) fn add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
