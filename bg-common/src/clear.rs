//! The agent's side of the pin table: counting, expiring, clearing. The program adds pins, only this frees
//! them.
//!
//! It is here, and generic over [`Tables`], so that the model checker runs the very steps that the agent
//! carries out.

use crate::abi::{BackendId, Service, views};
use crate::control::{Control, Environment};
use crate::flow::{Flow, TOMB};
use crate::meta::Meta;
use crate::mutant::Mutant;
use crate::pin::{Hold, Pin};
use crate::tables::{Tables, Word};
use crate::{recent, ring};

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
    /// Of testers, present and former ones.
    pub testers: u64,
}

/// A pin, read once, the meta word last: every change of the holds comes after a stamp, so that an old stamp
/// is the stamp of these holds.
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
        let meta = Meta(pin.meta.load());
        // What was given up is as good as gone.
        (!meta.given_up()).then_some(Self { tag, half, established, meta })
    }

    fn holds(&self) -> impl Iterator<Item = Hold> {
        [self.half, self.established].into_iter().filter_map(Hold::from_word)
    }

    /// Whether its time is over.
    fn over<T: Tables>(&self, tables: &T, lifetimes: Lifetimes) -> bool {
        let matched = Hold::from_word(self.half).is_some_and(Hold::matched);
        let used = self.established != 0 || matched && !tables.mutated(Mutant::MatchedHalfExpires);
        let limit = if self.meta.closing() && used {
            let silence = if tables.mutated(Mutant::ForgedResetFrees) { 0 } else { self.meta.linger() };
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
            let service = self.service(snapshot.meta)?;
            (service.deployment == deployment).then_some((pin, snapshot))
        })
    }

    fn service(&self, meta: Meta) -> Option<&Service> {
        self.services.get(usize::from(meta.service()))?.as_ref()
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
        let Some(service) = self.service(snapshot.meta) else { return false };
        let slot = u32::from(snapshot.meta.place());
        let base = ring::backend(self.tables, service, control.base().slot, slot);
        snapshot.holds().any(|hold| {
            Some(hold.backend()) != base && self.environment(hold.backend()) != Some(control.leaving())
        })
    }

    /// Whether a pin counts in every phase because of who its client is, and not because of its service.
    fn is_of_tester(&self, snapshot: &Snapshot) -> bool {
        let pinned = |service: &Service| service.views & views::PINNED != 0;
        snapshot.meta.kept() && !self.service(snapshot.meta).is_some_and(pinned)
    }

    /// Counts a deployment's pins.
    pub fn summary(&self, deployment: u16, control: Control, horizon: u32) -> PinSummary {
        let seconds = self.tables.seconds();
        let mut summary = PinSummary::default();
        for (_, snapshot) in self.of_deployment(deployment) {
            let meta = snapshot.meta;
            // After its own end a client that is seen alone may yet wait for its backend's.
            let limit = match (meta.closing(), meta.is_one_way()) {
                (false, _) => horizon,
                (true, true) => meta.linger().min(horizon),
                (true, false) => 0,
            };
            let alive = meta.age(seconds) < limit;
            summary.total += 1;
            summary.leaving_alive += u64::from(alive && self.leaves(&snapshot, control));
            summary.testers += u64::from(self.is_of_tester(&snapshot));
            summary.disagreeing += u64::from(!snapshot.meta.kept() && self.disagrees(&snapshot, control));
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
            let Some(snapshot) = Snapshot::of(pin) else {
                // The program gives up the pin of a connection that its backend does not have any more.
                let tag = pin.tag.load();
                if tag != 0 && tag != TOMB && Meta(pin.meta.load()).given_up() {
                    bury(agent, pin);
                    buried += 1;
                }
                continue;
            };
            let Some(lifetimes) = lifetimes(snapshot.meta.service()) else { continue };
            if snapshot.over(self.tables, lifetimes) {
                if pin.give_up(snapshot.meta) {
                    agent.boundary("given up");
                    bury(agent, pin);
                    buried += 1;
                }
            } else if let Some(half) = Hold::from_word(snapshot.half)
                && !half.matched()
                && snapshot.established != 0
                && half.age(seconds) > lifetimes.half
            {
                // The established connection goes on, and may talk all the while; only the SYN that led nowhere
                // is forgotten, before the connection gets as far as that SYN's number. No copy of it can be
                // under way any more.
                pin.half.compare_exchange(half.0, 0);
            }
        }
        self.empty(agent, buried)?;
        Ok(buried)
    }

    /// After base := current and a grace period: the pins that base agrees with, and those of the environment
    /// that was left, are dropped, and every isn goes into the SYN memory. Returns how many stay.
    ///
    /// # Errors
    /// When there is no grace period.
    pub fn clear<A: Agent>(&self, agent: &mut A, deployment: u16, control: Control) -> Result<u64, A::Error> {
        let (mut buried, mut stay) = (0, 0);
        for (pin, snapshot) in self.of_deployment(deployment) {
            if snapshot.meta.kept() {
                continue;
            }
            let given_up = !self.disagrees(&snapshot, control) && pin.give_up(snapshot.meta);
            if given_up {
                agent.boundary("given up");
            }
            self.remember(deployment, pin, snapshot.tag);
            agent.boundary("remembered");
            if given_up {
                bury(agent, pin);
                buried += 1;
            } else {
                stay += 1;
            }
        }
        self.empty(agent, buried)?;
        Ok(stay)
    }

    /// Puts what a pin holds now into the SYN memory.
    fn remember(&self, deployment: u16, pin: &Pin<T::Word>, tag: u64) {
        let flow = Flow::from_tag(&self.tables.node().key, tag);
        let half = pin.half.load();
        for hold in [half, pin.established.load()].into_iter().filter_map(Hold::from_word) {
            if self.tables.mutated(Mutant::NothingRemembered)
                || self.tables.mutated(Mutant::HalfOnlyRemembered) && hold.0 != half
            {
                continue;
            }
            recent::add(self.tables, deployment, &flow, hold.isn());
        }
    }

    /// Finishes what an agent that was killed has begun. Whether a pin that it gave up was over or cleared
    /// cannot be known; to remember what it held is right for both, because its packets go to base now.
    ///
    /// # Errors
    /// When there is no grace period.
    pub fn exhume<A: Agent>(&self, agent: &mut A) -> Result<(), A::Error> {
        let mut buried = 0;
        for pin in self.all() {
            let tag = pin.tag.load();
            if tag != 0 && tag != TOMB {
                let meta = Meta(pin.meta.load());
                if !meta.given_up() {
                    continue;
                }
                if let Some(service) = self.service(meta) {
                    self.remember(service.deployment, pin, tag);
                }
                bury(agent, pin);
            }
            buried += u64::from(tag != 0);
        }
        self.empty(agent, buried)
    }

    /// The last step of freeing. Nobody finds a buried pin; after a grace period nobody holds one that was
    /// found before either, and it is emptied and free. Until then it keeps the mark of one given up, and no
    /// other flow can claim it.
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

/// Takes a pin that is given up out of sight. Its flow may have another one from now on, since this one
/// never comes back.
fn bury<A: Agent, W: Word>(agent: &mut A, pin: &Pin<W>) {
    pin.tag.store(TOMB);
    agent.boundary("buried");
}

#[cfg(test)]
mod tests;
