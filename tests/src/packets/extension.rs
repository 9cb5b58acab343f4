//! Extension headers of IPv6.

use super::craft::Extension;

/// Options for every router.
pub const HOP_BY_HOP: u8 = 0;
/// Places that the packet is to visit.
pub const ROUTING: u8 = 43;
/// A fragment, or an atomic one.
pub const FRAGMENT: u8 = 44;
/// Options for the destination.
pub const DESTINATION: u8 = 60;

/// Options of a length in bytes, a multiple of eight: padding.
pub fn options(kind: u8, length: usize) -> Extension {
    let mut bytes = vec![0; length];
    bytes[1] = (length / 8 - 1) as u8;
    Extension(kind, bytes)
}

/// A routing header with so many places that it has yet to be to.
pub fn routing(segments_left: u8) -> Extension {
    let mut extension = options(ROUTING, 24);
    extension.1[2] = 4;
    extension.1[3] = segments_left;
    extension
}

/// The header of a fragment; its offset in units of eight bytes.
pub fn fragment(offset: u16, more: bool) -> Extension {
    let mut bytes = vec![0, 0];
    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    Extension(FRAGMENT, bytes)
}
