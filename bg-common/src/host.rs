//! The tables in plain memory, for running the rule outside the kernel: unit tests, properties, the
//! model checker, and the twin that is compared with the kernel program.

use core::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

use crate::abi::{self, Address, Backend, BackendId, Endpoint, NO_BACKEND, Node, Service, tester};
use crate::control::{Control, Environment, Phase, Ring};
use crate::flow::Flow;
use crate::pin::{Bucket, Pin};
use crate::service::Directory;
use crate::tables::{Line, Tables};
use crate::{census, ring};

/// The tables of a small node.
#[derive(Debug)]
pub struct Host {
    /// `NODE`.
    pub node: Node,
    /// `CONTROL`.
    pub control: Vec<AtomicU64>,
    /// `DEPLOYMENTS`.
    pub deployments: Vec<Line<AtomicU64>>,
    /// `RINGS`.
    pub rings: Vec<AtomicU64>,
    /// `BACKENDS`.
    pub backends: Vec<Backend>,
    /// `PINS`.
    pub pins: Vec<Bucket<AtomicU64>>,
    /// `PIN_LOCKS`.
    pub locks: Vec<AtomicU64>,
    /// `RECENT`.
    pub recent: Vec<AtomicU64>,
    /// `CENSUS`.
    pub census: Vec<Line<AtomicU64>>,
    /// `SERVICES`, where a test needs any.
    pub services: Vec<Service>,
    /// `TESTERS`: deployment, prefix with its length in bits of a mapped address, and what it is.
    pub testers: Vec<(u16, Address, u32, u8)>,
    /// The clock.
    pub nanoseconds: AtomicU64,
    /// How packets reach the backends of its services: one of [`abi::mode`].
    pub mode: u8,
}

/// Ring slots of [`Host`]'s services.
pub const RING_SIZE: u32 = 16;

impl Host {
    /// A node with `deployments` deployments of one service each, two blue backends (0 and 1) and two
    /// green ones (2 and 3) that all share, rings 0 blue, 1 green, 2 blue, and room for `buckets` buckets
    /// of pins (0: no pins at all). All deployments are steady on blue.
    #[must_use]
    pub fn new(deployments: u16, buckets: u32) -> Self {
        let words = 1024;
        let host = Self {
            node: Node {
                key: [
                    0x243f_6a88_85a3_08d3,
                    0x1319_8a2e_0370_7344,
                    0xa409_3822_299f_31d0,
                    0x082e_fa98_ec4e_6c89,
                ],
                service_mask: 0,
                endpoint_mask: 0,
                pin_mask: buckets.max(1) - 1,
                recent_mask: words - 1,
                census_mask: 255,
                no_pins: u8::from(buckets == 0),
                vip_policy: 0,
                pad: [0; 2],
                route_epoch: AtomicU64::new(0),
            },
            control: zeroed(deployments.into()),
            deployments: (0..deployments).map(|_| Default::default()).collect(),
            rings: zeroed(usize::from(deployments) * 3 * ring::elements(RING_SIZE) as usize),
            backends: (0..4).map(backend).collect(),
            pins: (0..buckets.max(1)).map(|_| core::array::from_fn(|_| Pin::default())).collect(),
            locks: zeroed(crate::pin::LOCKS as usize),
            recent: zeroed(usize::from(deployments) * 2 * words as usize),
            census: (0..256).map(|_| Default::default()).collect(),
            services: Vec::new(),
            testers: Vec::new(),
            nanoseconds: AtomicU64::new(1 << 40),
            mode: abi::mode::NAT,
        };
        for deployment in 0..deployments {
            let service = host.service(deployment);
            for (slot, first) in [(0, 0), (1, 2), (2, 0)] {
                let ids: Vec<BackendId> = (0..RING_SIZE as u16).map(|i| first + i % 2).collect();
                for (i, element) in ring::pack(&ids).enumerate() {
                    host.rings[(service.ring_base + slot * service.ring_stride) as usize + i]
                        .store(element, SeqCst);
                }
            }
            host.set(deployment, Phase::Steady, (0, Environment::Blue), (0, Environment::Blue));
        }
        host
    }

    /// The service of a deployment.
    #[must_use]
    pub fn service(&self, deployment: u16) -> Service {
        let stride = ring::elements(RING_SIZE);
        Service {
            vip: abi::Address::v4([203, 0, 113, 10]),
            port: 443_u16.to_be_bytes(),
            protocol: 6,
            state: abi::entry::USED,
            id: deployment,
            deployment,
            ring_base: u32::from(deployment) * 3 * stride,
            ring_stride: stride,
            ring_size: RING_SIZE,
            other_ports: abi::other_ports::KERNEL,
            affinity: 0,
            mode: self.mode,
            views: 0,
            pad: [0; 20],
            idle_base: 0,
        }
    }

    /// Stores a control word with the next epoch.
    pub fn set(&self, deployment: u16, phase: Phase, base: (u8, Environment), current: (u8, Environment)) {
        let cell = &self.control[usize::from(deployment)];
        let epoch = Control(cell.load(SeqCst)).epoch().wrapping_add(1);
        let expiry = self.ticks() + crate::control::SEAL_TICKS;
        let ring = |(slot, environment)| Ring { slot, environment };
        cell.store(Control::new(phase, ring(base), ring(current), expiry, epoch).0, SeqCst);
    }

    /// A client's flow to the service of deployment 0, by number.
    #[must_use]
    pub fn flow(&self, number: u16) -> Flow {
        Flow::v4(&self.node.key, [192, 0, 2, 7], number.to_be_bytes(), 0)
    }

    /// Lets time pass.
    pub fn wait(&self, seconds: u64) {
        self.nanoseconds.fetch_add(seconds << 30, SeqCst);
    }

    /// Every flow in the census.
    pub fn census_flows(&self) -> impl Iterator<Item = census::Seen> + '_ {
        self.census.iter().flat_map(|line| census::flows(line))
    }

    /// Every pin in use.
    pub fn used_pins(&self) -> impl Iterator<Item = &Pin<AtomicU64>> {
        self.pins.iter().flatten().filter(|pin| pin.tag.load(SeqCst) != 0)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new(2, 64)
    }
}

fn zeroed(n: usize) -> Vec<AtomicU64> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

fn backend(id: u16) -> Backend {
    Backend {
        address: abi::Address::v4([10, 0, 1 + (id / 2) as u8, 1 + (id % 2) as u8]),
        port: 8080_u16.to_be_bytes(),
        service: 0,
        environment: (id / 2) as u8,
        state: abi::entry::USED,
        pad: [0; 2],
        dead: AtomicU64::new(0),
        tunnel: abi::Address::default(),
        tunnel_bits: 0,
        rest: [0; 15],
    }
}

impl Directory for Host {
    fn service(&self, index: u32) -> Option<&Service> {
        self.services.get(index as usize)
    }

    fn endpoint(&self, _: u32) -> Option<&Endpoint> {
        None
    }
}

impl Tables for Host {
    type Word = AtomicU64;

    fn node(&self) -> &Node {
        &self.node
    }

    fn control(&self, deployment: u16) -> Control {
        Control(self.control.get(usize::from(deployment)).map_or(0, |word| word.load(SeqCst)))
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<AtomicU64>> {
        self.deployments.get(usize::from(deployment))
    }

    fn ring(&self, element: u32) -> Option<u64> {
        self.rings.get(element as usize).map(|word| word.load(SeqCst))
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        if id == NO_BACKEND { None } else { self.backends.get(usize::from(id)) }
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<AtomicU64>> {
        self.pins.get(bucket as usize)
    }

    fn pin_lock(&self, index: u32) -> Option<&AtomicU64> {
        self.locks.get(index as usize)
    }

    fn recent(&self, index: u32) -> Option<&AtomicU64> {
        self.recent.get(index as usize)
    }

    fn census(&self, bucket: u32) -> Option<&Line<AtomicU64>> {
        self.census.get(bucket as usize)
    }

    fn tester(&self, deployment: u16, client: &Address) -> u8 {
        let bits = |address: &Address| u128::from_be_bytes(address.0);
        let has = |(of, prefix, length, _): &&(u16, Address, u32, u8)| {
            *of == deployment && (bits(prefix) ^ bits(client)).leading_zeros() >= *length
        };
        let longest = self.testers.iter().filter(has).max_by_key(|prefix| prefix.2);
        longest.map_or(tester::NEVER, |prefix| prefix.3)
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(SeqCst)
    }
}
