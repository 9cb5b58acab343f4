//! Switches between environments: a flip, a share of one, a rollback. Rings that no word names are written
//! first, then one word is stored, then nothing more happens before a grace period is over.

use std::time::Duration;

use bg_common::control::Environment;

use super::Agent;
use super::commit::{Done, Step, Unwritten};
use super::rings::{Aim, members};
use crate::api::{Who, types};
use crate::datapath::{Error, InstalledBackend, clock};
use crate::journal::Outcome;
use crate::rollout::{self, Facts, Fitness, JOURNAL, Motive};

/// A switch that the guards have agreed to.
pub(super) struct Switch<'a> {
    /// Where new connections go from then on.
    pub(super) aim: Aim,
    /// What it is.
    pub(super) motive: Motive,
    /// Who wants it.
    pub(super) who: &'a Who,
    /// What it is called.
    pub(super) what: String,
    /// Why it is wanted.
    pub(super) reason: Option<&'a str>,
    /// Guards that are overridden.
    pub(super) force: &'a [String],
}

impl Agent {
    /// What the guards look at, for making `to` live in deployment `at`.
    pub(super) fn facts(&self, at: usize, to: Environment, force: &[String]) -> Facts {
        let deployment = &self.deployments[at];
        let index = deployment.installed.index;
        let mut bypassing = Vec::new();
        let health = deployment
            .installed
            .services
            .iter()
            .map(|service| {
                let members = members(service, to);
                bypassing.extend(
                    members.iter().filter(|b| self.paths.bypasses(b.id)).map(|b| b.address.to_string()),
                );
                let healthy = |b: &&InstalledBackend| {
                    self.backends.get(b.id).is_some_and(super::backends::Backend::fresh_and_healthy)
                };
                let worst = members.iter().find(|b| !healthy(b)).map(|b| {
                    let complaint = self.backends.get(b.id).and_then(super::backends::Backend::complaint);
                    format!("{}: {}", b.address, complaint.unwrap_or_default())
                });
                Fitness {
                    service: service.name.clone(),
                    healthy: members.iter().filter(healthy).count() as u32,
                    total: members.len() as u32,
                    worst,
                }
            })
            .collect();
        Facts {
            control: self.datapath.control(index),
            share: self.share(at),
            health,
            bypassing,
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

    /// Carries out a switch.
    ///
    /// # Errors
    /// [`Error::Journal`] when it could not be written down, and nothing has changed then; any other when
    /// the kernel refuses.
    pub(super) fn switch(&mut self, at: usize, switch: &Switch<'_>) -> Result<Done, Error> {
        let name = self.deployments[at].installed.name.clone();
        let control = self.datapath.control(self.deployments[at].installed.index);
        let wanted = self.wanted(at, switch.aim);
        let current = self.place(control, switch.aim.live, &wanted)?;
        self.lead_idle(at, &[current])?;
        let entry = self.book.begin(&name, Some(switch.who), &switch.what, switch.reason, control.epoch());
        let step = Step {
            control: rollout::switch_to(control, current),
            motive: switch.motive,
            share: switch.aim.share,
            switches: true,
            entry: Some(entry),
            unwritten: if switch.force.iter().any(|guard| guard == JOURNAL) {
                Unwritten::GoOn
            } else {
                Unwritten::Refuse
            },
        };
        let done = self.commit(at, &step);
        if let Err(error) = &done {
            self.end_entry(entry, Outcome::Failed, &error.to_string());
        }
        done
    }

    /// Connections that entered an environment because no pin could be written, since the first load.
    pub(super) fn overflow(&self, at: usize, environment: Environment) -> Result<u64, Error> {
        let services = &self.deployments[at].installed.services;
        services.iter().map(|s| Ok(self.datapath.counter(s.id, environment)?.overflow)).sum()
    }
}

/// As the API says it.
pub(super) fn environment(environment: Environment) -> types::Environment {
    match environment {
        Environment::Blue => types::Environment::Blue,
        Environment::Green => types::Environment::Green,
    }
}
