//! The races that the pin table is about, run as often as it takes: two processors send packets of one flow at
//! the same moment, and the agent frees the pins that packets are just using. Never two pins for one flow, every
//! packet of a connection to one backend, no bit of the SYN memory lost.

mod free;
mod meet;

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use anyhow::{Result, ensure};
use aya::programs::Xdp;
use bg_common::abi::{BackendId, Service};
use bg_common::clear::{Lifetimes, Pins};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::flow::Flow;
use bg_common::meta::Meta;
use bg_common::pin::{Hold, Pin};
use bg_common::ring;
use bg_common::tables::Tables as _;
use bg_userspace::datapath::{Grace, Maps};

use super::connection::destination;
use super::kernel::Kernel;
use super::node;
use super::world::{self, BACKENDS, Device, SERVICES};
use crate::lab::namespace::Namespace;
use crate::packets::craft::flags::ACK;
use crate::packets::craft::{Mac, Segment};
use crate::packets::rig::run_once;
use crate::packets::{Action, rig};

/// How long pins live, seconds, and how old those are made that shall be freed.
const LIFETIMES: Lifetimes = Lifetimes { half: 128, idle: 7200 };
const OLD: u32 = 9000;
/// The service whose connections are opened, and one that only fills its SYN memory.
const PINNED: u16 = 0;
const REMEMBERED: u16 = 2;
const NEIGHBOUR: Mac = [2, 0, 0, 0, 9, 9];

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Rounds in which packets met packets, and in which they met the agent.
    pub rounds: u64,
    /// SYNs that did not get the lock of their flow in time, and were sent again.
    pub busy: u64,
    /// Pins that the agent freed, of both kinds of rounds.
    pub freed: [u64; 2],
    /// Old pins that a packet found before the agent gave them up.
    pub revived: u64,
    /// SYNs that found a pin which was given up, and went to base.
    pub late: u64,
    /// Agents that were killed while they freed.
    pub killed: u64,
}

/// Runs so many rounds of every kind over `object`.
///
/// # Errors
/// What a round found that must not be.
pub fn stress(
    role: &str,
    loader: &mut aya::EbpfLoader<'_>,
    object: &[u8],
    seed: u64,
    rounds: u64,
) -> Result<Seen> {
    ensure!(std::thread::available_parallelism()?.get() > 1, "two processors need two processors");
    let mut sums = Seen { rounds, ..Seen::default() };
    on(role, loader, object, meet::BUCKETS, |node, namespace| {
        meet::rounds(node, namespace, seed, rounds, &mut sums)
    })?;
    on(role, loader, object, free::BUCKETS, |node, namespace| {
        free::rounds(node, namespace, seed, rounds, &mut sums)
    })?;
    Ok(sums)
}

/// A node of its own, with so many buckets of pins, draining from blue to green.
fn on(
    role: &str,
    loader: &mut aya::EbpfLoader<'_>,
    object: &[u8],
    buckets: u32,
    act: impl FnOnce(&Node<'_>, &Namespace) -> Result<()>,
) -> Result<()> {
    let namespace = Namespace::create(role)?;
    world::build(&namespace)?;
    let mut kernel = namespace.inside(|| {
        let mut kernel = Kernel::load(loader, object, &node::limits(buckets), &namespace)?;
        kernel.fill(&node::host(kernel.devices, buckets))?;
        anyhow::Ok(kernel)
    })??;
    let devices = kernel.devices;
    let (program, maps, grace) = kernel.parts();
    let node = Node {
        program,
        maps,
        grace: Mutex::new(grace),
        devices,
        services: (0..SERVICES.len() as u16).map(|id| Some(node::entry_of(id))).collect(),
    };
    node.store(Environment::Blue, Environment::Green);
    act(&node, &namespace)?;
    node.whole()
}

/// The node, for all threads.
struct Node<'k> {
    program: &'k Xdp,
    maps: &'k Maps,
    /// Whoever has it is the agent.
    grace: Mutex<&'k mut Grace>,
    devices: [u32; 3],
    services: Vec<Option<Service>>,
}

impl Node<'_> {
    /// A drain. Nobody sends anything meanwhile, or there would have to be a grace period.
    fn store(&self, base: Environment, current: Environment) {
        let ring = |environment| Ring { slot: environment as u8, environment };
        let word = Control::new(Phase::Drain, ring(base), ring(current), 0, 7);
        self.maps.control.get(0).expect("a control word").store(word.0, SeqCst);
    }

    /// Lets a segment arrive; says where it was sent to, `None` if it was dropped.
    fn send(&self, segment: &Segment) -> Option<SocketAddr> {
        let device =
            Device::ALL.into_iter().find(|device| device.mac() == segment.to).expect("a device's address");
        let received: rig::Received = run_once(self.program, self.devices[device as usize], &segment.bytes());
        (received.action != Action::Drop).then(|| destination(segment, &received.bytes))
    }

    fn agent(&self) -> Pins<'_, Maps> {
        Pins::new(self.maps, &self.services)
    }

    /// The pins of a flow: half and established.
    fn pins(&self, flow: &Flow) -> Vec<[Option<(u32, BackendId)>; 2]> {
        let hold = |hold: Option<Hold>| hold.map(|hold| (hold.isn(), hold.backend()));
        self.places(flow).map(|pin| [hold(pin.half()), hold(pin.established())]).collect()
    }

    /// The pins that carry a flow's tag.
    fn places(&self, flow: &Flow) -> impl Iterator<Item = &Pin<AtomicU64>> {
        let buckets = flow.buckets(self.maps.node().pin_mask);
        let pins = buckets.into_iter().filter_map(|bucket| self.maps.pins.get(bucket as usize)).flatten();
        let tag = flow.tag;
        pins.filter(move |pin| pin.tag.load(SeqCst) == tag)
    }

    /// Makes the pins of a flow so old that they are over.
    fn age(&self, flow: &Flow) {
        let old = self.maps.seconds().wrapping_sub(OLD);
        for pin in self.places(flow) {
            let meta = Meta(pin.meta.load(SeqCst));
            pin.meta.store(Meta::new(old, meta.service(), meta.place()).0, SeqCst);
        }
    }

    /// No two pins have one tag, and nobody holds a lock.
    fn whole(&self) -> Result<()> {
        let mut tags: Vec<u64> =
            self.maps.pins.iter().flatten().map(|pin| pin.tag.load(SeqCst)).filter(|tag| *tag != 0).collect();
        tags.sort_unstable();
        ensure!(tags.windows(2).all(|pair| pair[0] != pair[1]), "two pins for one flow");
        ensure!(self.maps.locks.iter().all(|lock| lock.load(SeqCst) == 0), "a lock is still held");
        Ok(())
    }

    /// The flow with this number, and where it belongs.
    fn case(&self, number: u32, service: u16) -> Case {
        let client: IpAddr = [198, 51, 100, 1 + (number % 40) as u8].into();
        let client = SocketAddr::new(client, 1024 + (number / 40 % 60_000) as u16);
        let IpAddr::V4(address) = client.ip() else { unreachable!("made of four bytes") };
        let key = &self.maps.node().key;
        let flow = Flow::v4(key, address.octets(), client.port().to_be_bytes(), service);
        let entry = node::entry_of(service);
        let slot = ring::slot(flow.hash, entry.ring_size);
        let backend = ring::backend(self.maps, &entry, Environment::Green as u8, slot);
        Case { client, service, flow, backend: backend.unwrap_or_default() }
    }
}

/// One flow and where it belongs.
struct Case {
    client: SocketAddr,
    service: u16,
    flow: Flow,
    /// Its backend by the green ring.
    backend: BackendId,
}

impl Case {
    /// Where its backend is.
    fn at(&self) -> SocketAddr {
        BACKENDS[usize::from(self.backend)].at
    }

    /// The client's segment.
    fn segment(&self, flags: u8, sequence: u32) -> Segment {
        Segment {
            to: Device::Wan.mac(),
            from: NEIGHBOUR,
            source: self.client,
            destination: SERVICES[usize::from(self.service)].at,
            sequence,
            ..Segment::to_service(flags)
        }
    }

    /// The backend's acknowledgement.
    fn reply(&self, acknowledgement: u32) -> Segment {
        Segment {
            to: Device::Lan.mac(),
            from: NEIGHBOUR,
            source: self.at(),
            destination: self.client,
            acknowledgement,
            ..Segment::to_service(ACK)
        }
    }
}
