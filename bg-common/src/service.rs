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

/// The service of a destination. With port and protocol 0: the VIP's policy.
#[inline(always)]
pub fn find<'d, D: Directory>(
    directory: &'d D,
    mask: u32,
    vip: &Address,
    port: [u8; 2],
    protocol: u8,
) -> Option<&'d Service> {
    search(|index| directory.service(index), mask, vip, port, protocol)
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
    search(|index| directory.endpoint(index), mask, address, port, protocol)
}

/// What the two tables' entries have in common.
trait Entry {
    fn state(&self) -> u8;
    fn is(&self, address: &Address, port: [u8; 2], protocol: u8) -> bool;
}

impl Entry for Service {
    #[inline(always)]
    fn state(&self) -> u8 {
        self.state
    }

    #[inline(always)]
    fn is(&self, address: &Address, port: [u8; 2], protocol: u8) -> bool {
        self.port == port && self.protocol == protocol && self.vip.halves() == address.halves()
    }
}

impl Entry for Endpoint {
    #[inline(always)]
    fn state(&self) -> u8 {
        self.state
    }

    #[inline(always)]
    fn is(&self, address: &Address, port: [u8; 2], protocol: u8) -> bool {
        self.port == port && self.protocol == protocol && self.address.halves() == address.halves()
    }
}

#[inline(always)]
fn search<'d, E: Entry + 'd>(
    get: impl Fn(u32) -> Option<&'d E>,
    mask: u32,
    address: &Address,
    port: [u8; 2],
    protocol: u8,
) -> Option<&'d E> {
    let start = place(address, port, protocol);
    for probe in 0..PROBES {
        let entry = get(start.wrapping_add(probe) & mask)?;
        if entry.state() == entry::EMPTY {
            return None;
        }
        if entry.state() == entry::USED && entry.is(address, port, protocol) {
            return Some(entry);
        }
    }
    None
}
