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
/// is bounded whatever is asked. The usual keys differ little, by hosts in a row and ports in a row: a product spreads
/// only towards its upper end, so that both have to lie low in what is multiplied.
#[must_use]
#[inline(always)]
pub const fn place(address: &Address, port: [u8; 2], protocol: u8) -> u32 {
    let [high, low] = address.halves();
    let ends = (u16::from_be_bytes(port) as u64) << 8 | protocol as u64;
    let x = (high ^ (low ^ ends).rotate_left(29)).wrapping_mul(0x94d0_49bb_1331_11eb);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// IPv4 in one half, IPv6 in the other: a host of a network, by its number.
    fn host(v6: bool, network: u8, number: u32) -> Address {
        let [_, b, c, d] = number.to_be_bytes();
        if v6 {
            Address([0x20, 1, 0xd, 0xb8, 0, network, 0, 0, 0, 0, 0, 0, 0, b, c, d])
        } else {
            Address::v4([10, network.wrapping_add(b), c, d])
        }
    }

    /// How many of so many keys have no place in a table of which they fill an eighth.
    fn left_out(keys: u32, key: impl Fn(u32) -> (Address, u16, u8)) -> u32 {
        let mut table = vec![false; (keys * 8).next_power_of_two() as usize];
        let mask = table.len() as u32 - 1;
        (0..keys)
            .filter(|&number| {
                let (address, port, protocol) = key(number);
                let start = place(&address, port.to_be_bytes(), protocol);
                let mut places = (0..PROBES).map(|probe| (start.wrapping_add(probe) & mask) as usize);
                places.find(|&at| !table[at]).map(|at| table[at] = true).is_none()
            })
            .count() as u32
    }

    #[test]
    fn hosts_and_ports_in_a_row_have_their_places() {
        for (v6, network) in (0..16).map(|n| (n % 2 == 1, n * 15)) {
            for keys in [1000, 10_000] {
                for ports in [1, 2, 8, 10, 32, 100, 1000] {
                    let row = |n: u32| (host(v6, network, n / ports), 8000 + (n % ports) as u16, 6);
                    let all = |n: u32| {
                        (host(v6, network, n % (keys / ports)), 30_000 + (n / (keys / ports)) as u16, 6)
                    };
                    assert_eq!(left_out(keys, row), 0, "{keys} keys, {ports} ports, network {network}");
                    assert_eq!(left_out(keys, all), 0, "{keys} keys, {ports} ports, network {network}");
                }
                let with_vip = |n: u32| {
                    let (port, protocol) = if n.is_multiple_of(2) { (443, 6) } else { (0, 0) };
                    (host(v6, network, n / 2), port, protocol)
                };
                assert_eq!(left_out(keys, with_vip), 0, "{keys} services and VIPs, network {network}");
            }
        }
    }
}
