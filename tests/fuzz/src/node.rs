//! The node that cases are run on in plain memory, in the midst of its [`crate::world`].

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{
    self, Address, Backend, Endpoint, NO_BACKEND, Other, Service, affinity, entry, mode, other_ports, views,
};
use bg_common::{host, ring};
use bg_ebpf::host::Host;
use bg_ebpf::kernel::Answer;

use crate::world::{
    DEVICES, EXCLUDED, Entry, OWN, Over, SERVICES, TESTERS, TUNNELS, VERSIONS, VIEWED, WAYS, answer, mac,
    over, prefix,
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The node: deployments 0 and 1 are steady on blue, deployment 2 is not set up.
#[must_use]
pub fn host() -> Host {
    let numbers = preview(VERSIONS.len());
    let mut tables = host::Host::new(numbers, 4);
    tables.node.vip_policy = 1;
    tables.control[2].store(0, SeqCst);
    tables.backends.clear();
    // Small, because each case has a node of its own.
    (tables.node.recent_mask, tables.node.census_mask) = (63, 15);
    tables.recent.truncate(usize::from(numbers) * 2 * 64);
    tables.census.truncate(16);
    let mut host = Host::new(tables);
    for (at, version) in VERSIONS.into_iter().enumerate() {
        for service in &SERVICES {
            add(&mut host, service, version, preview(at));
        }
        for (network, length, what) in TESTERS {
            let (prefix, length) = prefix(version, network, length);
            host.tables.testers.push((0, prefix, length, what));
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

/// Number of the preview over a version of IP: they come after all services.
const fn preview(version: usize) -> u16 {
    (2 * SERVICES.len() + version) as u16
}

/// Adds a service, the policy of its VIP, and its backends.
fn add(host: &mut Host, entry: &Entry, version: Over, preview: u16) {
    let &(vip, port, deployment, mode, backends) = entry;
    let first = host.tables.backends.len() as u16;
    let number = first / backends.len() as u16;
    let viewed = port == VIEWED[0];
    let idle = host.tables.service(preview);
    let service = Service {
        vip: version(vip),
        port: port.to_be_bytes(),
        id: number,
        deployment,
        mode,
        views: if viewed { views::TESTERS } else { 0 },
        idle_base: if viewed { idle.ring_base } else { 0 },
        ..host.tables.service(number)
    };
    put_rings(host, &service, [0, 1], first);
    if viewed {
        put_rings(host, &idle, [1, 0], first);
    } else {
        let other_ports = if vip[3] == 11 { other_ports::DROP } else { other_ports::KERNEL };
        host.add_service(Service { port: [0; 2], protocol: 0, other_ports, ..service });
    }
    for (id, (at, port)) in (first..).zip(backends) {
        let address = over(mode, usize::from(id - first), version)(at);
        let (tunnel, tunnel_bits) = TUNNELS[usize::from(!address.is_v4())];
        host.tables.backends.push(Backend {
            address,
            port: port.to_be_bytes(),
            service: number,
            environment: u8::from(id - first > 1),
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            tunnel,
            tunnel_bits,
            rest: [0; 15],
        });
    }
    for protocol in [TCP, UDP].into_iter().take(if deployment == 0 { 2 } else { 1 }) {
        let affinity = if protocol == UDP && port == 443 { affinity::FLOW } else { 0 };
        let service = Service { protocol, affinity, ..service };
        host.add_service(service);
        let preview = Service {
            port: VIEWED[1].to_be_bytes(),
            id: idle.id,
            ring_base: idle.ring_base,
            idle_base: 0,
            views: views::PINNED,
            ..service
        };
        let preview = viewed.then(|| host.add_service(preview));
        // Replies of the others do not come this way: they are nobody's.
        if mode == mode::NAT {
            add_endpoints(host, &service, preview, first);
        }
    }
}

/// Fills the slots of a service's ring with the backends of its environments, in this order.
fn put_rings(host: &Host, service: &Service, environments: [u16; 2], first: u16) {
    for slot in 0..3_u8 {
        let first = first + 2 * environments[usize::from(slot) % 2];
        let mut ids: Vec<_> = (0..service.ring_size as u16).map(|i| first + i % 2).collect();
        // Where the backends are hard to reach, some slots have none.
        if service.deployment == 1 {
            ids[..3].fill(NO_BACKEND);
        }
        let at = service.ring_base + u32::from(slot) * service.ring_stride;
        for (place, element) in (at as usize..).zip(ring::pack(&ids)) {
            host.tables.rings[place].store(element, SeqCst);
        }
    }
}

/// Adds the endpoints of the backends from `first` on, which are a preview's too if it has one at this place.
fn add_endpoints(host: &mut Host, service: &Service, preview: Option<u16>, first: u16) {
    let mut known: Vec<(Address, [u8; 2])> = Vec::new();
    for id in first..host.tables.backends.len() as u16 {
        let Backend { address, port, environment, .. } = host.tables.backends[usize::from(id)];
        // Some are in a ring twice.
        if known.contains(&(address, port)) {
            continue;
        }
        known.push((address, port));
        let mut others = [Other::default(); abi::OTHERS];
        if let Some(preview) = preview {
            others[0] = Other { service: preview + 1, backend: id };
        }
        host.add_endpoint(Endpoint {
            address,
            vip: service.vip,
            port,
            vip_port: service.port,
            protocol: service.protocol,
            state: entry::USED,
            backend: id,
            service: service.id,
            deployment: service.deployment,
            environment,
            excludes: u8::from(preview.is_some()),
            views: service.views | if preview.is_some() { views::SHARED } else { 0 },
            pad: [0; 5],
            others,
        });
    }
}
