//! Two processors send packets of one flow at the same moment while the agent frees pins on whatever
//! processor is left: never two pins for one flow, every packet of a connection to one backend, no bit of the
//! SYN memory lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::Xdp;
use bg_common::abi::{BackendId, Service};
use bg_common::clear::{Agent, Lifetimes, Pins};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::flow::Flow;
use bg_common::meta::Meta;
use bg_common::pin::{Hold, Pin};
use bg_common::tables::Tables as _;
use bg_common::{recent, ring};
use bg_userspace::datapath::{self, Grace, Maps};

use super::connection::destination;
use super::kernel::Kernel;
use super::race::Course;
use super::random::Random;
use super::world::{self, BACKENDS, Device, SERVICES};
use super::{node, pair};
use crate::lab::namespace::Namespace;
use crate::packets::craft::flags::{ACK, SYN};
use crate::packets::craft::{Mac, Segment};
use crate::packets::rig::run_once;
use crate::packets::{Action, rig};

/// Buckets of `PINS`: room for the flows of some grace periods.
const BUCKETS: u32 = 1024;
/// Pins that wait to be freed; with more of them the rounds wait.
const WAITING: u64 = 2000;
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
    /// Rounds in which two packets met.
    pub rounds: u64,
    /// Pins that the agent freed meanwhile.
    pub freed: u64,
    /// Old pins that a SYN found before the agent did.
    pub revived: u64,
}

/// What the second processor does in a round.
enum Job {
    Send(Box<Segment>),
    Expire,
}

/// The node, for all threads.
struct Node<'k> {
    program: &'k Xdp,
    maps: &'k Maps,
    grace: Mutex<&'k mut Grace>,
    devices: [u32; 3],
    services: Vec<Option<Service>>,
    freed: AtomicU64,
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
    let namespace = Namespace::create(role)?;
    world::build(&namespace)?;
    let mut kernel = namespace.inside(|| {
        let mut kernel = Kernel::load(loader, object, &node::limits(BUCKETS), &namespace)?;
        kernel.fill(&node::host(kernel.devices, BUCKETS))?;
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
        freed: AtomicU64::new(0),
    };
    node.store(0, Phase::Drain, Environment::Green);
    let course = Course::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.inside(|| {
                pair::stay_on(1);
                course.follow(seed, |job| node.follow(job));
            })
        });
        scope.spawn(|| {
            while !over.load(SeqCst) {
                if node.expire() == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let result = namespace.inside(|| {
            pair::stay_on(0);
            let mut first =
                Leader { node: &node, course: &course, random: Random::new(seed), flows: 0, made: 0 };
            let met = (0..rounds).try_for_each(|_| first.meet());
            over.store(true, SeqCst);
            let revived = met.and_then(|()| first.revive_all(rounds));
            course.end();
            revived
        });
        let revived = result??;
        node.whole()?;
        Ok(Seen { rounds: 2 * rounds, freed: node.freed.load(SeqCst), revived })
    })
}

impl Node<'_> {
    fn store(&self, deployment: u16, phase: Phase, current: Environment) {
        let ring = |environment| Ring { slot: environment as u8, environment };
        let word = Control::new(phase, ring(Environment::Blue), ring(current), 0, 7);
        self.maps.control.get(deployment.into()).expect("a control word").store(word.0, SeqCst);
    }

    fn send(&self, segment: &Segment) -> rig::Received {
        let device =
            Device::ALL.into_iter().find(|device| device.mac() == segment.to).expect("a device's address");
        run_once(self.program, self.devices[device as usize], &segment.bytes())
    }

    fn follow(&self, job: Job) -> Option<rig::Received> {
        match job {
            Job::Send(segment) => Some(self.send(&segment)),
            Job::Expire => {
                self.expire();
                None
            }
        }
    }

    /// Frees what is over, as the agent does.
    fn expire(&self) -> u64 {
        struct Barrier<'b, 'k>(&'b Mutex<&'k mut Grace>);
        impl Agent for Barrier<'_, '_> {
            type Error = datapath::Error;

            fn grace(&mut self) -> Result<(), datapath::Error> {
                self.0.lock().expect("nobody panicked").wait().map(drop)
            }
        }
        let freed = Pins::new(self.maps, &self.services)
            .expire(&mut Barrier(&self.grace), |_| Some(LIFETIMES))
            .expect("a grace period");
        self.freed.fetch_add(freed, SeqCst);
        freed
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
}

/// The first processor.
struct Leader<'n, 'k> {
    node: &'n Node<'k>,
    course: &'n Course<Job, Option<rig::Received>>,
    random: Random,
    /// Flows that were made up.
    flows: u32,
    /// Pins that were made.
    made: u64,
}

/// One flow and where it belongs.
struct Case {
    client: SocketAddr,
    flow: Flow,
    /// Its backend by the current ring.
    backend: BackendId,
}

impl Leader<'_, '_> {
    /// Two packets of one flow, twice, and two SYNs whose bits are in one word of the SYN memory.
    fn meet(&mut self) -> Result<()> {
        while self.made - self.node.freed.load(SeqCst).min(self.made) > WAITING {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.remember()?;
        let case = self.case(PINNED);
        let isn = self.open(&case)?;
        self.promote(&case, isn)?;
        self.node.age(&case.flow);
        self.made += 1;
        Ok(())
    }

    /// A SYN on both processors, the same or two different ones. Returns the isn that was taken.
    fn open(&mut self, case: &Case) -> Result<u32> {
        let isn = self.random.word();
        let other = if self.random.permille(500) { isn } else { self.random.word() };
        let (mine, theirs) = self.both(&segment(case, SYN, isn), &segment(case, SYN, other));
        let pins = self.node.pins(&case.flow);
        let told = || format!("SYNs {isn:x} and {other:x}: {mine:?} and {theirs:?}, pins {pins:x?}");
        let taken = match (mine, theirs) {
            (Some(_), Some(_)) if isn == other => isn,
            (Some(_), None) if isn != other => isn,
            (None, Some(_)) if isn != other => other,
            _ => anyhow::bail!("{}", told()),
        };
        let right = [mine, theirs].into_iter().flatten().all(|to| to == at(case.backend));
        ensure!(right && pins == [[Some((taken, case.backend)), None]], "{}", told());
        Ok(taken)
    }

    /// The backend's answer on one processor, and on the other one whatever the client may send meanwhile.
    fn promote(&mut self, case: &Case, isn: u32) -> Result<()> {
        let answer = reply(case, isn.wrapping_add(1));
        let other = self.random.word();
        let meanwhile = match self.random.below(3) {
            0 => segment(case, ACK, isn.wrapping_add(1)),
            1 => segment(case, SYN, isn),
            _ => segment(case, SYN, other),
        };
        let (_, to) = self.both(&answer, &meanwhile);
        let pins = self.node.pins(&case.flow);
        let told = || format!("isn {isn:x}, {meanwhile:?} went to {to:?}, pins {pins:x?}");
        ensure!(pins.len() == 1, "{}", told());
        let [half, established] = pins[0];
        ensure!(established == Some((isn, case.backend)), "{}", told());
        let opens_another = meanwhile.sequence == other;
        ensure!(opens_another || to.is_some(), "{}", told());
        ensure!(to.is_none_or(|to| to == at(case.backend)), "{}", told());
        match half {
            Some(half) if opens_another && to.is_some() => {
                ensure!(half == (other, case.backend), "{}", told());
            }
            // If the client's packet was marked at that moment, the half pin stays beside its twin.
            Some(half) => ensure!(half == (isn, case.backend), "{}", told()),
            None => ensure!(!opens_another || to.is_none(), "{}", told()),
        }
        Ok(())
    }

    /// Two SYNs that are remembered in one word.
    fn remember(&mut self) -> Result<()> {
        let maps = self.node.maps;
        let (mine, theirs) = (self.case(REMEMBERED), self.case(REMEMBERED));
        let mask = maps.node().recent_mask;
        let place = |case: &Case, isn| recent::place(&maps.node().key, mask, &case.flow, isn);
        let isn = self.random.word();
        let first = place(&mine, isn);
        let other = loop {
            let other = self.random.word();
            if place(&theirs, other).word == first.word {
                break other;
            }
        };
        let bits = first.bits | place(&theirs, other).bits;
        let index = recent::index(mask, SERVICES[usize::from(REMEMBERED)].deployment, 0, first.word);
        let word = maps.recent.get(index as usize).context("a word of RECENT")?;
        word.store(0, SeqCst);
        self.both(&segment(&mine, SYN, isn), &segment(&theirs, SYN, other));
        let left = word.load(SeqCst);
        ensure!(left == bits, "bits of the SYN memory are lost: {left:x} of {bits:x}");
        Ok(())
    }

    /// A SYN on a pin that is over, while the agent looks for such; and the packet after it.
    fn revive_all(&mut self, rounds: u64) -> Result<u64> {
        let mut revived = 0;
        for _ in 0..rounds {
            let case = self.case(PINNED);
            let isn = self.random.word();
            self.node.send(&segment(&case, SYN, isn));
            self.node.send(&reply(&case, isn.wrapping_add(1)));
            self.node.age(&case.flow);
            let again = isn.wrapping_add(0x4000_0000);
            let node = self.node;
            let (first, next) = (segment(&case, SYN, again), segment(&case, ACK, again.wrapping_add(1)));
            let act = || [&first, &next].map(|segment| went(segment, &node.send(segment)));
            let ([opened, followed], _) = self.course.lead(Job::Expire, &mut self.random, act);
            let pins = self.node.pins(&case.flow);
            let told = || format!("a SYN went to {opened:?}, what followed to {followed:?}, pins {pins:x?}");
            ensure!(opened.is_some() && opened == followed && pins.len() <= 1, "{}", told());
            revived += u64::from(pins.iter().any(|pin| pin[1].is_some()));
            self.node.age(&case.flow);
        }
        Ok(revived)
    }

    /// Sends one segment here and one over there; returns where they went.
    fn both(&mut self, mine: &Segment, theirs: &Segment) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let node = self.node;
        let job = Job::Send(Box::new(theirs.clone()));
        let (here, there) = self.course.lead(job, &mut self.random, || node.send(mine));
        (went(mine, &here), there.and_then(|there| went(theirs, &there)))
    }

    /// A flow that there has not been yet.
    fn case(&mut self, service: u16) -> Case {
        let number = self.flows;
        self.flows += 1;
        let client: IpAddr = [198, 51, 100, 1 + (number % 40) as u8].into();
        let client = SocketAddr::new(client, 1024 + (number / 40 % 60_000) as u16);
        let maps = self.node.maps;
        let IpAddr::V4(address) = client.ip() else { unreachable!("made of four bytes") };
        let flow = Flow::v4(&maps.node().key, address.octets(), client.port().to_be_bytes(), service);
        let entry = node::entry_of(service);
        let slot = ring::slot(flow.hash, entry.ring_size);
        let backend = ring::backend(maps, &entry, Environment::Green as u8, slot);
        Case { client, flow, backend: backend.unwrap_or_default() }
    }
}

fn at(backend: BackendId) -> SocketAddr {
    BACKENDS[usize::from(backend)].at
}

/// Where a segment was sent to; `None` if it was dropped.
fn went(segment: &Segment, received: &rig::Received) -> Option<SocketAddr> {
    (received.action != Action::Drop).then(|| destination(segment, &received.bytes))
}

/// A client's segment.
fn segment(case: &Case, flags: u8, sequence: u32) -> Segment {
    let service = if case.flow.tag as u16 == PINNED + 1 { PINNED } else { REMEMBERED };
    Segment {
        to: Device::Wan.mac(),
        from: NEIGHBOUR,
        source: case.client,
        destination: SERVICES[usize::from(service)].at,
        sequence,
        ..Segment::to_service(flags)
    }
}

/// The backend's acknowledgement.
fn reply(case: &Case, acknowledgement: u32) -> Segment {
    Segment {
        to: Device::Lan.mac(),
        from: NEIGHBOUR,
        source: at(case.backend),
        destination: case.client,
        acknowledgement,
        ..Segment::to_service(ACK)
    }
}
