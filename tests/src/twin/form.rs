//! What segments look like beside what they say: lengths, options, extension headers.

use std::net::{IpAddr, SocketAddr};

use super::random::Random;
use super::world::Device;
use crate::packets::craft::{self, Extension, Segment, Transport};

/// Numbers of extension headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Of a thousand segments, so many have extension headers if they go over IPv6.
const CHAINED: u32 = 150;

/// A segment with the odd bits in it that are none.
pub(super) fn segment(flags: u8, device: Device, payload: u32, random: &mut Random) -> Segment {
    Segment {
        to: device.mac(),
        from: [2, 0, 0, 0, 9, random.byte()],
        tos: if random.permille(100) { random.byte() } else { 0 },
        id: random.word() as u16,
        fragment: if random.permille(850) { craft::DF } else { 0 },
        ttl: if random.permille(950) { 64 } else { random.pick(&[2, 3, 255]) },
        payload: random.bytes(payload),
        flow_label: random.word() & 0xf_ffff,
        extensions: if random.permille(CHAINED) { chain(random) } else { Vec::new() },
        tcp_options: if random.permille(200) { random.words(0, 11) } else { Vec::new() },
        padding: if random.permille(50) { random.words(0, 5) } else { Vec::new() },
        ..Segment::to_service(flags)
    }
}

/// Bytes of a segment: few, or more than the narrow link takes, or more than any.
pub(super) fn length(random: &mut Random) -> u32 {
    match random.below(100) {
        0..50 => 1 + random.below(40),
        50..92 => 1230 + random.below(170),
        _ => 1400 + random.below(100),
    }
}

/// Extension headers as the path walks them, mostly: options first, then routing headers that are done with,
/// options and an atomic fragment.
pub(super) fn chain(random: &mut Random) -> Vec<Extension> {
    let mut chain = Vec::new();
    if random.permille(300) {
        chain.push(header(HOP_BY_HOP, random.below(3), random));
    }
    for _ in 0..=random.below(4) {
        chain.push(header(random.pick(&[DESTINATION, DESTINATION, ROUTING]), random.below(4), random));
    }
    if random.permille(200) {
        chain.insert(chain.len() - 1, fragment(0, false, random.word() as u16));
    }
    chain
}

/// Headers beyond the bound, out of place, or of a kind that is the kernel's.
pub(super) fn unwalked(random: &mut Random) -> Vec<Extension> {
    let mut chain = self::chain(random);
    match random.below(5) {
        0 => chain.extend((0..8).map(|_| header(DESTINATION, 0, random))),
        1 => chain.push(header(DESTINATION, 140 + random.below(115), random)),
        2 => chain.push(header(HOP_BY_HOP, 0, random)),
        3 => {
            let mut routing = header(ROUTING, 2, random);
            routing.1[3] = 1 + random.below(255) as u8;
            chain.push(routing);
        }
        // Encrypted, authenticated, nothing, mobility, UDP, ICMP.
        _ => chain.push(header(random.pick(&[50, 51, 59, 135, 17, 58]), 1, random)),
    }
    chain
}

/// A header of so many units of eight bytes beside the first one.
pub(super) fn header(kind: u8, units: u32, random: &mut Random) -> Extension {
    let mut bytes = random.bytes(8 * (units + 1));
    bytes[1] = units as u8;
    if kind == ROUTING {
        bytes[3] = 0;
    }
    Extension(kind, bytes)
}

/// The header of a fragment; its offset in units of eight bytes.
pub(super) fn fragment(offset: u16, more: bool, id: u16) -> Extension {
    let mut bytes = vec![0; 4];
    bytes[2..4].copy_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
    bytes.extend(u32::from(id).to_be_bytes());
    Extension(FRAGMENT, bytes)
}

/// Gives a segment a number that others have too, mostly, and a length that fits a fragment, mostly.
pub(super) fn number(segment: &mut Segment, random: &mut Random) {
    if random.permille(750) {
        segment.id = random.below(2) as u16;
    }
    if random.permille(900) {
        let header = if segment.transport == Transport::Tcp { 20 + segment.tcp_options.len() } else { 8 };
        let whole = (header + segment.payload.len()).next_multiple_of(8);
        segment.payload.resize(whole - header, 0);
    }
}

/// The address that is so many behind the first one.
pub(super) fn nth(first: IpAddr, n: u8) -> IpAddr {
    match first {
        IpAddr::V4(address) => (u32::from(address) + u32::from(n)).to_be_bytes().into(),
        IpAddr::V6(address) => (u128::from(address) + u128::from(n)).to_be_bytes().into(),
    }
}

/// Where a segment that went out as `bytes` is sent to.
pub(super) fn destination(segment: &Segment, bytes: &[u8]) -> SocketAddr {
    let ip = 14 + 4 * segment.tags.len();
    let (address, tcp): (IpAddr, usize) = match segment.destination {
        SocketAddr::V4(_) => {
            let address: [u8; 4] = bytes[ip + 16..ip + 20].try_into().expect("four bytes");
            (address.into(), ip + 20 + segment.ip_options.len())
        }
        SocketAddr::V6(_) => {
            let address: [u8; 16] = bytes[ip + 24..ip + 40].try_into().expect("sixteen bytes");
            let extensions: usize = segment.extensions.iter().map(|extension| extension.1.len()).sum();
            (address.into(), ip + 40 + extensions)
        }
    };
    SocketAddr::new(address, u16::from_be_bytes([bytes[tcp + 2], bytes[tcp + 3]]))
}
