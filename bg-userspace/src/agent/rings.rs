//! Which rings a deployment should have, and where they are: in a ring slot that the word names already, or
//! written into the one that it does not name.

use std::collections::BTreeSet;

use bg_common::abi::{BackendId, NO_BACKEND};
use bg_common::control::{Control, Environment, Ring};

use super::{Agent, Managed};
use crate::datapath::{Error, InstalledBackend, InstalledService};
use crate::maglev;
use crate::rollout;

/// Where new connections should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aim {
    /// The environment that is live.
    pub(super) live: Environment,
    /// Percent of them that go to the other one.
    pub(super) share: u8,
}

/// A service's ring.
pub(super) struct Wanted {
    service: InstalledService,
    slots: Vec<BackendId>,
}

impl Agent {
    /// Where new connections go now.
    pub(super) fn aim(&self, at: usize) -> Aim {
        let index = self.deployments[at].installed.index;
        Aim { live: self.datapath.control(index).current().environment, share: self.share(at) }
    }

    /// Percent of the new connections that go to the environment that is not live.
    pub(super) fn share(&self, at: usize) -> u8 {
        let index = self.deployments[at].installed.index;
        let shifting =
            rollout::state(self.datapath.control(index), self.deployments[at].motive(&self.datapath))
                == rollout::State::Shifting;
        if shifting { self.datapath.ledger(index).share as u8 } else { 0 }
    }

    /// The rings for an aim: over the backends that may take new connections, or over all where none may.
    pub(super) fn wanted(&self, at: usize, aim: Aim) -> Vec<Wanted> {
        let services = &self.deployments[at].installed.services;
        let wanted = |service: &InstalledService| {
            let size = self.datapath.ring_size(service);
            let ring = |environment| maglev::ring(size, &self.takers(at, service, environment));
            let live = ring(aim.live);
            let slots = match aim.share {
                0 => live,
                share => maglev::mix(&live, &ring(aim.live.other()), share),
            };
            Wanted { service: service.clone(), slots }
        };
        services.iter().map(wanted).collect()
    }

    /// Backends of an environment that take new connections, or all of them if none may.
    fn takers(
        &self,
        at: usize,
        service: &InstalledService,
        environment: Environment,
    ) -> Vec<InstalledBackend> {
        let all = members(service, environment);
        let named =
            self.named(at, self.datapath.control(self.deployments[at].installed.index).current().slot);
        let usable = |b: &&InstalledBackend| self.usable(b.id, named.contains(&b.id));
        let takers: Vec<_> = all.iter().filter(usable).copied().collect();
        // Someone has to take them; who weighs nothing comes last.
        match (takers.iter().any(|b| b.weight > 0), all.iter().any(|b| b.weight > 0)) {
            (true, _) => takers,
            (false, true) => all,
            (false, false) => all.into_iter().map(|b| InstalledBackend { weight: 1, ..b }).collect(),
        }
    }

    /// Whether a backend may take new connections. One of which nothing is known yet may if it already
    /// does.
    pub(super) fn usable(&self, id: BackendId, named: bool) -> bool {
        self.backends.get(id).is_some_and(|backend| !backend.dead && backend.healthy().unwrap_or(named))
    }

    /// Whether the rings in a slot are the wanted ones.
    pub(super) fn holds(&self, slot: u8, wanted: &[Wanted]) -> bool {
        wanted.iter().all(|wanted| self.datapath.ring(&wanted.service, slot) == wanted.slots)
    }

    /// Where the rings for `live` are: in base, if it leads there and they are the same; else they are written
    /// into the slot that no word names.
    ///
    /// # Errors
    /// When a processor may still use that slot, and the kernel refuses the barrier.
    pub(super) fn place(
        &mut self,
        control: Control,
        live: Environment,
        wanted: &[Wanted],
    ) -> Result<Ring, Error> {
        let base = control.base();
        if base.environment == live && self.holds(base.slot, wanted) {
            return Ok(base);
        }
        if self.grace_due {
            self.datapath.grace()?;
            self.grace_due = false;
        }
        let slot = rollout::spare(control);
        for wanted in wanted {
            self.book.ring_changed(wanted.service.id, slot);
            self.datapath.write_ring(&wanted.service, slot, &wanted.slots);
        }
        Ok(Ring { slot, environment: live })
    }

    /// Lets the way to the environment that is not live follow: the rings that go with these. Whatever goes by them
    /// is pinned, so that they are written in place, and no word is stored for it.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub(super) fn lead_idle(&mut self, at: usize, rings: &[Ring]) -> Result<(), Error> {
        let mut changed = false;
        for service in self.deployments[at].installed.services.clone() {
            if !self.datapath.has_idle(&service) {
                continue;
            }
            let size = self.datapath.ring_size(&service);
            for ring in rings {
                let wanted = maglev::ring(size, &self.takers(at, &service, ring.environment.other()));
                if self.datapath.idle_ring(&service, ring.slot) != wanted {
                    self.datapath.write_idle_ring(&service, ring.slot, &wanted);
                    changed = true;
                }
            }
        }
        // From here on nobody goes by what was there, so that whoever has left can be seen off.
        if changed { self.datapath.grace().map(drop) } else { Ok(()) }
    }

    /// Backends that the rings which go with a slot name: those of the environment that is not live.
    pub(super) fn named_idle(&self, at: usize, slot: u8) -> BTreeSet<BackendId> {
        let services = self.deployments[at].installed.services.iter();
        services
            .filter(|service| self.datapath.has_idle(service))
            .flat_map(|service| self.datapath.idle_ring(service, slot))
            .collect()
    }

    /// Backends that the rings in a slot name.
    pub(super) fn named(&self, at: usize, slot: u8) -> BTreeSet<BackendId> {
        let services = &self.deployments[at].installed.services;
        services
            .iter()
            .flat_map(|service| self.datapath.ring(service, slot))
            .filter(|id| *id != NO_BACKEND)
            .collect()
    }

    /// Gives the slots of a dead backend in a ring that the word names to the others of it, in place. `false`:
    /// it has none there, or there is nobody else.
    pub(super) fn give_away(&mut self, service: &InstalledService, slot: u8, dead: BackendId) -> bool {
        let mut slots = self.datapath.ring(service, slot);
        let environment = service.backends.iter().find(|b| b.id == dead).map(|b| b.environment);
        let heirs: Vec<_> = service
            .backends
            .iter()
            .filter(|b| b.id != dead && Some(b.environment) == environment && slots.contains(&b.id))
            .map(|b| InstalledBackend { weight: b.weight.max(1), ..*b })
            .collect();
        if heirs.is_empty() || !slots.contains(&dead) {
            return false;
        }
        let fresh = maglev::ring(slots.len() as u32, &heirs);
        for (slot, heir) in slots.iter_mut().zip(fresh) {
            if *slot == dead {
                *slot = heir;
            }
        }
        self.book.ring_changed(service.id, slot);
        self.datapath.write_ring(service, slot, &slots);
        true
    }
}

/// A service's backends in an environment, those that are leaving left out.
pub(super) fn members(service: &InstalledService, environment: Environment) -> Vec<InstalledBackend> {
    let member = |backend: &&InstalledBackend| backend.environment == environment && !backend.leaving;
    service.backends.iter().filter(member).copied().collect()
}

/// Every backend of a deployment that the configuration names.
pub(super) fn all_members(deployment: &Managed) -> impl Iterator<Item = &InstalledBackend> {
    deployment.backends().filter(|backend| !backend.leaving)
}
