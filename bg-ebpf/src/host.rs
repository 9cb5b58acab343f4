//! The kernel's part in plain memory: the packet path runs over it in unit and property tests, and in the
//! comparison with the program in the kernel.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::vec::Vec;

use bg_common::abi::{
    Address, Backend, BackendCounter, BackendId, Counter, Endpoint, FragmentKey, Fragmented,
    INTERFACE_PROBES, INTERFACES, Interface, NextHop, Node, OTHERS, Other, REASON_COUNTERS, Service, entry,
};
use bg_common::control::Control;
use bg_common::pin::Bucket;
use bg_common::reason::Reason;
use bg_common::service::{Directory, PROBES, place};
use bg_common::stage::Stage;
use bg_common::tables::{Line, Tables};

use crate::kernel::{Answer, Kernel, Note, Query, Spent, Version};
use crate::packet::{Frame, Packet};
use crate::verdict::Action;
use crate::{answer, encap, fragment, icmp, path, refuse};

/// A node in plain memory.
#[derive(Debug)]
pub struct Host {
    /// The tables of the rule.
    pub tables: bg_common::host::Host,
    /// `SERVICES`.
    pub services: Vec<Service>,
    /// `ENDPOINTS`.
    pub endpoints: Vec<Endpoint>,
    /// `INTERFACES`.
    pub interfaces: Vec<Interface>,
    /// `NEXTHOP`.
    pub next_hops: Vec<Cell<NextHop>>,
    /// `COUNTERS`.
    pub counters: Vec<Cell<Counter>>,
    /// `BACKEND_COUNTERS`.
    pub backend_counters: Vec<Cell<BackendCounter>>,
    /// `EXCLUDED`: prefixes with their lengths, in bits of a mapped address.
    pub excluded: Vec<(Address, u32)>,
    /// The routing table: prefixes as above and its answers; [`Host::add_route`] adds to it.
    pub routes: Vec<(Address, u32, Answer)>,
    /// What it was asked.
    pub queries: RefCell<Vec<Query>>,
    /// The timer tick.
    pub jiffies: Cell<u32>,
    /// `FRAGMENTS`, without an end.
    pub fragments: RefCell<HashMap<FragmentKey, Fragmented>>,
    /// `ANSWERS`.
    pub answers: [Cell<Spent>; 2],
    note: Cell<Note>,
}

/// Entries of `SERVICES` and `ENDPOINTS`.
pub const ENTRIES: usize = 64;
/// Services that are counted.
const SERVICES: usize = 16;
/// Next hops, a power of two: fewer than the program has, because many a case has a host of its own.
const HOPS: usize = 1024;

impl Host {
    /// Over the tables of a rule, without services, endpoints, interfaces and routes.
    #[must_use]
    pub fn new(mut tables: bg_common::host::Host) -> Self {
        tables.node.service_mask = ENTRIES as u32 - 1;
        tables.node.endpoint_mask = ENTRIES as u32 - 1;
        Self {
            tables,
            services: std::vec![NO_SERVICE; ENTRIES],
            endpoints: std::vec![NO_ENDPOINT; ENTRIES],
            interfaces: std::vec![NO_INTERFACE; INTERFACES as usize],
            next_hops: std::vec![Cell::new(NO_HOP); HOPS],
            counters: std::vec![Cell::default(); REASON_COUNTERS as usize + 2 * SERVICES],
            backend_counters: std::vec![Cell::default(); ENTRIES],
            excluded: Vec::new(),
            routes: Vec::new(),
            queries: RefCell::default(),
            jiffies: Cell::new(u32::MAX - 10),
            fragments: RefCell::default(),
            answers: Default::default(),
            note: Cell::default(),
        }
    }

    /// Adds a service, or with port 0 the policy of a VIP. Where it stands among the services is returned.
    ///
    /// # Panics
    /// When there is no room near its place.
    pub fn add_service(&mut self, service: Service) -> u16 {
        let start = place(&service.vip, service.port, service.protocol);
        let free = free(start, |i| self.services[i].state == entry::USED);
        self.services[free] = service;
        free as u16
    }

    /// Adds an endpoint.
    ///
    /// # Panics
    /// When there is no room near its place.
    pub fn add_endpoint(&mut self, endpoint: Endpoint) {
        let start = place(&endpoint.address, endpoint.port, endpoint.protocol);
        let free = free(start, |i| self.endpoints[i].state == entry::USED);
        self.endpoints[free] = endpoint;
    }

    /// Adds an interface.
    ///
    /// # Panics
    /// When there is no room near its place.
    pub fn add_interface(&mut self, index: u32, mac: [u8; 6]) {
        let mut near = (0..INTERFACE_PROBES).map(|probe| ((index + probe) % INTERFACES) as usize);
        let free = near.find(|&i| self.interfaces[i].index == 0).expect("room among the interfaces");
        self.interfaces[free] = Interface { index, mac, ..NO_INTERFACE };
    }

    /// Lets the routing table answer this for a prefix, its length in bits of a mapped address; the
    /// longest prefix counts. Without any it is `Answer::Nowhere`.
    pub fn add_route(&mut self, prefix: Address, length: u32, answer: Answer) {
        self.routes.retain(|route| (route.0, route.1) != (prefix, length));
        self.routes.push((prefix, length, answer));
        self.routes.sort_by_key(|route| core::cmp::Reverse(route.1));
    }

    /// Lets a packet go through all stages.
    pub fn receive(&self, packet: &mut impl Packet) -> Action {
        let mut action = path::run(self, packet);
        while let Action::Enter(stage) = action {
            action = match stage {
                Stage::V6 => path::run_v6(self, packet),
                Stage::Udp => path::run_udp(self, packet),
                Stage::Icmp => icmp::run(self, packet),
                Stage::Answer => answer::run(self, packet),
                Stage::Refuse => refuse::run(self, packet),
                Stage::Fragment => fragment::run(self, packet),
                Stage::FirstTcp => path::run_first_tcp(self, packet),
                Stage::FirstV6 => path::run_first_v6(self, packet),
                Stage::FirstUdp => path::run_first_udp(self, packet),
                Stage::Encap => encap::run(self, packet),
                Stage::Views => path::run_views(self, packet),
                Stage::ViewsV6 => path::run_views_v6(self, packet),
                Stage::ViewsUdp => path::run_views_udp(self, packet),
                Stage::ViewsBack => path::run_views_back(self, packet),
                Stage::ViewsUdpBack => path::run_views_udp_back(self, packet),
            };
        }
        action
    }

    /// How often a packet ended for a reason.
    #[must_use]
    pub fn counted(&self, reason: Reason) -> Counter {
        self.counters[reason as usize].get()
    }

    /// How often a backend was sent a SYN, and answered one.
    #[must_use]
    pub fn counted_of(&self, backend: BackendId) -> BackendCounter {
        self.backend_counters[usize::from(backend)].get()
    }
}

/// The first free place near `start`.
fn free(start: u32, used: impl Fn(usize) -> bool) -> usize {
    let near = (0..PROBES).map(|probe| start.wrapping_add(probe) as usize % ENTRIES);
    near.into_iter().find(|&i| !used(i)).expect("room in an open-addressed table")
}

/// A packet in a buffer with room in front, as a driver leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    interface: u32,
}

/// Room that XDP drivers leave in front of a packet, bytes.
const HEADROOM: usize = 256;

impl Buffer {
    /// A packet that arrived on `interface`.
    #[must_use]
    pub fn new(packet: &[u8], interface: u32) -> Self {
        Self { bytes: [&[0; HEADROOM], packet].concat(), start: HEADROOM, interface }
    }

    /// The packet as it is now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Packet for Buffer {
    fn interface(&self) -> u32 {
        self.interface
    }

    fn frame(&mut self) -> Frame<'_> {
        Frame::of(&mut self.bytes[self.start..])
    }

    fn move_start(&mut self, by: i32) -> bool {
        let moved = self.start.checked_add_signed(by as isize).filter(|start| start + 14 <= self.bytes.len());
        self.start = moved.unwrap_or(self.start);
        moved.is_some()
    }

    fn move_end(&mut self, by: i32) -> bool {
        let Some(end) = self.bytes.len().checked_add_signed(by as isize) else { return false };
        let fits = end >= self.start + 14 && end <= HEADROOM + 4096;
        if fits {
            self.bytes.resize(end, 0);
        }
        fits
    }
}

impl Tables for Host {
    type Word = core::sync::atomic::AtomicU64;

    fn node(&self) -> &Node {
        self.tables.node()
    }

    fn control(&self, deployment: u16) -> Control {
        self.tables.control(deployment)
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<Self::Word>> {
        self.tables.deployment(deployment)
    }

    fn ring(&self, element: u32) -> Option<u64> {
        self.tables.ring(element)
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.tables.backend(id)
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<Self::Word>> {
        self.tables.pins(bucket)
    }

    fn pin_lock(&self, index: u32) -> Option<&Self::Word> {
        self.tables.pin_lock(index)
    }

    fn recent(&self, index: u32) -> Option<&Self::Word> {
        self.tables.recent(index)
    }

    fn census(&self, bucket: u32) -> Option<&Line<Self::Word>> {
        self.tables.census(bucket)
    }

    fn tester(&self, deployment: u16, client: &Address) -> u8 {
        self.tables.tester(deployment, client)
    }

    fn nanoseconds(&self) -> u64 {
        self.tables.nanoseconds()
    }
}

impl Directory for Host {
    fn service(&self, index: u32) -> Option<&Service> {
        self.services.get(index as usize)
    }

    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.endpoints.get(index as usize)
    }
}

impl Kernel for Host {
    fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get((index % INTERFACES) as usize)
    }

    fn next_hop(&self, index: u32) -> Option<&Cell<NextHop>> {
        self.next_hops.get(index as usize & (self.next_hops.len() - 1))
    }

    fn counter(&self, index: u32) -> Option<&Cell<Counter>> {
        self.counters.get(index as usize)
    }

    fn backend_counter(&self, backend: BackendId) -> Option<&Cell<BackendCounter>> {
        self.backend_counters.get(usize::from(backend))
    }

    fn note(&self) -> Option<&Cell<Note>> {
        Some(&self.note)
    }

    fn remember(&self, key: &FragmentKey, value: &Fragmented) {
        self.fragments.borrow_mut().insert(*key, *value);
    }

    fn recall(&self, key: &FragmentKey) -> Option<Fragmented> {
        self.fragments.borrow().get(key).copied()
    }

    fn answers(&self, index: u32) -> Option<&Cell<Spent>> {
        self.answers.get(index as usize)
    }

    fn excluded(&self, client: &Address) -> bool {
        self.excluded.iter().any(|(prefix, length)| covers(prefix, *length, client))
    }

    /// It has one buffer.
    fn length(&self, first: u64) -> u64 {
        first
    }

    fn jiffies(&self) -> u32 {
        self.jiffies.get()
    }

    fn route(&self, query: &Query) -> Answer {
        self.queries.borrow_mut().push(*query);
        if query.version == Version::V6 && (stays(&query.source) || stays(&query.destination)) {
            return Answer::Local;
        }
        self.routes
            .iter()
            .find(|(prefix, length, _)| covers(prefix, *length, &query.destination))
            .map_or(Answer::Nowhere, |route| route.2)
    }
}

/// Whether the kernel forwards nothing from or to an address of IPv6 (`rt6_need_strict`): it is multicast,
/// link-local or the loopback.
fn stays(address: &Address) -> bool {
    let [first, second, ..] = address.0;
    first == 0xff || first == 0xfe && second & 0xc0 == 0x80 || u128::from_be_bytes(address.0) == 1
}

/// Whether an address has a prefix of this length.
fn covers(prefix: &Address, length: u32, address: &Address) -> bool {
    let bits = |address: &Address| u128::from_be_bytes(address.0);
    (bits(prefix) ^ bits(address)).leading_zeros() >= length
}

const NOWHERE: Address = Address([0; 16]);

const NO_SERVICE: Service = Service {
    vip: NOWHERE,
    port: [0; 2],
    protocol: 0,
    state: entry::EMPTY,
    id: 0,
    deployment: 0,
    ring_base: 0,
    ring_stride: 0,
    ring_size: 0,
    other_ports: 0,
    affinity: 0,
    mode: 0,
    views: 0,
    pad: [0; 20],
    idle_base: 0,
};

const NO_ENDPOINT: Endpoint = Endpoint {
    address: NOWHERE,
    vip: NOWHERE,
    port: [0; 2],
    vip_port: [0; 2],
    protocol: 0,
    state: entry::EMPTY,
    backend: 0,
    service: 0,
    deployment: 0,
    environment: 0,
    excludes: 0,
    views: 0,
    pad: [0; 5],
    others: [Other { service: 0, backend: 0 }; OTHERS],
};

const NO_INTERFACE: Interface = Interface { index: 0, mac: [0; 6], accept_local_set: 0, pad: [0; 5] };

const NO_HOP: NextHop = NextHop {
    destination: NOWHERE,
    interface: 0,
    mtu: 0,
    epoch: 0,
    jiffies: 0,
    macs: [0; 3],
    gateway: 0,
    pad: [0; 16],
};
