//! The node of these tests over IPv6, and segments for it in any shape, built whole: what the path changes
//! step by step is computed here over all of the bytes.

use std::vec::Vec;

use bg_common::abi::{Address, Backend, Endpoint, NO_BACKEND, Service, entry, other_ports};
use bg_common::ring;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::SeqCst;

use super::{BACKEND_MAC, CLIENT_MAC, LAN, LAN_MAC, WAN, WAN_MAC, hop, recomputed};
use crate::host::Host;

pub(super) const CLIENT: [u8; 16] = address(9, 7);
pub(super) const VIP: [u8; 16] = address(0x203, 10);
pub(super) const BACKENDS: [[u8; 16]; 4] = [address(1, 1), address(1, 2), address(2, 1), address(2, 2)];
pub(super) const PORT: u16 = 443;
pub(super) const BACKEND_PORT: u16 = 8080;
/// The service's number, and its first backend's.
const SERVICE: u16 = 1;
const FIRST: u16 = 4;

pub(super) const TCP: u8 = 6;
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const DESTINATION: u8 = 60;

const fn address(subnet: u16, host: u8) -> [u8; 16] {
    let [a, b] = subnet.to_be_bytes();
    [0x20, 1, 0x0d, 0xb8, a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]
}

/// Adds a service of deployment 0, whose rings are those of the first one with other backends in them.
pub(super) fn add(host: &mut Host) {
    let service = Service { vip: Address(VIP), id: SERVICE, deployment: 0, ..host.tables.service(SERVICE) };
    host.add_service(service);
    host.add_service(Service { port: [0; 2], protocol: 0, other_ports: other_ports::DROP, ..service });
    for slot in 0..3 {
        let ids: Vec<u16> = (0..service.ring_size)
            .map(|i| ring::backend(&host.tables, &service, slot, i).unwrap_or(NO_BACKEND) + FIRST)
            .collect();
        for (i, element) in ring::pack(&ids).enumerate() {
            let at = (service.ring_base + u32::from(slot) * service.ring_stride) as usize + i;
            host.tables.rings[at].store(element, SeqCst);
        }
    }
    for (id, address) in (FIRST..).zip(BACKENDS) {
        let environment = u8::from(id > FIRST + 1);
        host.tables.backends.push(Backend {
            address: Address(address),
            port: BACKEND_PORT.to_be_bytes(),
            service: SERVICE,
            environment,
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            tunnel: Address::default(),
            tunnel_bits: 0,
            rest: [0; 15],
        });
        host.add_endpoint(Endpoint {
            address: Address(address),
            vip: Address(VIP),
            port: BACKEND_PORT.to_be_bytes(),
            vip_port: PORT.to_be_bytes(),
            protocol: TCP,
            state: entry::USED,
            backend: id,
            service: SERVICE,
            deployment: 0,
            environment,
            excludes: 0,
            views: 0,
            pad: [0; 5],
            others: Default::default(),
        });
    }
    route(host, 1500);
}

/// Lets the ways to everybody take packets of so many bytes.
pub(super) fn route(host: &mut Host, mtu: u32) {
    let with = |answer| match answer {
        crate::kernel::Answer::Hop(hop) => crate::kernel::Answer::Hop(crate::kernel::Hop { mtu, ..hop }),
        other => other,
    };
    for backend in BACKENDS {
        host.add_route(Address(backend), 128, with(hop(LAN, LAN_MAC, BACKEND_MAC)));
    }
    // Clients have any address of this network.
    host.add_route(Address(CLIENT), 64, with(hop(WAN, WAN_MAC, CLIENT_MAC)));
}

/// An extension header: its number, and its bytes, of which the first will be the next one's number.
#[derive(Clone, Debug)]
pub(super) struct Extension(pub(super) u8, pub(super) Vec<u8>);

/// An address and a port.
pub(super) type End = ([u8; 16], u16);

/// A TCP segment over IPv6.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) to: [u8; 6],
    pub(super) from: [u8; 6],
    /// Traffic class and flow label, 28 bits.
    pub(super) label: u32,
    pub(super) hops: u8,
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) chain: Vec<Extension>,
    pub(super) flags: u8,
    /// Words of TCP options.
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// Follows the packet, and is not part of it.
    pub(super) padding: Vec<u8>,
}

impl Segment {
    /// A client's segment to the service.
    pub(super) fn to_service(flags: u8) -> Self {
        Self {
            to: WAN_MAC,
            from: CLIENT_MAC,
            label: 0,
            hops: 64,
            source: (CLIENT, 40_000),
            destination: (VIP, PORT),
            chain: Vec::new(),
            flags,
            options: Vec::new(),
            payload: Vec::new(),
            padding: Vec::new(),
        }
    }

    /// A segment of a backend to the client.
    pub(super) fn from_backend(backend: usize, flags: u8) -> Self {
        let (source, destination) = ((BACKENDS[backend], BACKEND_PORT), (CLIENT, 40_000));
        Self { to: LAN_MAC, from: BACKEND_MAC, source, destination, ..Self::to_service(flags) }
    }

    /// The segment as it leaves towards a backend.
    pub(super) fn forwarded(&self, backend: [u8; 16]) -> Self {
        let (to, from, hops) = (BACKEND_MAC, LAN_MAC, self.hops - 1);
        Self { to, from, hops, destination: (backend, BACKEND_PORT), ..self.clone() }
    }

    /// The segment of a backend as it leaves towards the client.
    pub(super) fn returned(&self) -> Self {
        let (to, from, hops) = (CLIENT_MAC, WAN_MAC, self.hops - 1);
        Self { to, from, hops, source: (VIP, PORT), ..self.clone() }
    }

    /// Bytes of extension headers.
    pub(super) fn chained(&self) -> usize {
        self.chain.iter().map(|extension| extension.1.len()).sum()
    }

    /// Bytes from the IPv6 header to the end of the segment.
    pub(super) fn total(&self) -> usize {
        40 + self.chained() + 20 + self.options.len() + self.payload.len()
    }

    /// All of its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.to, self.from].concat();
        bytes.extend([0x86, 0xdd]);
        bytes.extend((6 << 28 | self.label).to_be_bytes());
        bytes.extend((self.total() as u16 - 40).to_be_bytes());
        let kinds: Vec<u8> = self.chain.iter().map(|extension| extension.0).chain([TCP]).collect();
        bytes.extend([kinds[0], self.hops]);
        bytes.extend([self.source.0, self.destination.0].concat());
        for (Extension(_, header), next) in self.chain.iter().zip(&kinds[1..]) {
            bytes.push(*next);
            bytes.extend(&header[1..]);
        }
        bytes.extend(self.tcp());
        bytes.extend(&self.padding);
        bytes
    }

    fn tcp(&self) -> Vec<u8> {
        let mut tcp = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        tcp.extend([0, 0, 0, 1, 0, 0, 0, 2, (5 + self.options.len() as u8 / 4) << 4, self.flags]);
        tcp.extend([0x72, 0x10, 0, 0, 0, 0]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let checksum = recomputed(&covered(&self.source.0, &self.destination.0, TCP, &tcp));
        tcp[16..18].copy_from_slice(&checksum);
        tcp
    }
}

/// What a checksum covers: the pseudo-header (RFC 8200, 8.1), and the bytes.
pub(super) fn covered(source: &[u8], destination: &[u8], protocol: u8, bytes: &[u8]) -> Vec<u8> {
    let mut covered = [source, destination].concat();
    covered.extend((bytes.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, protocol]);
    covered.extend(bytes);
    covered
}

/// A fragment's header; its offset in units of eight bytes.
pub(super) fn fragment(offset: u16, more: bool, id: [u8; 4]) -> Extension {
    let mut bytes = std::vec![0, 0];
    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
    bytes.extend(id);
    Extension(FRAGMENT, bytes)
}

/// The most bytes of headers that are walked.
pub(super) const WALKED: usize = 2040;

/// The interface on which a segment arrives.
pub(super) fn interface(segment: &Segment) -> u32 {
    if segment.to == WAN_MAC { WAN } else { LAN }
}
