//! The agent's side of the pin table: counting, expiring, clearing. The program adds pins, only this frees
//! them.
//!
//! It is here, and generic over [`Tables`], so that the model checker runs the very steps that the agent
//! carries out.

use crate::abi::{BackendId, Service};
use crate::control::{Control, Environment};
use crate::flow::{Flow, TOMB};
use crate::meta::Meta;
use crate::mutant::Mutant;
use crate::pin::{Hold, Pin};
use crate::tables::{Tables, Word};
use crate::{recent, ring};

/// A closing pin is freed after so many seconds of silence both ways.
pub const CLOSING_LIFETIME: u32 = 120;

/// Who carries out the steps.
pub trait Agent {
    /// Why a step could not be done.
    type Error;

    /// Waits until no processor works with what it read before.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    fn grace(&mut self) -> Result<(), Self::Error>;

    /// A step is done and the next one has not begun: an agent may be killed here.
    fn boundary(&mut self, step: &'static str) {
        let _ = step;
    }
}

/// How long pins of a service live, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// A half pin that no packet matched: as long as a SYN is remembered.
    pub half: u32,
    /// An idle established pin.
    pub idle: u32,
}

/// The pins of a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinSummary {
    /// In all.
    pub total: u64,
    /// Of the leaving environment: not closing, and seen within the horizon.
    pub leaving_alive: u64,
    /// Of the live environment, but elsewhere than base would send the flow.
    pub disagreeing: u64,
}

/// A pin, read once.
struct Snapshot {
    tag: u64,
    half: u64,
    established: u64,
    meta: Meta,
}

impl Snapshot {
    fn of<W: Word>(pin: &Pin<W>) -> Option<Self> {
        let tag = pin.tag.load();
        if tag == 0 || tag == TOMB {
            return None;
        }
        let (half, established) = (pin.half.load(), pin.established.load());
        if half | established == 0 {
            // A processor is just filling it.
            return None;
        }
        Some(Self { tag, half, established, meta: Meta(pin.meta.load()) })
    }

    fn holds(&self) -> impl Iterator<Item = Hold> {
        [self.half, self.established].into_iter().filter_map(Hold::from_word)
    }

    fn same<W: Word>(&self, pin: &Pin<W>) -> bool {
        pin.half.load() == self.half
            && pin.established.load() == self.established
            && pin.meta.load() == self.meta.0
    }

    /// Whether its time is over.
    fn over<T: Tables>(&self, tables: &T, lifetimes: Lifetimes) -> bool {
        let matched = Hold::from_word(self.half).is_some_and(Hold::matched);
        let used = self.established != 0 || matched && !tables.mutated(Mutant::MatchedHalfExpires);
        let limit = if self.meta.closing() && used {
            let silence = if tables.mutated(Mutant::ForgedResetFrees) { 0 } else { CLOSING_LIFETIME };
            silence.min(lifetimes.idle)
        } else if used {
            lifetimes.idle
        } else {
            lifetimes.half
        };
        self.meta.age(tables.seconds()) > limit
    }
}

/// The pins, seen by the agent.
pub struct Pins<'t, T> {
    tables: &'t T,
    services: &'t [Option<Service>],
}

impl<'t, T: Tables> Pins<'t, T> {
    /// The pins of these tables, with the services by their numbers.
    pub const fn new(tables: &'t T, services: &'t [Option<Service>]) -> Self {
        Self { tables, services }
    }

    fn all(&self) -> impl Iterator<Item = &'t Pin<T::Word>> {
        let tables = self.tables;
        (0..=tables.node().pin_mask).filter_map(|bucket| tables.pins(bucket)).flatten()
    }

    fn of_deployment(&self, deployment: u16) -> impl Iterator<Item = (&'t Pin<T::Word>, Snapshot)> {
        self.all().filter_map(move |pin| {
            let snapshot = Snapshot::of(pin)?;
            let service = self.service(&snapshot)?;
            (service.deployment == deployment).then_some((pin, snapshot))
        })
    }

    fn service(&self, snapshot: &Snapshot) -> Option<&Service> {
        self.services.get(usize::from(snapshot.meta.service()))?.as_ref()
    }

    fn flow(&self, snapshot: &Snapshot) -> Flow {
        Flow::from_tag(&self.tables.node().key, snapshot.tag)
    }

    fn environment(&self, backend: BackendId) -> Option<Environment> {
        self.tables.backend(backend).map(|backend| Environment::from_bit(backend.environment))
    }

    /// Whether a pin holds a connection of the environment that is being left.
    fn leaves(&self, snapshot: &Snapshot, control: Control) -> bool {
        snapshot.holds().any(|hold| self.environment(hold.backend()) == Some(control.leaving()))
    }

    /// Whether a pin holds a connection of the live environment elsewhere than base would send it.
    fn disagrees(&self, snapshot: &Snapshot, control: Control) -> bool {
        let Some(service) = self.service(snapshot) else { return false };
        let slot = ring::slot(self.flow(snapshot).hash, service.ring_size);
        let base = ring::backend(self.tables, service, control.base().slot, slot);
        snapshot.holds().any(|hold| {
            Some(hold.backend()) != base && self.environment(hold.backend()) != Some(control.leaving())
        })
    }

    /// Counts a deployment's pins.
    pub fn summary(&self, deployment: u16, control: Control, horizon: u32) -> PinSummary {
        let seconds = self.tables.seconds();
        let mut summary = PinSummary::default();
        for (_, snapshot) in self.of_deployment(deployment) {
            let alive = !snapshot.meta.closing() && snapshot.meta.age(seconds) < horizon;
            summary.total += 1;
            summary.leaving_alive += u64::from(alive && self.leaves(&snapshot, control));
            summary.disagreeing += u64::from(self.disagrees(&snapshot, control));
        }
        summary
    }

    /// Frees the pins whose time is over. Returns how many.
    ///
    /// # Errors
    /// When there is no grace period.
    pub fn expire<A: Agent>(
        &self,
        agent: &mut A,
        lifetimes: impl Fn(u16) -> Option<Lifetimes>,
    ) -> Result<u64, A::Error> {
        let seconds = self.tables.seconds();
        let mut buried = 0;
        for pin in self.all() {
            let Some(snapshot) = Snapshot::of(pin) else { continue };
            let Some(lifetimes) = lifetimes(snapshot.meta.service()) else { continue };
            if snapshot.over(self.tables, lifetimes) {
                buried += u64::from(bury(agent, pin, &snapshot));
            } else if let Some(half) = Hold::from_word(snapshot.half)
                && !half.matched()
                && snapshot.established != 0
                && snapshot.meta.age(seconds) > lifetimes.half
            {
                // The established connection goes on; only the SYN that led nowhere is forgotten.
                pin.half.compare_exchange(half.0, 0);
            }
        }
        self.empty(agent, buried)?;
        Ok(buried)
    }

    /// After base := current and a grace period: every isn goes into the SYN memory, then the pins that
    /// base agrees with, and those of the environment that was left, are dropped. Returns how many stay.
    ///
    /// # Errors
    /// When there is no grace period.
    pub fn clear<A: Agent>(&self, agent: &mut A, deployment: u16, control: Control) -> Result<u64, A::Error> {
        let (mut buried, mut stay) = (0, 0);
        for (pin, snapshot) in self.of_deployment(deployment) {
            let flow = self.flow(&snapshot);
            for hold in snapshot.holds() {
                if self.tables.mutated(Mutant::NothingRemembered)
                    || self.tables.mutated(Mutant::HalfOnlyRemembered) && hold.0 != snapshot.half
                {
                    continue;
                }
                recent::add(self.tables, deployment, &flow, hold.isn());
            }
            agent.boundary("remembered");
            if self.disagrees(&snapshot, control) {
                stay += 1;
            } else {
                buried += u64::from(bury(agent, pin, &snapshot));
            }
        }
        self.empty(agent, buried)?;
        Ok(stay)
    }

    /// Finishes what an agent that was killed left buried.
    ///
    /// # Errors
    /// When there is no grace period.
    pub fn exhume<A: Agent>(&self, agent: &mut A) -> Result<(), A::Error> {
        let buried = self.all().filter(|pin| pin.tag.load() == TOMB).count();
        self.empty(agent, buried as u64)
    }

    /// The last step of freeing: after a grace period nobody can write into what was buried any more, and
    /// it is emptied and free.
    fn empty<A: Agent>(&self, agent: &mut A, buried: u64) -> Result<(), A::Error> {
        if buried == 0 {
            return Ok(());
        }
        agent.grace()?;
        for pin in self.all().filter(|pin| pin.tag.load() == TOMB) {
            for word in [&pin.half, &pin.established, &pin.meta] {
                word.store(0);
            }
            agent.boundary("emptied");
            pin.tag.store(0);
        }
        Ok(())
    }
}

/// The first step of freeing a pin: its tag is buried, so that no packet finds it and no other flow claims
/// it. `false`: a packet has changed it just before; it has its tag back.
fn bury<A: Agent, W: Word>(agent: &mut A, pin: &Pin<W>, snapshot: &Snapshot) -> bool {
    if pin.tag.compare_exchange(snapshot.tag, TOMB) != snapshot.tag {
        return false;
    }
    if !snapshot.same(pin) {
        pin.tag.store(snapshot.tag);
        return false;
    }
    agent.boundary("buried");
    true
}
