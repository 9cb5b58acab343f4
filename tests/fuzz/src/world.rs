//! The node that cases are run on in plain memory: two deployments over both versions of IP, with backends near,
//! behind a narrow link, silent and without a route; clients of the same kinds. Addresses are those of the twin's
//! world in `bg-tests`, so that a case means the same there.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{self, Address, Backend, Endpoint, Service, affinity, entry, other_ports};
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

/// A service: VIP, port, deployment, backends of blue and then of green.
type Entry = ([u8; 4], u16, u16, [([u8; 4], u16); 4]);

/// Those of IPv4; the same follow over IPv6.
const SERVICES: [Entry; 4] = [
    (
        [203, 0, 113, 10],
        443,
        0,
        [([10, 0, 1, 1], 8080), ([10, 0, 1, 2], 8080), ([10, 0, 2, 1], 8080), ([10, 0, 2, 2], 8080)],
    ),
    (
        [203, 0, 113, 10],
        8081,
        0,
        [([10, 0, 1, 1], 8081), ([10, 0, 1, 1], 8081), ([10, 0, 2, 1], 8081), ([10, 0, 2, 1], 8081)],
    ),
    (
        [203, 0, 113, 11],
        443,
        1,
        [([10, 3, 0, 2], 8080), ([10, 0, 1, 9], 8080), ([192, 0, 2, 50], 80), ([10, 9, 9, 9], 80)],
    ),
    ([203, 0, 113, 13], 80, 2, [([10, 0, 1, 3], 8080); 4]),
];

/// A prefix with its length, and the way there.
type Way = ([u8; 4], u32, Option<(usize, [u8; 6])>);

/// Neighbours and routes of IPv4, and by which device with which hardware address; without a device, only the
/// kernel knows.
const WAYS: [Way; 13] = [
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
    for version in [address, over_v6] {
        for service in &SERVICES {
            add(&mut host, service, version);
        }
        for (prefix, length, way) in WAYS {
            let answer = way.map_or(Answer::ByKernel, |(device, mac)| {
                Answer::Hop(Hop {
                    interface: DEVICES[device],
                    mtu: MTUS[device],
                    gateway: false,
                    macs: Macs::words(mac, self::mac(device)),
                })
            });
            let (prefix, length) = self::prefix(version, prefix, length);
            host.add_route(prefix, length, answer);
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

fn add(host: &mut Host, &(vip, port, deployment, backends): &Entry, version: fn([u8; 4]) -> Address) {
    let number = (host.tables.backends.len() / backends.len()) as u16;
    let service = Service {
        vip: version(vip),
        port: port.to_be_bytes(),
        id: number,
        deployment,
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
        host.tables.backends.push(Backend {
            address: version(at),
            port: port.to_be_bytes(),
            service: number,
            environment,
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            tunnel: Address::default(),
            tunnel_bits: 0,
            rest: [0; 15],
        });
        let endpoint = Endpoint {
            address: version(at),
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
fn prefix(version: fn([u8; 4]) -> Address, prefix: [u8; 4], length: u32) -> (Address, u32) {
    (version(prefix), 96 + length)
}
