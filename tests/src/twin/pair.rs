//! Both sides of the twin: a packet goes through both, a change is made on both, and then they are equal.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{BackendCounter, Counter};
use bg_common::control::{Control, Phase};
use bg_common::meta::Meta;
use bg_common::reason::Reason;
use bg_common::tables::{Tables as _, ticks};
use bg_ebpf::host::{Buffer, Host};
use bg_ebpf::kernel::Spent;
use bg_ebpf::verdict;
use bg_userspace::datapath::PROGRAM;
use rustix::time::{ClockId, clock_gettime};

use super::difference::{self, Difference};
use super::kernel::Kernel;
use super::{Tally, node, world};
use crate::lab::namespace::Namespace;
use crate::packets::Action;

/// A packet on its way to the node.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What it is meant to be.
    pub what: &'static str,
    /// The deployment of the service that it is to or from.
    pub deployment: u16,
    /// Index of the device on which it arrives.
    pub interface: u32,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

/// What came of it, on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The verdict.
    pub action: Action,
    /// The packet after the program.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Packet(Packet),
    Act(String),
}

/// Host and kernel.
pub struct Pair<'n> {
    /// In plain memory.
    pub host: Host,
    /// The program in the kernel.
    pub kernel: Kernel,
    /// What happened so far.
    pub tally: Tally,
    pub(super) namespace: &'n Namespace,
    /// The silent neighbour is.
    pub(super) silent: bool,
    counters: Vec<Counter>,
    backends: Vec<BackendCounter>,
    last: VecDeque<Told>,
}

/// After so many packets, what is compared packet by packet only where the host changed it is compared as a
/// whole.
const CHECKPOINT: u64 = 512;
/// So many packets and acts are told when the sides differ.
const TOLD: usize = 12;

impl<'n> Pair<'n> {
    /// Makes a namespace with the world in it, loads the production program, and runs `act` with it on one
    /// processor. The role tells apart the namespaces of one test program.
    ///
    /// # Panics
    /// When `act` does, or the world cannot be made.
    pub fn with<T: Send>(role: &str, act: impl FnOnce(&mut Pair<'_>) -> T + Send) -> T {
        let namespace = Namespace::create(role).expect("make a namespace (this needs root)");
        world::build(&namespace).expect("make devices, routes and neighbours");
        let run = || {
            // Counters and next hops are a processor's own.
            stay_on(rustix::thread::sched_getcpu());
            let kernel =
                Kernel::load(&mut aya::EbpfLoader::new(), PROGRAM, &node::limits(node::BUCKETS), &namespace);
            let mut pair = Pair::new(kernel.expect("load the program"), &namespace);
            act(&mut pair)
        };
        namespace.inside(run).expect("enter the namespace")
    }

    fn new(mut kernel: Kernel, namespace: &'n Namespace) -> Self {
        let host = node::host(kernel.devices, node::BUCKETS);
        kernel.fill(&host).expect("fill the program's tables");
        let counters = host.counters.iter().map(std::cell::Cell::get).collect();
        let backends = host.backend_counters.iter().map(std::cell::Cell::get).collect();
        Self {
            host,
            kernel,
            tally: Tally::default(),
            namespace,
            silent: true,
            counters,
            backends,
            last: VecDeque::new(),
        }
    }

    /// Lets a packet arrive on both sides.
    pub fn send(&mut self, packet: &Packet) -> Result<Sent, Difference> {
        self.tell(Told::Packet(packet.clone()));
        let before = clock();
        let received = self.kernel.run(packet.interface, &packet.bytes);
        let after = clock();
        let sent = Sent { action: received.action, bytes: received.bytes };
        if ticks(before) != ticks(after) {
            // Which stamp the program took cannot be known; nothing is compared, and nothing counted.
            self.take_over();
            self.tally.left_out += 1;
            return Ok(sent);
        }
        self.host.tables.nanoseconds.store(after, SeqCst);
        let phase = phase(self.host.tables.control(packet.deployment), ticks(after));
        // Ticks give back to the program what its answers have cost; the host's clock of them stands still.
        self.host.answers.iter().for_each(|spent| spent.set(Spent::default()));
        let mut buffer = Buffer::new(&packet.bytes, packet.interface);
        let action = match self.host.receive(&mut buffer) {
            verdict::Action::Pass => Action::Pass,
            verdict::Action::Drop => Action::Drop,
            verdict::Action::Transmit => Action::Tx,
            verdict::Action::Redirect(_) => Action::Redirect,
            verdict::Action::Enter(stage) => unreachable!("{stage:?} was entered"),
        };
        let host = Sent { action, bytes: buffer.bytes().to_vec() };
        let reason = self.compare(&host, &sent).map_err(|difference| self.difference(difference))?;
        self.tally.packet(phase, reason, &packet.bytes);
        if self.tally.packets.is_multiple_of(CHECKPOINT) {
            self.check()?;
            for pin in self.host.tables.used_pins() {
                self.tally.pin(Meta(pin.meta.load(SeqCst)), pin.established().is_some());
            }
        }
        Ok(sent)
    }

    /// Compares everything.
    pub fn check(&self) -> Result<(), Difference> {
        self.check_tables()?;
        difference::rest(&self.host, &self.kernel).map_err(|difference| self.difference(difference))
    }

    /// Compares every word that packets and the agent write.
    pub(super) fn check_tables(&self) -> Result<(), Difference> {
        difference::tables(&self.host, self.kernel.maps()).map_err(|difference| self.difference(difference))
    }

    /// Notes what happens next, for the case that the sides differ after it.
    pub(super) fn tell(&mut self, what: Told) {
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        self.last.push_back(what);
    }

    /// What happened so far has no more to do with what comes.
    pub(super) fn forget(&mut self) {
        self.last.clear();
    }

    /// Gives the program the host's `NODE`.
    pub(super) fn give_node(&self) {
        self.kernel.maps().node.put(0, super::kernel::copy_of_node(&self.host.tables.node));
    }

    fn difference(&self, difference: Difference) -> Difference {
        let words = (0..world::DEPLOYMENTS).map(|d| format!("{:?}", words(self.host.tables.control(d))));
        let words = format!("control words: {}", words.collect::<Vec<_>>().join("; "));
        let told = self.last.iter().map(ToString::to_string).chain([words]);
        Difference { before: told.collect(), ..difference }
    }

    /// The reason under which one side has counted a packet that is not compared yet.
    fn counted(&self, counter: impl Fn(u32) -> Counter) -> &'static str {
        let new = |reason: &&Reason| counter(**reason as u32) != self.counters[**reason as usize];
        Reason::ALL.iter().find(new).map_or("not counted", |reason| reason.name())
    }

    /// Compares what a packet can have changed; returns the reason for which it ended.
    fn compare(&mut self, host: &Sent, kernel: &Sent) -> Result<Reason, Difference> {
        let verdict = || {
            let here = self.counted(|index| self.host.counters[index as usize].get());
            let there = self.counted(|index| self.kernel.counter(index).expect("read COUNTERS"));
            format!("the verdict, which is {here} on the host and {there} in the kernel")
        };
        difference::values(verdict, &host.action, &kernel.action)?;
        difference::values(|| "the packet's bytes".into(), &host.bytes, &kernel.bytes)?;
        difference::tables(&self.host, self.kernel.maps())?;
        let mut reason = None;
        for (index, (known, now)) in self.counters.iter_mut().zip(&self.host.counters).enumerate() {
            if *known != now.get() {
                *known = now.get();
                difference::counter(&self.host, &self.kernel, index as u32)?;
                reason = reason.or(Reason::ALL.iter().find(|&&reason| reason as usize == index));
            }
        }
        for (index, (known, now)) in self.backends.iter_mut().zip(&self.host.backend_counters).enumerate() {
            if *known != now.get() {
                *known = now.get();
                difference::backend_counter(&self.host, &self.kernel, index as u32)?;
            }
        }
        Ok(*reason.expect("every packet is counted under its reason"))
    }

    /// Gives the host what packets left in the kernel's tables.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn take_over(&mut self) {
        let maps = self.kernel.maps();
        let copy = |to: &AtomicU64, from: &AtomicU64| to.store(from.load(SeqCst), SeqCst);
        let tables = &self.host.tables;
        tables.control.iter().zip(maps.control.iter()).for_each(|(to, from)| copy(to, from));
        tables.locks.iter().zip(maps.locks.iter()).for_each(|(to, from)| copy(to, from));
        for (to, from) in tables.pins.iter().flatten().zip(maps.pins.iter().flatten()) {
            copy(&to.tag, &from.tag);
            copy(&to.half, &from.half);
            copy(&to.established, &from.established);
            copy(&to.meta, &from.meta);
        }
        tables.recent.iter().zip(maps.recent.iter()).for_each(|(to, from)| copy(to, from));
        for (lines, map) in [(&tables.census, &maps.census), (&tables.deployments, &maps.deployments)] {
            for (to, from) in lines.iter().flatten().zip(map.iter().flatten()) {
                copy(to, from);
            }
        }
        for (index, known) in self.counters.iter_mut().enumerate() {
            if let Ok(counter) = self.kernel.counter(index as u32) {
                self.host.counters[index].set(counter);
                *known = counter;
            }
        }
        for (index, known) in self.backends.iter_mut().enumerate() {
            if let Ok(counter) = self.kernel.backend_counter(index as u32) {
                self.host.backend_counters[index].set(counter);
                *known = counter;
            }
        }
        let remembered = self.kernel.fragments.iter().map(|entry| entry.expect("read FRAGMENTS"));
        *self.host.fragments.get_mut() = remembered.collect();
        for (index, hop) in self.host.next_hops.iter().enumerate() {
            hop.set(self.kernel.next_hop(index as u32, hop.get().jiffies).expect("read NEXTHOP"));
        }
    }
}

/// Keeps the calling thread on one processor.
pub(super) fn stay_on(processor: usize) {
    let mut here = rustix::thread::CpuSet::new();
    here.set(processor);
    rustix::thread::sched_setaffinity(None, &here).expect("stay on one processor");
}

/// The clock that the program stamps with. It moves on with the timer only, so that the program has seen what
/// is read both before and after it.
pub(super) fn clock() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The phase by which a packet goes: a seal that is over is none.
fn phase(control: Control, ticks: u32) -> Phase {
    match control.phase() {
        Phase::Seal if !control.sealed(ticks) => Phase::Drain,
        phase => phase,
    }
}

fn words(control: Control) -> impl std::fmt::Debug {
    (control.phase(), control.base(), control.current(), control.epoch())
}

impl std::fmt::Display for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on device {}:", self.what, self.interface)?;
        self.bytes.chunks(4).try_for_each(|group| {
            f.write_char(' ')?;
            group.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Packet(packet) => packet.fmt(f),
            Self::Act(act) => f.write_str(act),
        }
    }
}
