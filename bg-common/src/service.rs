//! The open-addressed tables: which service a destination stands for, and which backend a source is.

use crate::abi::{Address, Endpoint, Service, entry};

/// An entry is within so many places of where its key hashes to; the agent sees to it.
pub const PROBES: u32 = 8;

/// How lookups reach the two tables.
pub trait Directory {
    /// An entry of `SERVICES`.
    fn service(&self, index: u32) -> Option<&Service>;
    /// An entry of `ENDPOINTS`.
    fn endpoint(&self, index: u32) -> Option<&Endpoint>;
}

/// Where the search for a key begins. Not keyed: operators choose these keys, not clients, and the search
/// is bounded whatever is asked.
#[must_use]
#[inline(always)]
pub const fn place(address: &Address, port: [u8; 2], protocol: u8) -> u32 {
    let [high, low] = address.halves();
    let ends = (u16::from_be_bytes(port) as u64) << 8 | protocol as u64;
    let x = (high ^ low.rotate_left(29) ^ ends.rotate_left(51)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 32) as u32 ^ (x >> 15) as u32
}

/// The service of a destination. With port 0: the VIP's policy.
#[inline(always)]
pub fn find<'d, D: Directory>(
    directory: &'d D,
    mask: u32,
    vip: &Address,
    port: [u8; 2],
    protocol: u8,
) -> Option<&'d Service> {
    let start = place(vip, port, protocol);
    for probe in 0..PROBES {
        let service = directory.service(start.wrapping_add(probe) & mask)?;
        if service.state == entry::EMPTY {
            return None;
        }
        if service.state == entry::USED
            && service.port == port
            && service.protocol == protocol
            && service.vip.halves() == vip.halves()
        {
            return Some(service);
        }
    }
    None
}

/// The backend that a source is.
#[inline(always)]
pub fn find_endpoint<'d, D: Directory>(
    directory: &'d D,
    mask: u32,
    address: &Address,
    port: [u8; 2],
    protocol: u8,
) -> Option<&'d Endpoint> {
    let start = place(address, port, protocol);
    for probe in 0..PROBES {
        let endpoint = directory.endpoint(start.wrapping_add(probe) & mask)?;
        if endpoint.state == entry::EMPTY {
            return None;
        }
        if endpoint.state == entry::USED
            && endpoint.port == port
            && endpoint.protocol == protocol
            && endpoint.address.halves() == address.halves()
        {
            return Some(endpoint);
        }
    }
    None
}
