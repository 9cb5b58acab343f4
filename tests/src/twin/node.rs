//! The node in plain memory: the world as the packet path's tables hold it.

use std::array;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{self, Endpoint, Node, OTHERS, Other, entry, views};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::pin::{self, Pin};
use bg_common::{host, ring};
use bg_ebpf::host::{ENTRIES, Host};
use bg_ebpf::kernel::{Answer, Hop};
use bg_ebpf::packet::Macs;
use bg_userspace::config::Limits;

use super::world::{
    self, BACKENDS, DATAGRAMS, DEPLOYMENTS, Device, EXCLUDED, EXCLUDING, REMOVED, RING, SERVICES, TESTERS,
    VIEWED, VIPS, Way, ways,
};

/// Buckets of `PINS`: few, so that they get full.
pub(super) const BUCKETS: u32 = 16;
/// Buckets of `CENSUS`: likewise.
const CENSUS: u32 = 16;
/// Words of a filter of `RECENT`.
const RECENT: u32 = 128;
/// Rings of a service: three, and one that only a control word names which no agent would store. It leads nowhere;
/// backends of the next service could be of a version of IP that this one does not take.
const RINGS: u32 = 4;
/// `BACKENDS` has room for so many.
const ROOM: u32 = 64;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The limits that give the kernel's maps the same sizes.
pub(super) fn limits(buckets: u32) -> Limits {
    Limits {
        deployments: DEPLOYMENTS.into(),
        services: ENTRIES as u32 / 4,
        backends: ROOM,
        ring_entries: u32::from(numbers().end) * RINGS * RING as u32,
        pins: buckets * pin::PINS_PER_BUCKET as u32,
        census: CENSUS * 4,
        syn_memory: u64::from(RECENT) * 8,
    }
}

/// The world's node, with the devices' indices and so many buckets of pins; every service but the last one is
/// steady on blue.
pub(super) fn host(devices: [u32; 3], buckets: u32) -> Host {
    let mut host = Host::new(tables(buckets));
    // As many as the program has: who displaces whom is compared too.
    let none = host.next_hops[0].clone();
    host.next_hops.resize(abi::NEXT_HOPS as usize, none);
    for (id, service) in (0..).zip(SERVICES) {
        host.add_service(entry_of(id));
        for ring in 0..3 {
            put_ring(&host, id, ring, &service.rings[usize::from(ring) % 2]);
        }
        put_ring(&host, id, 3, &[abi::NO_BACKEND; RING]);
    }
    for (id, service) in (SERVICES.len() as u16..).zip(VIEWED) {
        host.add_service(entry_of(id));
        for ring in 0..3 {
            put_ring(&host, id, ring, &SERVICES[usize::from(service)].rings[usize::from(ring + 1) % 2]);
        }
        put_ring(&host, id, 3, &[abi::NO_BACKEND; RING]);
    }
    host.tables.testers = TESTERS
        .map(|(prefix, length, what)| (0, world::address(prefix), world::length(prefix, length), what))
        .to_vec();
    for (vip, drops) in VIPS {
        let policy = if drops { abi::other_ports::DROP } else { abi::other_ports::KERNEL };
        host.add_service(abi::Service {
            vip: world::address(vip),
            port: [0; 2],
            protocol: 0,
            other_ports: policy,
            ..entry_of(0)
        });
    }
    for (id, affinity) in DATAGRAMS {
        host.add_service(abi::Service { protocol: UDP, affinity, ..entry_of(id) });
    }
    for (id, backend) in (0..).zip(BACKENDS) {
        let service = SERVICES[usize::from(backend.service)];
        // Nobody knows the replies of those that answer clients themselves.
        if service.direct() {
            continue;
        }
        let endpoint = Endpoint {
            address: world::address(backend.at.ip()),
            vip: world::address(service.at.ip()),
            port: backend.at.port().to_be_bytes(),
            vip_port: service.at.port().to_be_bytes(),
            protocol: TCP,
            state: entry::USED,
            backend: id,
            service: backend.service,
            deployment: service.deployment,
            environment: backend.environment,
            excludes: u8::from(EXCLUDING.contains(&backend.service)),
            views: endpoint_views(backend.service),
            pad: [0; 5],
            others: others(&host, backend.service, id),
        };
        host.add_endpoint(endpoint);
        if DATAGRAMS.iter().any(|(service, _)| *service == backend.service) {
            host.add_endpoint(Endpoint { protocol: UDP, ..endpoint });
        }
    }
    let excluded = EXCLUDED.map(|(prefix, length)| (world::address(prefix), world::length(prefix, length)));
    host.excluded.extend(excluded);
    for (device, index) in Device::ALL.into_iter().zip(devices) {
        host.add_interface(index, device.mac());
    }
    for (prefix, length, way) in ways() {
        let answer = answer(way, devices);
        host.add_route(world::address(prefix), world::length(prefix, length), answer);
    }
    for deployment in 0..DEPLOYMENTS - 1 {
        let blue = Ring { slot: 0, environment: Environment::Blue };
        let word = Control::new(Phase::Steady, blue, blue, 0, 1);
        host.tables.control[usize::from(deployment)].store(word.0, SeqCst);
    }
    host
}

/// What the routing table answers for a way.
pub(super) fn answer(way: Way, devices: [u32; 3]) -> Answer {
    match way {
        Way::To(device, mac) | Way::By(device, _, mac) => Answer::Hop(Hop {
            interface: devices[device as usize],
            mtu: device.mtu(),
            macs: Macs::words(mac, device.mac()),
            gateway: matches!(way, Way::By(..)),
        }),
        Way::Silent => Answer::ByKernel,
        Way::Refused(_) => Answer::Nowhere,
        Way::Local => Answer::Local,
    }
}

/// Where in `RINGS` a service's ring is.
pub(super) fn ring_at(service: u16, slot: u8) -> usize {
    let stride = ring::elements(RING as u32) as usize;
    (usize::from(service) * RINGS as usize + usize::from(slot)) * stride
}

fn put_ring(host: &Host, service: u16, slot: u8, backends: &[abi::BackendId]) {
    for (i, element) in ring::pack(backends).enumerate() {
        host.tables.rings[ring_at(service, slot) + i].store(element, SeqCst);
    }
}

fn endpoint_views(service: u16) -> u8 {
    if VIEWED.contains(&service) { views::TESTERS | views::SHARED } else { 0 }
}

/// The preview that shares a backend's endpoint.
fn others(host: &Host, service: u16, backend: abi::BackendId) -> [Other; OTHERS] {
    let mut others = [Other::default(); OTHERS];
    if let Some(at) = VIEWED.iter().position(|viewed| *viewed == service) {
        let id = SERVICES.len() + at;
        let preview = |entry: &abi::Service| entry.state == entry::USED && usize::from(entry.id) == id;
        let place = host.services.iter().position(preview).expect("a preview was added");
        others[0] = Other { service: place as u16 + 1, backend };
    }
    others
}

/// Numbers of all services, previews included.
pub(super) fn numbers() -> std::ops::Range<u16> {
    0..(SERVICES.len() + VIEWED.len()) as u16
}

/// The entry of a service in `SERVICES`.
pub(super) fn entry_of(id: u16) -> abi::Service {
    if let Some(at) = usize::from(id).checked_sub(SERVICES.len()) {
        let of = entry_of(VIEWED[at]);
        return abi::Service {
            port: world::PREVIEW_PORT.to_be_bytes(),
            id,
            ring_base: of.idle_base,
            idle_base: 0,
            views: views::PINNED,
            ..of
        };
    }
    let viewed = VIEWED.iter().position(|viewed| *viewed == id);
    let idle = viewed.map(|at| ring_at((SERVICES.len() + at) as u16, 0) as u32);
    let service = SERVICES[usize::from(id)];
    let stride = ring::elements(RING as u32);
    abi::Service {
        vip: world::address(service.at.ip()),
        port: service.at.port().to_be_bytes(),
        protocol: TCP,
        state: entry::USED,
        id,
        deployment: service.deployment,
        ring_base: u32::from(id) * RINGS * stride,
        ring_stride: stride,
        ring_size: RING as u32,
        other_ports: abi::other_ports::KERNEL,
        affinity: 0,
        mode: service.mode,
        views: if idle.is_some() { views::TESTERS } else { 0 },
        pad: [0; 20],
        idle_base: idle.unwrap_or(0),
    }
}

fn tables(buckets: u32) -> host::Host {
    host::Host {
        node: Node {
            key: KEY,
            service_mask: 0,
            endpoint_mask: 0,
            pin_mask: buckets - 1,
            recent_mask: RECENT - 1,
            census_mask: CENSUS - 1,
            no_pins: 0,
            vip_policy: 1,
            pad: [0; 2],
            route_epoch: AtomicU64::new(1),
        },
        control: zeros(DEPLOYMENTS.into()),
        deployments: (0..DEPLOYMENTS).map(|_| line()).collect(),
        rings: zeros(ring_at(numbers().end, 0)),
        backends: (0..ROOM as u16).map(backend).collect(),
        pins: (0..buckets).map(|_| array::from_fn(|_| Pin::default())).collect(),
        locks: zeros(pin::LOCKS as usize),
        recent: zeros(usize::from(DEPLOYMENTS) * 2 * RECENT as usize),
        census: (0..CENSUS).map(|_| line()).collect(),
        services: Vec::new(),
        testers: Vec::new(),
        nanoseconds: AtomicU64::new(0),
        mode: abi::mode::NAT,
    }
}

/// The node's secret.
const KEY: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn line() -> [AtomicU64; 8] {
    array::from_fn(|_| AtomicU64::new(0))
}

/// The entry of a backend in `BACKENDS`; an empty one where there is none.
fn backend(id: abi::BackendId) -> abi::Backend {
    let known = BACKENDS.get(usize::from(id)).filter(|_| !REMOVED.contains(&id));
    let carried = known.filter(|backend| SERVICES[usize::from(backend.service)].mode == abi::mode::IPIP);
    let (tunnel, tunnel_bits) = carried.map_or((abi::Address::default(), 0), |backend| {
        let (tunnel, bits) = world::tunnel(backend.at.ip());
        (world::address(tunnel), bits)
    });
    abi::Backend {
        address: known.map_or(abi::Address([0; 16]), |backend| world::address(backend.at.ip())),
        port: known.map_or(0, |backend| backend.at.port()).to_be_bytes(),
        service: known.map_or(0, |backend| backend.service),
        environment: known.map_or(0, |backend| backend.environment),
        state: if known.is_some() { entry::USED } else { entry::EMPTY },
        pad: [0; 2],
        dead: AtomicU64::new(0),
        tunnel,
        tunnel_bits,
        rest: [0; 15],
    }
}
