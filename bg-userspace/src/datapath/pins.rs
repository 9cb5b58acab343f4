//! The agent's side of the pin table: counting, expiring, clearing. The program adds pins, only this
//! frees them.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bg_common::abi::{BackendId, Service};
use bg_common::control::{Control, Environment};
use bg_common::flow::{Flow, TOMB};
use bg_common::meta::Meta;
use bg_common::pin::{Hold, Pin};
use bg_common::tables::Tables as _;
use bg_common::{recent, ring};

use super::Error;
use super::grace::Grace;
use super::maps::Maps;

/// A closing pin is freed after so many seconds of silence both ways.
const CLOSING_LIFETIME: u32 = 120;

/// How long pins of a deployment live, seconds.
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
    fn of(pin: &Pin<AtomicU64>) -> Option<Self> {
        let tag = pin.tag.load(SeqCst);
        if tag == 0 || tag == TOMB {
            return None;
        }
        let (half, established) = (pin.half.load(SeqCst), pin.established.load(SeqCst));
        Some(Self { tag, half, established, meta: Meta(pin.meta.load(SeqCst)) })
    }

    fn holds(&self) -> impl Iterator<Item = Hold> {
        [self.half, self.established].into_iter().filter_map(Hold::from_word)
    }

    fn same(&self, pin: &Pin<AtomicU64>) -> bool {
        pin.half.load(SeqCst) == self.half
            && pin.established.load(SeqCst) == self.established
            && pin.meta.load(SeqCst) == self.meta.0
    }
}

/// The pins, seen by the agent.
pub(super) struct Pins<'m> {
    maps: &'m Maps,
    /// Service entry by service number.
    services: Vec<Option<Service>>,
}

impl<'m> Pins<'m> {
    pub(super) fn new(maps: &'m Maps) -> Self {
        let services = maps
            .names
            .iter()
            .map(|name| if name.name[0] == 0 { None } else { maps.services.read(name.entry as usize) })
            .collect();
        Self { maps, services }
    }

    fn of_deployment(&self, deployment: u16) -> impl Iterator<Item = (&'m Pin<AtomicU64>, Snapshot)> {
        self.maps.pins.iter().flatten().filter_map(move |pin| {
            let snapshot = Snapshot::of(pin)?;
            let service = self.service(&snapshot)?;
            (service.deployment == deployment).then_some((pin, snapshot))
        })
    }

    fn service(&self, snapshot: &Snapshot) -> Option<&Service> {
        self.services.get(usize::from(snapshot.meta.service()))?.as_ref()
    }

    fn environment(&self, backend: BackendId) -> Option<Environment> {
        self.maps.backends.get(backend.into()).map(|backend| Environment::from_bit(backend.environment))
    }

    /// Where base sends the flow of a pin.
    fn base(&self, snapshot: &Snapshot, control: Control) -> Option<BackendId> {
        let service = self.service(snapshot)?;
        let flow = Flow::from_tag(&self.maps.node().key, snapshot.tag);
        ring::backend(self.maps, service, control.base().slot, ring::slot(flow.hash, service.ring_size))
    }

    fn agrees(&self, snapshot: &Snapshot, control: Control) -> bool {
        let base = self.base(snapshot, control);
        snapshot.holds().all(|hold| Some(hold.backend()) == base)
    }

    /// Counts a deployment's pins.
    pub(super) fn summary(&self, deployment: u16, control: Control, horizon: u32) -> PinSummary {
        let seconds = self.maps.seconds();
        let mut summary = PinSummary::default();
        for (_, snapshot) in self.of_deployment(deployment) {
            summary.total += 1;
            let leaving =
                snapshot.holds().any(|hold| self.environment(hold.backend()) == Some(control.leaving()));
            if leaving {
                let alive = !snapshot.meta.closing() && snapshot.meta.age(seconds) < horizon;
                summary.leaving_alive += u64::from(alive);
            } else if !self.agrees(&snapshot, control) {
                summary.disagreeing += 1;
            }
        }
        summary
    }

    /// Frees the pins whose time is over. Returns how many.
    pub(super) fn expire(
        &self,
        grace: &mut Grace,
        lifetimes: impl Fn(u16) -> Option<Lifetimes>,
    ) -> Result<u64, Error> {
        let seconds = self.maps.seconds();
        let mut over = Vec::new();
        for pin in self.maps.pins.iter().flatten() {
            let Some(snapshot) = Snapshot::of(pin) else { continue };
            let Some(lifetimes) = lifetimes(snapshot.meta.service()) else { continue };
            let age = snapshot.meta.age(seconds);
            let half = Hold::from_word(snapshot.half);
            let used = snapshot.established != 0 || half.is_some_and(Hold::matched);
            let limit = if snapshot.meta.closing() && used {
                CLOSING_LIFETIME.min(lifetimes.idle)
            } else if used {
                lifetimes.idle
            } else {
                lifetimes.half
            };
            if age > limit {
                over.push((pin, snapshot));
            } else if let Some(half) = half
                && !half.matched()
                && snapshot.established != 0
                && age > lifetimes.half
            {
                // The established connection goes on; only the SYN that led nowhere is forgotten.
                pin.half.compare_exchange(half.0, 0, SeqCst, SeqCst).ok();
            }
        }
        free(grace, &over)
    }

    /// After base := current and a grace period: every isn goes into the SYN memory, then the pins that
    /// base agrees with, and those of the environment that was left, are dropped. Returns how many stay.
    pub(super) fn clear(&self, grace: &mut Grace, deployment: u16, control: Control) -> Result<u64, Error> {
        let mut over = Vec::new();
        let mut stay = 0;
        for (pin, snapshot) in self.of_deployment(deployment) {
            let flow = Flow::from_tag(&self.maps.node().key, snapshot.tag);
            for hold in snapshot.holds() {
                recent::add(self.maps, deployment, &flow, hold.isn());
            }
            let left =
                snapshot.holds().all(|hold| self.environment(hold.backend()) == Some(control.leaving()));
            if left || self.agrees(&snapshot, control) {
                over.push((pin, snapshot));
            } else {
                stay += 1;
            }
        }
        free(grace, &over)?;
        Ok(stay)
    }

    /// Finishes what an agent that was killed left buried.
    pub(super) fn exhume(&self, grace: &mut Grace) -> Result<(), Error> {
        let buried: Vec<_> =
            self.maps.pins.iter().flatten().filter(|pin| pin.tag.load(SeqCst) == TOMB).collect();
        empty(grace, &buried)
    }
}

/// Frees pins in three steps: the tag is buried, so that no packet finds the pin and no other flow claims
/// it; whoever changed the pin just before is seen and gets it back; after a grace period nobody can
/// write into it any more, and it is emptied and free.
fn free(grace: &mut Grace, over: &[(&Pin<AtomicU64>, Snapshot)]) -> Result<u64, Error> {
    let mut buried = Vec::with_capacity(over.len());
    for (pin, snapshot) in over {
        if pin.tag.compare_exchange(snapshot.tag, TOMB, SeqCst, SeqCst).is_err() {
            continue;
        }
        if snapshot.same(pin) {
            buried.push(*pin);
        } else {
            pin.tag.store(snapshot.tag, SeqCst);
        }
    }
    empty(grace, &buried)?;
    Ok(buried.len() as u64)
}

fn empty(grace: &mut Grace, buried: &[&Pin<AtomicU64>]) -> Result<(), Error> {
    if buried.is_empty() {
        return Ok(());
    }
    grace.wait()?;
    for pin in buried {
        pin.half.store(0, SeqCst);
        pin.established.store(0, SeqCst);
        pin.meta.store(0, SeqCst);
        pin.tag.store(0, SeqCst);
    }
    Ok(())
}
