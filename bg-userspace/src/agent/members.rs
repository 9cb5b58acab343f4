//! Another configuration for a running agent: backends that join, leave, or get another weight. Nothing
//! here moves a connection; the rings follow afterwards, as a switch inside the environment.

use std::time::Instant;

use bg_common::abi::BackendId;
use bg_common::control::Environment;
use tracing::info;

use super::{Agent, Managed};
use crate::config::{self, Config, Prefix};
use crate::datapath::{Datapath, Deployment, Error, InstalledBackend, wanted_backends};
use crate::journal::Outcome;

/// What a new configuration asks for that takes more than a reload, if it does.
fn needs_restart(agent: &Agent, config: &Config) -> Option<String> {
    if config.node != agent.config.node {
        return Some("[node] is another: restart bgd, traffic goes on meanwhile".to_owned());
    }
    if config.limits != agent.config.limits {
        return Some("[limits] are others: they are fixed at the first load".to_owned());
    }
    for deployment in &agent.deployments {
        let name = &deployment.installed.name;
        let Some(wanted) = config.deployments.get(name) else {
            return Some(format!("deployment `{name}` is gone: that takes `bgd detach`, and traffic stops"));
        };
        if let Some(what) = agent.datapath.difference(&deployment.installed, wanted) {
            return Some(format!(
                "in deployment `{name}`, {what}: that takes `bgd detach`, and traffic stops"
            ));
        }
    }
    let new = config.deployments.keys().find(|name| agent.find(name).is_none())?;
    Some(format!("deployment `{new}` is new: restart bgd, traffic goes on meanwhile"))
}

impl Agent {
    /// Takes over a configuration that is valid in itself. Returns what has changed in which deployment, in
    /// sentences.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub(super) fn take_over(&mut self, config: Config) -> Result<Vec<(usize, String)>, Refused> {
        if let Some(why) = needs_restart(self, &config) {
            return Err(Refused::Restart(why));
        }
        let mut added = Vec::new();
        for deployment in &mut self.deployments {
            let Some(wanted) = config.deployments.get(&deployment.installed.name) else { continue };
            let joined = join(&self.datapath, &mut deployment.installed, wanted, &mut added);
            let ready = joined.and_then(|()| self.datapath.add_idle(&deployment.installed, &wanted.testers));
            if let Err(error) = ready {
                for id in added {
                    self.drop_backend(id)?;
                }
                return Err(error.into());
            }
        }
        let mut changes = Vec::new();
        for (at, deployment) in self.deployments.iter_mut().enumerate() {
            if let Some(wanted) = config.deployments.get(&deployment.installed.name) {
                let before = deployment.installed.clone();
                deployment.installed.follow(wanted);
                let sentences = differences(&before, &deployment.installed, &added);
                changes.extend(sentences.into_iter().map(|sentence| (at, sentence)));
                let (before, after) = (&deployment.config.testers, &wanted.testers);
                changes.extend((before != after).then(|| (at, testers(before, after))));
                deployment.config = wanted.clone();
            }
        }
        self.config = config;
        self.renew_checks();
        self.renew_testers()?;
        // Whatever a ring will name must be known after a reboot.
        self.note_down();
        // The rings follow at once; who joins is waited for until its checks pass.
        self.follow()?;
        Ok(changes)
    }

    /// Lets the clients be testers that are configured. Their rings are there first.
    ///
    /// # Errors
    /// When a table is full, or the kernel refuses.
    pub(super) fn renew_testers(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            let Managed { installed, config, .. } = &self.deployments[at];
            let control = self.datapath.control(installed.index);
            self.datapath.add_idle(installed, &config.testers)?;
            self.lead_idle(at, &[control.base(), control.current()])?;
            let Managed { installed, config, .. } = &self.deployments[at];
            self.datapath.set_testers(installed, &config.testers)?;
        }
        Ok(())
    }

    /// Checks what is there now, with what is known already.
    fn renew_checks(&mut self) {
        let deployments: Vec<_> = self.deployments.iter().map(|d| d.installed.clone()).collect();
        self.backends.renew(&deployments, &self.config, &self.datapath);
        self.checker = (self.checks)(&deployments, &self.config);
    }

    /// Removes backends that are leaving and on which no connection can be any more: no ring that the word
    /// names leads to them, and no pin holds them.
    pub(super) fn see_off(&mut self) -> Result<(), Error> {
        if !self.deployments.iter().flat_map(Managed::backends).any(|backend| backend.leaving) {
            return Ok(());
        }
        let pinned = self.datapath.pinned_backends();
        let mut gone = Vec::new();
        for (at, deployment) in self.deployments.iter().enumerate() {
            let control = self.datapath.control(deployment.installed.index);
            let mut named = self.named(at, control.base().slot);
            named.extend(self.named(at, control.current().slot));
            named.extend(self.named_idle(at, control.base().slot));
            named.extend(self.named_idle(at, control.current().slot));
            for service in &deployment.installed.services {
                let free =
                    |b: &&InstalledBackend| b.leaving && !named.contains(&b.id) && !pinned.contains(&b.id);
                gone.extend(service.backends.iter().filter(free).map(|b| (at, service.name.clone(), *b)));
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        for (at, service, backend) in gone {
            self.drop_backend(backend.id)?;
            let name = self.deployments[at].installed.name.clone();
            let text = format!("{} has left {} of {service}", backend.address, backend.environment.name());
            info!(deployment = name, "{text}");
            let generation = self.datapath.control(self.deployments[at].installed.index).epoch();
            let entry = self.book.begin(&name, None, &text, None, generation);
            self.book.end(entry, Outcome::Done, "no connection is on it");
        }
        self.renew_checks();
        self.note_down();
        Ok(())
    }

    fn drop_backend(&mut self, id: BackendId) -> Result<(), Error> {
        self.datapath.remove_backend(id)?;
        self.paths.forget(id);
        for service in self.deployments.iter_mut().flat_map(|d| &mut d.installed.services) {
            service.backends.retain(|backend| backend.id != id);
        }
        Ok(())
    }

    /// Whether replies come back this way, backend by backend.
    pub(super) fn look_at_paths(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for deployment in &self.deployments {
            for backend in deployment.backends() {
                let Some(known) = self.backends.get(backend.id) else { continue };
                let healthy = known.healthy() == Some(true);
                let counted = self.datapath.backend_counter(backend.id)?;
                if self.paths.look(backend.id, counted, healthy, known.notice, now) {
                    if self.paths.bypasses(backend.id) {
                        tracing::warn!(backend = %backend.address, "its replies do not pass this node");
                    } else {
                        info!(backend = %backend.address, "its replies pass this node again");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It asks for more than a reload can do.
    #[error("{0}")]
    Restart(String),
    /// A table is full, or the kernel refuses.
    #[error(transparent)]
    Kernel(#[from] Error),
}

/// Adds the backends that the configuration names and that are not there yet. No ring names them yet.
pub(super) fn join(
    datapath: &Datapath,
    installed: &mut Deployment,
    wanted: &config::Deployment,
    added: &mut Vec<BackendId>,
) -> Result<(), Error> {
    for service in &mut installed.services {
        let Some(wanted) = wanted.services.get(&service.name) else { continue };
        for environment in [Environment::Blue, Environment::Green] {
            for new in wanted_backends(wanted, environment) {
                let same = |b: &InstalledBackend| b.environment == environment && b.address == new.address;
                if service.backends.iter().any(same) {
                    continue;
                }
                let id = datapath.add_backend(service, environment, new.address)?;
                added.push(id);
                service.backends.push(InstalledBackend {
                    id,
                    environment,
                    address: new.address,
                    weight: new.weight,
                    leaving: false,
                });
            }
        }
    }
    Ok(())
}

/// Who is a tester now, and who was one, in a sentence.
fn testers(before: &[Prefix], after: &[Prefix]) -> String {
    let missing = |here: &[Prefix], there: &[Prefix]| {
        let names = here.iter().filter(|prefix| !there.contains(prefix)).map(Prefix::to_string);
        names.collect::<Vec<_>>().join(", ")
    };
    let (new, gone) = (missing(after, before), missing(before, after));
    match (new.is_empty(), gone.is_empty()) {
        (false, true) => format!("testers now: {new}"),
        (true, false) => format!("no testers any more: {gone}; they keep the connections that they have"),
        _ => format!("testers now: {new}; no more: {gone}, who keep the connections that they have"),
    }
}

/// What is different now, in sentences.
fn differences(before: &Deployment, after: &Deployment, added: &[BackendId]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (old, new) in before.services.iter().zip(&after.services) {
        for (was, is) in old.backends.iter().zip(&new.backends) {
            let place = format!("{} of {}/{}", is.environment.name(), after.name, new.name);
            let sentence = if added.contains(&is.id) {
                format!("{} joins {place} as soon as its checks pass", is.address)
            } else if is.leaving && !was.leaving {
                format!("{} leaves {place}; it keeps the connections that it has", is.address)
            } else if was.leaving && !is.leaving {
                format!("{} stays in {place} after all", is.address)
            } else if was.weight != is.weight {
                format!("{} in {place} has weight {} now, before {}", is.address, is.weight, was.weight)
            } else {
                continue;
            };
            sentences.push(sentence);
        }
    }
    sentences
}
