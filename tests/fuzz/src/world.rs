//! What is around the node that cases are run on in plain memory: two deployments over both versions of IP, with backends near,
//! behind a narrow link, behind a router, silent and without a route, in all modes; clients of the same kinds. Addresses are those of the twin's
//! world in `bg-tests`, so that a case means the same there.

use bg_common::abi::{Address, mode, tester};
use bg_ebpf::kernel::{Answer, Hop};
use bg_ebpf::packet::Macs;

/// Indices of the devices towards clients, backends, and the narrow link.
pub const DEVICES: [u32; 3] = [2, 4, 6];
/// MTU of each.
pub const MTUS: [u32; 3] = [1500, 1500, 1280];

/// The hardware address of a device by its number.
#[must_use]
pub const fn mac(device: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, device as u8 + 1]
}

/// A service: VIP, port, deployment, mode, backends of blue and then of green.
pub(crate) type Entry = ([u8; 4], u16, u16, u8, [([u8; 4], u16); 4]);
/// The address that stands beside one of IPv4, or itself.
pub(crate) type Over = fn([u8; 4]) -> Address;

/// Those of IPv4; the same follow over IPv6.
pub(crate) const SERVICES: [Entry; 6] = [
    (
        [203, 0, 113, 10],
        443,
        0,
        mode::NAT,
        [([10, 0, 1, 1], 8080), ([10, 0, 1, 2], 8080), ([10, 0, 2, 1], 8080), ([10, 0, 2, 2], 8080)],
    ),
    (
        [203, 0, 113, 10],
        8081,
        0,
        mode::NAT,
        [([10, 0, 1, 1], 8081), ([10, 0, 1, 1], 8081), ([10, 0, 2, 1], 8081), ([10, 0, 2, 1], 8081)],
    ),
    (
        [203, 0, 113, 11],
        443,
        1,
        mode::NAT,
        [([10, 3, 0, 2], 8080), ([10, 0, 1, 9], 8080), ([192, 0, 2, 50], 80), ([10, 9, 9, 9], 80)],
    ),
    ([203, 0, 113, 13], 80, 2, mode::NAT, [([10, 0, 1, 3], 8080); 4]),
    (
        [203, 0, 113, 20],
        443,
        0,
        mode::DSR,
        [([10, 0, 1, 1], 443), ([10, 3, 0, 2], 443), ([10, 4, 0, 1], 443), ([10, 0, 1, 9], 443)],
    ),
    (
        [203, 0, 113, 30],
        443,
        0,
        mode::IPIP,
        [([10, 0, 1, 2], 443), ([10, 3, 0, 2], 443), ([10, 4, 0, 2], 443), ([10, 0, 1, 9], 443)],
    ),
];
/// Which backend of a service of mode ipip is of IPv6, whatever the service is.
const ALWAYS_V6: usize = 2;
/// Outer sources of packets within which others travel to backends of each version, and how many bits at the end
/// tell flows apart.
pub(crate) const TUNNELS: [(Address, u8); 2] =
    [(Address::v4([172, 16, 0, 0]), 16), (Address([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 32)];

/// A prefix with its length, and the way there.
pub(crate) type Way = ([u8; 4], u32, Option<(usize, [u8; 6])>);

/// Neighbours and routes of IPv4, and by which device with which hardware address, of a router if it is no host's;
/// without a device, only the kernel knows.
pub(crate) const WAYS: [Way; 14] = [
    ([192, 0, 2, 0], 24, None),
    ([192, 0, 2, 7], 32, Some((0, [2, 0, 0, 0, 9, 7]))),
    ([192, 0, 2, 50], 32, Some((0, [2, 0, 0, 0, 9, 50]))),
    ([198, 51, 100, 0], 24, Some((0, [2, 0, 0, 0, 9, 254]))),
    ([10, 0, 0, 0], 16, None),
    ([10, 0, 1, 1], 32, Some((1, [2, 0, 0, 0, 1, 1]))),
    ([10, 0, 1, 2], 32, Some((1, [2, 0, 0, 0, 1, 2]))),
    ([10, 0, 1, 3], 32, Some((1, [2, 0, 0, 0, 1, 3]))),
    ([10, 0, 2, 1], 32, Some((1, [2, 0, 0, 0, 2, 1]))),
    ([10, 0, 2, 2], 32, Some((1, [2, 0, 0, 0, 2, 2]))),
    ([10, 4, 0, 0], 16, Some((1, [2, 0, 0, 0, 0, 254]))),
    ([10, 3, 0, 0], 16, None),
    ([10, 3, 0, 2], 32, Some((2, [2, 0, 0, 0, 3, 2]))),
    ([10, 3, 0, 7], 32, Some((2, [2, 0, 0, 0, 3, 7]))),
];
/// The node's own addresses.
pub(crate) const OWN: [[u8; 4]; 3] = [[192, 0, 2, 1], [10, 0, 0, 1], [10, 3, 0, 1]];
/// Ports of the service that has testers, and of its preview at the same VIP.
pub(crate) const VIEWED: [u16; 2] = [8081, 8444];
/// Prefixes of testers, and of clients that were, of deployment 0.
pub(crate) const TESTERS: [([u8; 4], u32, u8); 2] =
    [([198, 51, 100, 8], 29, tester::NOW), ([198, 51, 100, 24], 29, tester::ONCE)];
/// Clients that speak to backends of the second service directly.
pub(crate) const EXCLUDED: ([u8; 4], u32) = ([198, 51, 100, 192], 26);

/// The address as it is, and the one that stands beside it.
pub(crate) const VERSIONS: [Over; 2] = [address, over_v6];

pub(crate) fn answer((_, length, way): Way) -> Answer {
    way.map_or(Answer::ByKernel, |(device, mac)| {
        Answer::Hop(Hop {
            interface: DEVICES[device],
            mtu: MTUS[device],
            gateway: length < 32,
            macs: Macs::words(mac, self::mac(device)),
        })
    })
}

fn services() -> impl Iterator<Item = (Over, &'static Entry)> {
    VERSIONS.into_iter().flat_map(|version| SERVICES.iter().map(move |entry| (version, entry)))
}

/// The mode at a VIP whose backends answer clients themselves.
pub(crate) fn direct(vip: &Address) -> Option<u8> {
    let mut all = services();
    let found = all.find(|(version, entry)| entry.3 != mode::NAT && version(entry.0) == *vip);
    found.map(|(_, entry)| entry.3)
}

/// Where all backends are. By a control word that no agent would store, a packet comes to those of other services.
pub(crate) fn backends() -> impl Iterator<Item = Address> {
    services().flat_map(|(version, &(_, _, _, mode, backends))| {
        let numbered = backends.into_iter().enumerate();
        numbered.map(move |(number, (at, _))| over(mode, number, version)(at))
    })
}

/// What the routing table answers for a backend's address.
pub(crate) fn way(to: &Address) -> Option<Answer> {
    let mut all: Vec<_> =
        VERSIONS.into_iter().flat_map(|version| WAYS.into_iter().map(move |way| (version, way))).collect();
    all.sort_by_key(|(_, way)| core::cmp::Reverse(way.1));
    let bits = |address: &Address| u128::from_be_bytes(address.0);
    let covers = |(version, way): &(Over, Way)| {
        let (prefix, length) = prefix(*version, way.0, way.1);
        (bits(&prefix) ^ bits(to)).leading_zeros() >= length
    };
    all.into_iter().find(covers).map(|(_, way)| answer(way))
}

/// The version of a backend's address by its number and its service's.
pub(crate) fn over(mode: u8, number: usize, version: Over) -> Over {
    if mode == mode::IPIP && number == ALWAYS_V6 { over_v6 } else { version }
}

fn address(octets: [u8; 4]) -> Address {
    Address::v4(octets)
}

/// The address that stands beside one of IPv4.
fn over_v6([a, b, c, d]: [u8; 4]) -> Address {
    Address([0x20, 1, 0xd, 0xb8, a, b, 0, 0, 0, 0, 0, 0, 0, 0, c, d])
}

/// A prefix, with its length in bits of a mapped address.
pub(crate) fn prefix(version: Over, prefix: [u8; 4], length: u32) -> (Address, u32) {
    (version(prefix), 96 + length)
}
