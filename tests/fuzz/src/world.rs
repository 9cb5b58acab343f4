//! The node that cases are run on in plain memory: two deployments over both versions of IP, with backends near,
//! behind a narrow link, behind a router, silent and without a route, in all modes; clients of the same kinds. Addresses are those of the twin's
//! world in `bg-tests`, so that a case means the same there.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{self, Address, Backend, Endpoint, Service, affinity, entry, mode, other_ports};
use bg_common::{host, ring};
use bg_ebpf::host::Host;
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

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A service: VIP, port, deployment, mode, backends of blue and then of green.
type Entry = ([u8; 4], u16, u16, u8, [([u8; 4], u16); 4]);
/// The address that stands beside one of IPv4, or itself.
type Over = fn([u8; 4]) -> Address;

/// Those of IPv4; the same follow over IPv6.
const SERVICES: [Entry; 6] = [
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
type Way = ([u8; 4], u32, Option<(usize, [u8; 6])>);

/// Neighbours and routes of IPv4, and by which device with which hardware address, of a router if it is no host's;
/// without a device, only the kernel knows.
const WAYS: [Way; 14] = [
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
const OWN: [[u8; 4]; 3] = [[192, 0, 2, 1], [10, 0, 0, 1], [10, 3, 0, 1]];
/// Clients that speak to backends of the second service directly.
const EXCLUDED: ([u8; 4], u32) = ([198, 51, 100, 192], 26);

/// The node: deployments 0 and 1 are steady on blue, deployment 2 is not set up.
#[must_use]
pub fn host() -> Host {
    let numbers = 2 * SERVICES.len() as u16;
    let mut tables = host::Host::new(numbers, 4);
    tables.node.vip_policy = 1;
    tables.control[2].store(0, SeqCst);
    tables.backends.clear();
    // Small, because each case has a node of its own.
    (tables.node.recent_mask, tables.node.census_mask) = (63, 15);
    tables.recent.truncate(usize::from(numbers) * 2 * 64);
    tables.census.truncate(16);
    let mut host = Host::new(tables);
    for version in VERSIONS {
        for service in &SERVICES {
            add(&mut host, service, version);
        }
        for way in WAYS {
            let (prefix, length) = prefix(version, way.0, way.1);
            host.add_route(prefix, length, answer(way));
        }
        for own in OWN {
            host.add_route(version(own), 128, Answer::Local);
        }
        let excluded = prefix(version, EXCLUDED.0, EXCLUDED.1);
        host.excluded.push(excluded);
    }
    for (device, index) in DEVICES.into_iter().enumerate() {
        host.add_interface(index, mac(device));
    }
    host
}

/// The address as it is, and the one that stands beside it.
const VERSIONS: [Over; 2] = [address, over_v6];

fn answer((_, length, way): Way) -> Answer {
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
fn over(mode: u8, number: usize, version: Over) -> Over {
    if mode == mode::IPIP && number == ALWAYS_V6 { over_v6 } else { version }
}

fn add(host: &mut Host, &(vip, port, deployment, mode, backends): &Entry, version: Over) {
    let number = (host.tables.backends.len() / backends.len()) as u16;
    let service = Service {
        vip: version(vip),
        port: port.to_be_bytes(),
        id: number,
        deployment,
        mode,
        ..host.tables.service(number)
    };
    host.add_service(service);
    let datagrams = deployment == 0;
    if datagrams {
        let affinity = if port == 443 { affinity::FLOW } else { 0 };
        host.add_service(Service { protocol: UDP, affinity, ..service });
    }
    let policy = if vip[3] == 11 { other_ports::DROP } else { other_ports::KERNEL };
    if port != 8081 {
        host.add_service(Service { port: [0; 2], protocol: 0, other_ports: policy, ..service });
    }
    let first = host.tables.backends.len() as u16;
    for slot in [0, 1, 2] {
        let mut ids: Vec<abi::BackendId> =
            (0..service.ring_size as u16).map(|i| first + 2 * (slot % 2) + i % 2).collect();
        // Where the backends are hard to reach, some slots have none.
        if deployment == 1 {
            ids[..3].fill(abi::NO_BACKEND);
        }
        let at = service.ring_base + u32::from(slot) * service.ring_stride;
        for (place, element) in (at as usize..).zip(ring::pack(&ids)) {
            host.tables.rings[place].store(element, SeqCst);
        }
    }
    for (id, (at, port)) in (first..).zip(backends) {
        let environment = u8::from(id - first > 1);
        let address = over(mode, usize::from(id - first), version)(at);
        let (tunnel, tunnel_bits) = TUNNELS[usize::from(!address.is_v4())];
        host.tables.backends.push(Backend {
            address,
            port: port.to_be_bytes(),
            service: number,
            environment,
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            tunnel,
            tunnel_bits,
            rest: [0; 15],
        });
        // Replies that do not come this way are nobody's.
        if mode != mode::NAT {
            continue;
        }
        let endpoint = Endpoint {
            address,
            vip: service.vip,
            port: port.to_be_bytes(),
            vip_port: service.port,
            protocol: TCP,
            state: entry::USED,
            backend: id,
            service: number,
            deployment,
            environment,
            excludes: u8::from(service.port == 8081_u16.to_be_bytes()),
            ..host.endpoints[0]
        };
        // Some are in a ring twice.
        if !backends[..usize::from(id - first)].contains(&(at, port)) {
            host.add_endpoint(endpoint);
            if datagrams {
                host.add_endpoint(Endpoint { protocol: UDP, ..endpoint });
            }
        }
    }
}

fn address(octets: [u8; 4]) -> Address {
    Address::v4(octets)
}

/// The address that stands beside one of IPv4.
fn over_v6([a, b, c, d]: [u8; 4]) -> Address {
    Address([0x20, 1, 0xd, 0xb8, a, b, 0, 0, 0, 0, 0, 0, 0, 0, c, d])
}

/// A prefix, with its length in bits of a mapped address.
fn prefix(version: Over, prefix: [u8; 4], length: u32) -> (Address, u32) {
    (version(prefix), 96 + length)
}
