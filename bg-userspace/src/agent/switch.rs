//! Switches: a flip, a rollback, a change inside the live environment, a dead backend. All of them write
//! rings that no word names first, then store one word, then wait for a grace period.

use std::collections::BTreeSet;
use std::time::Duration;

use bg_common::abi::{BackendId, NO_BACKEND};
use bg_common::control::{Control, Environment, Phase, Ring};
use tracing::{info, warn};

use super::{Agent, alarm, finish};
use crate::api::types;
use crate::datapath::{Error, InstalledBackend, InstalledService, Stored, clock};
use crate::maglev;
use crate::rollout::{self, Change, Facts, Motive, Share, Verdict};

/// How a switch went.
pub(super) struct Switched {
    pub(super) stored: Stored,
    pub(super) grace: Duration,
    pub(super) control: Control,
}

impl Agent {
    /// What the guards look at, for making `to` live in deployment `at`.
    pub(super) fn facts(&self, at: usize, to: Environment, force: &[String]) -> Facts {
        let deployment = &self.deployments[at];
        let index = deployment.installed.index;
        let health = deployment
            .installed
            .services
            .iter()
            .map(|service| {
                let members = members(service, to);
                let healthy = |b: &&InstalledBackend| {
                    self.backends.get(b.id).is_some_and(super::backends::Backend::fresh_and_healthy)
                };
                let worst = members.iter().find(|b| !healthy(b)).map(|b| {
                    let complaint = self.backends.get(b.id).and_then(super::backends::Backend::complaint);
                    format!("{}: {}", b.address, complaint.unwrap_or_default())
                });
                Share {
                    service: service.name.clone(),
                    healthy: members.iter().filter(healthy).count() as u32,
                    total: members.len() as u32,
                    worst,
                }
            })
            .collect();
        Facts {
            control: self.datapath.control(index),
            health,
            min_healthy: deployment.config.gate.min_healthy,
            syn_memory_complete_in: self.syn_memory_complete_in(index),
            syn_memory_rate: self.datapath.false_positive_rate(index),
            force: force.to_vec(),
        }
    }

    /// How long until the SYN memory covers a whole SYN lifetime.
    pub(super) fn syn_memory_complete_in(&self, index: u16) -> Duration {
        let age = clock::monotonic().saturating_sub(self.datapath.ledger(index).loaded_at);
        self.config.node.syn_lifetime.saturating_sub(Duration::from_nanos(age))
    }

    /// Makes `to` live for new connections. The guards have agreed.
    pub(super) fn switch(&mut self, at: usize, to: Environment, motive: Motive) -> Result<Switched, Error> {
        let index = self.deployments[at].installed.index;
        let control = self.datapath.control(index);
        let rings = self.rings(at, to);
        let current = self.place(at, control, to, &rings);
        let deadline = self.deployments[at].config.drain.deadline;
        let overflow = self.overflow(at, control.current().environment)?;
        let now = clock::monotonic();
        self.datapath.note(index, |ledger| {
            ledger.motive = motive.to_ledger();
            if motive != Motive::Inner {
                ledger.switched_at = now;
                ledger.deadline_at = deadline.map_or(0, |deadline| now + deadline.as_nanos() as u64);
                ledger.overflow_at_switch = overflow;
            }
        });
        let control = rollout::switch_to(control, current);
        let stored = self.datapath.store(index, control);
        let grace = self.datapath.grace()?;
        Ok(Switched { stored, grace, control })
    }

    /// The rings that `to` should have: over its usable backends, or over all where none is.
    fn rings(&self, at: usize, to: Environment) -> Vec<(InstalledService, Vec<InstalledBackend>)> {
        let services = &self.deployments[at].installed.services;
        services
            .iter()
            .map(|service| {
                let all = members(service, to);
                let usable: Vec<_> = all.iter().filter(|b| self.usable(b.id, false)).copied().collect();
                (service.clone(), if usable.is_empty() { all } else { usable })
            })
            .collect()
    }

    /// Where those rings are: in base, if it leads there and names the same backends; else they are written
    /// into the slot that no word names.
    fn place(
        &self,
        at: usize,
        control: Control,
        to: Environment,
        rings: &[(InstalledService, Vec<InstalledBackend>)],
    ) -> Ring {
        let base = control.base();
        let wanted: BTreeSet<BackendId> =
            rings.iter().flat_map(|(_, backends)| backends).map(|b| b.id).collect();
        if base.environment == to && self.named(at, base.slot) == wanted {
            return base;
        }
        let slot = rollout::spare(control);
        for (service, backends) in rings {
            let ring = maglev::ring(self.datapath.ring_size(service), backends);
            self.datapath.write_ring(service, slot, &ring);
        }
        Ring { slot, environment: to }
    }

    /// Backends that the rings in a slot name.
    fn named(&self, at: usize, slot: u8) -> BTreeSet<BackendId> {
        let services = &self.deployments[at].installed.services;
        services
            .iter()
            .flat_map(|service| self.datapath.ring(service, slot))
            .filter(|id| *id != NO_BACKEND)
            .collect()
    }

    /// Whether a backend may take new connections. One of which nothing is known yet may if it already
    /// does.
    fn usable(&self, id: BackendId, named: bool) -> bool {
        self.backends.get(id).is_some_and(|backend| !backend.dead && backend.healthy().unwrap_or(named))
    }

    /// Connections that entered an environment because no pin could be written, since the first load.
    pub(super) fn overflow(&self, at: usize, environment: Environment) -> Result<u64, Error> {
        let services = &self.deployments[at].installed.services;
        services.iter().map(|s| Ok(self.datapath.counter(s.id, environment)?.overflow)).sum()
    }

    /// Lets the rings follow the health of the backends.
    pub(super) fn follow_health(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            self.bury_and_raise(at)?;
            self.follow_health_of(at)?;
        }
        Ok(())
    }

    fn follow_health_of(&mut self, at: usize) -> Result<(), Error> {
        let installed = &self.deployments[at].installed;
        let control = self.datapath.control(installed.index);
        if control.phase() == Phase::Off {
            return Ok(());
        }
        let live = control.current().environment;
        let current = self.named(at, control.current().slot);
        let usable = |service: &InstalledService| -> Vec<BackendId> {
            members(service, live)
                .iter()
                .map(|b| b.id)
                .filter(|id| self.usable(*id, current.contains(id)))
                .collect()
        };
        let per_service: Vec<_> = installed.services.iter().map(usable).collect();
        let (failing, total) = self.failing(at);
        let facts = Change {
            every_service: per_service.iter().all(|ids| !ids.is_empty()),
            usable: per_service.into_iter().flatten().collect(),
            current,
            failing,
            total,
        };
        match rollout::change(&facts) {
            Verdict::Nothing => alarm(&mut self.deployments[at], None),
            Verdict::Alarm(text) => alarm(&mut self.deployments[at], Some(text)),
            Verdict::Rings => {
                alarm(&mut self.deployments[at], None);
                let motive = match self.deployments[at].motive(&self.datapath) {
                    Motive::None | Motive::Inner => Motive::Inner,
                    // The drain that is going on stays what it is.
                    other => other,
                };
                self.change_rings(at, live, &facts.usable, motive)?;
            }
        }
        Ok(())
    }

    fn change_rings(
        &mut self,
        at: usize,
        live: Environment,
        usable: &BTreeSet<BackendId>,
        motive: Motive,
    ) -> Result<(), Error> {
        let index = self.deployments[at].installed.index;
        let control = self.datapath.control(index);
        let rings: Vec<_> = self.deployments[at]
            .installed
            .services
            .iter()
            .map(|s| (s.clone(), members(s, live).into_iter().filter(|b| usable.contains(&b.id)).collect()))
            .collect();
        let current = self.place(at, control, live, &rings);
        self.datapath.note(index, |ledger| ledger.motive = motive.to_ledger());
        self.datapath.store(index, rollout::switch_to(control, current));
        self.datapath.grace()?;
        let count = match usable.len() {
            1 => "1 backend".to_owned(),
            count => format!("{count} backends"),
        };
        finish(
            &mut self.deployments[at],
            format!("new connections of the live environment go to {count} now"),
        );
        Ok(())
    }

    /// Backends of a deployment that fail, and all of them.
    fn failing(&self, at: usize) -> (usize, usize) {
        let ids: Vec<_> =
            self.deployments[at].installed.services.iter().flat_map(|s| &s.backends).map(|b| b.id).collect();
        let failing =
            ids.iter().filter(|id| self.backends.get(**id).is_some_and(|b| b.healthy() == Some(false)));
        (failing.count(), ids.len())
    }

    /// Backends that have been refused for long enough are dead: their pins are void, and their slots are
    /// given to others in place, because nobody else could serve their connections. One that answers again
    /// is raised.
    fn bury_and_raise(&mut self, at: usize) -> Result<(), Error> {
        let (failing, total) = self.failing(at);
        let services = self.deployments[at].installed.services.clone();
        let control = self.datapath.control(self.deployments[at].installed.index);
        for service in &services {
            for backend in &service.backends {
                let Some(known) = self.backends.get(backend.id) else { continue };
                if known.dead && known.healthy() == Some(true) {
                    info!(backend = %backend.address, "backend is back from the dead");
                    self.datapath.mark_dead(backend.id, false);
                    self.backends.set_dead(backend.id, false);
                } else if !known.dead && known.should_be_dead() && failing * 2 <= total {
                    warn!(backend = %backend.address, "backend is dead: its connections cannot be kept");
                    self.backends.set_dead(backend.id, true);
                    self.datapath.mark_dead(backend.id, true);
                    let mut slots = vec![control.base(), control.current()];
                    slots.dedup();
                    for ring in slots {
                        self.give_away(service, ring, backend.id);
                    }
                    self.datapath.grace()?;
                }
            }
        }
        Ok(())
    }

    /// Gives the slots of a dead backend in a live ring to the others of that ring's environment.
    fn give_away(&self, service: &InstalledService, ring: Ring, dead: BackendId) {
        let mut slots = self.datapath.ring(service, ring.slot);
        let named: BTreeSet<_> = slots.iter().copied().filter(|id| *id != dead).collect();
        let heirs: Vec<_> =
            members(service, ring.environment).into_iter().filter(|b| named.contains(&b.id)).collect();
        if heirs.is_empty() || !slots.contains(&dead) {
            return;
        }
        let fresh = maglev::ring(slots.len() as u32, &heirs);
        for (slot, heir) in slots.iter_mut().zip(fresh) {
            if *slot == dead {
                *slot = heir;
            }
        }
        self.datapath.write_ring(service, ring.slot, &slots);
    }
}

/// A service's backends in an environment.
pub(super) fn members(service: &InstalledService, environment: Environment) -> Vec<InstalledBackend> {
    service.backends.iter().filter(|backend| backend.environment == environment).copied().collect()
}

/// As the API says it.
pub(super) fn environment(environment: Environment) -> types::Environment {
    match environment {
        Environment::Blue => types::Environment::Blue,
        Environment::Green => types::Environment::Green,
    }
}
