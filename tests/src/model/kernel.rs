//! The machine that is the real one: the program in the kernel, with a mutant of the rule or without, and the
//! agent's procedures over its maps. A state is written into the maps, a packet passes, and what it left is
//! read back.

use std::cell::RefCell;
use std::sync::atomic::Ordering::SeqCst;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use bg_common::abi::{BackendId, Counter};
use bg_common::mutant::Stop;
use bg_common::reason::Reason;
use bg_userspace::config::Limits;
use bg_userspace::datapath::{Bare, Grace, Maps};

use super::gate::{Gate, Passed};
use super::machine::{Done, First, Machine, Seen, Task, Went, carry_out};
use super::mapped::Mapped;
use super::node::{address, bytes, destination, fill};
use super::setup::{NOW, Setup};
use super::state::{BACKENDS, State};
use crate::lab::namespace::Namespace;
use crate::packets::rig::{Received, index, run_once};
use crate::packets::{Action, world};

/// The program with the mutants in it.
static PROGRAM: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bluegreen"));

/// Limits for the tables of a state.
const LIMITS: Limits = Limits {
    deployments: 2,
    services: 16,
    backends: 16,
    ring_entries: 12,
    pins: 4,
    census: 4,
    syn_memory: 8,
};

/// The loaded program.
pub struct Kernel {
    setup: Setup,
    bare: RefCell<Bare>,
    gate: Gate,
    nth: u64,
    counters: PerCpuArray<MapData, Counter>,
    wan: u32,
}

/// Makes a namespace with devices, a client and backends, and runs `act` in it.
///
/// # Panics
/// When `act` does, or the namespace cannot be made.
pub fn inside<T: Send>(role: &str, act: impl FnOnce(&Namespace) -> T + Send) -> T {
    let namespace = Namespace::create(role).expect("make a namespace (this needs root)");
    world::build(&namespace).expect("make devices and neighbours");
    for id in 0..BACKENDS {
        let at = address(id as BackendId).ip();
        let mac = [2, 0, 0, 0, 1, 1 + id as u8];
        world::neighbour(&namespace, at, mac, "lan").expect("make a backend known");
    }
    namespace.inside(|| act(&namespace)).expect("enter the namespace")
}

impl Kernel {
    /// Loads the program for a configuration; packets can be stopped at `stop`, when they come there for the
    /// `nth` time. The calling thread is in the namespace.
    pub fn load(setup: Setup, stop: Option<Stop>, nth: u64, namespace: &Namespace) -> Result<Self> {
        let (mutant, stop) =
            (setup.mutant.map_or(0, |mutant| mutant as u8), stop.map_or(0, |stop| stop as u8));
        let mut loader = EbpfLoader::new();
        loader
            .override_global("MUTANT", &mutant, true)
            .override_global("CLOCK", &NOW, true)
            .override_global("STOP_AT", &stop, true);
        let mut bare = Bare::load(&mut loader, PROGRAM, &LIMITS).context("load the program")?;
        bare.program().attach("wan", XdpMode::Driver).context("attach to wan")?;
        let wan = index(namespace, "wan")?;
        fill(&bare.maps, setup.room, wan);
        let mut take = |name| bare.ebpf.take_map(name).with_context(|| format!("no map {name}"));
        let counters = take("COUNTERS")?.try_into()?;
        let gate = Gate::new(take("GATE")?.try_into()?);
        Ok(Self { setup, bare: RefCell::new(bare), gate, nth, counters, wan })
    }

    /// Lets a packet pass that has read `read` and is stopped on its way, and does `meanwhile` then. `None`: it
    /// never came to the place.
    ///
    /// # Panics
    /// When the machine is so busy that the packet is let go too early again and again.
    pub fn stopped<T>(
        &self,
        state: &State,
        read: u64,
        seen: &Seen,
        mut meanwhile: impl FnMut(&Xdp, &Maps, &mut Grace) -> T,
    ) -> Option<(Result<BackendId, Reason>, T)> {
        const TRIES: u32 = 100;
        let bytes = bytes(seen);
        for _ in 0..TRIES {
            self.put(state, read);
            let before = self.reasons();
            let mut bare = self.bare.borrow_mut();
            let (program, maps, grace) = bare.parts();
            let wan = self.wan;
            let pass = || run_once(program, wan, &bytes);
            match self.gate.passing(self.nth, pass, || meanwhile(program, maps, grace)) {
                Passed::Stopped(received, result) => {
                    return Some((self.told(seen, &received, &before), result));
                }
                Passed::Through => return None,
                Passed::TooEarly => (),
            }
        }
        panic!("a stopped packet was let go too early {TRIES} times")
    }

    /// Lets the packet that is stopped go on, before what is done meanwhile is done.
    pub fn let_go(&self) {
        self.gate.open();
    }

    /// Lets a packet pass.
    fn pass(&self, program: &Xdp, seen: &Seen) -> Result<BackendId, Reason> {
        let before = self.reasons();
        let received = run_once(program, self.wan, &bytes(seen));
        self.told(seen, &received, &before)
    }

    /// Where a packet went.
    fn told(&self, seen: &Seen, received: &Received, before: &[u64]) -> Result<BackendId, Reason> {
        match received.action {
            // As on the host: a reply goes to the client, and says nothing else.
            Action::Redirect | Action::Tx => Ok(seen.from.unwrap_or_else(|| destination(&received.bytes))),
            Action::Drop => {
                let after = self.reasons();
                // While this one was stopped another one may have been sent on.
                let sent = [Reason::Forwarded, Reason::Returned];
                let mut reasons = Reason::ALL.iter().zip(before.iter().zip(&after));
                let grown = reasons.find(|(reason, (old, new))| old != new && !sent.contains(reason));
                Err(*grown.expect("a packet that is dropped is counted").0)
            }
            Action::Pass | Action::Aborted => panic!("{:?}: {seen:?}", received.action),
        }
    }

    fn reasons(&self) -> Vec<u64> {
        let count = |&reason: &Reason| {
            let counters = self.counters.get(&(reason as u32), 0).expect("read COUNTERS");
            counters.iter().map(|counter| counter.packets).sum()
        };
        Reason::ALL.iter().map(count).collect()
    }

    /// Writes a state into the maps; packets find `word`.
    fn put(&self, state: &State, word: u64) {
        self.gate.looks();
        Mapped::new(&self.bare.borrow().maps, self.setup.mutant, NOW).put(state, word);
    }

    fn keep(&self, state: &mut State) {
        Mapped::new(&self.bare.borrow().maps, self.setup.mutant, NOW).keep(state);
    }
}

impl Machine for Kernel {
    fn packet(&self, state: &mut State, read: u64, seen: &Seen) -> Went {
        let to = if read == state.word {
            self.put(state, read);
            self.pass(self.bare.borrow_mut().program(), seen)
        } else {
            let word = state.word;
            let store = |_: &Xdp, maps: &Maps, _: &mut Grace| {
                maps.control.get(0).expect("a first deployment").store(word, SeqCst);
            };
            self.stopped(state, read, seen, store).expect("every packet looks at the control word").0
        };
        self.keep(state);
        Went { to, looks: self.gate.looks() as u32 }
    }

    fn task(&self, state: &mut State, task: Task) -> Done {
        self.put(state, state.word);
        // The agent looks a second after the last packet.
        let bare = self.bare.borrow();
        let done = carry_out(&Mapped::new(&bare.maps, self.setup.mutant, NOW + (1 << 30)), task);
        drop(bare);
        self.keep(state);
        done
    }

    /// Not at every access, but at the one that the program was loaded for; and the agent is not stopped.
    fn meeting(&self, state: &mut State, first: &First, second: &Seen, _: u32) -> Option<[Went; 2]> {
        let First::Packet(first) = first else { return None };
        let word = state.word;
        let (first, second) = self.stopped(state, word, first, |program, _, _| self.pass(program, second))?;
        self.keep(state);
        let looks = self.gate.looks() as u32;
        Some([Went { to: first, looks: looks - 1 }, Went { to: second, looks: 1 }])
    }
}
