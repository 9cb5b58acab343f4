//! After a reboot: the deployments as the journal knows them. The hash key, the numbers of services and
//! backends and the rings come back as they were, because recomputing any of them would move connections.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::BackendId;
use bg_common::control::{Control, Environment, Phase};
use tracing::{info, warn};

use super::directory::Directory;
use super::entries::Numbers;
use super::install::write_ring;
use super::maps::Maps;
use super::{Error, clock};
use crate::config;
use crate::journal::{DeploymentRecord, Journal, Record, RingId};

/// What the journal knows.
pub(super) struct Past<'j> {
    journal: &'j Journal,
    record: Option<&'j Record>,
}

/// What it knows of one deployment that is to be served as before.
pub(super) struct Before<'j> {
    journal: &'j Journal,
    record: &'j DeploymentRecord,
}

impl<'j> Past<'j> {
    pub(super) fn new(journal: &'j Journal, record: Option<&'j Record>) -> Self {
        Self { journal, record }
    }

    /// The hash key.
    pub(super) fn key(&self) -> Option<[u64; 4]> {
        self.record.map(|record| record.key)
    }

    fn record(&self, name: &str) -> Option<&'j DeploymentRecord> {
        self.record?.deployments.iter().find(|deployment| deployment.name == name)
    }

    /// A deployment, if its services are what they were; backends may be others, which is a switch later on.
    pub(super) fn of(&self, name: &str, wanted: &config::Deployment) -> Option<Before<'j>> {
        let record = self.record(name)?;
        let same = record.services.len() == wanted.services.len()
            && record.services.iter().all(|old| {
                wanted
                    .services
                    .get(&old.name)
                    .is_some_and(|new| new.vip == old.vip && new.ring_size == old.ring_size)
            });
        if !same {
            warn!(
                deployment = name,
                "its services are others than before, so that its connections cannot be kept; its live environment stays"
            );
        }
        same.then_some(Before { journal: self.journal, record })
    }

    /// The environment that is live in a deployment that cannot be restored.
    pub(super) fn live(&self, name: &str) -> Environment {
        self.record(name).map_or(Environment::Blue, |record| Control(record.word).current().environment)
    }
}

impl Before<'_> {
    pub(super) fn index(&self) -> u16 {
        self.record.index
    }

    /// Writes the rings that the last word names. Returns the word to begin with: a seal is over, and what
    /// was only intended does not happen late.
    pub(super) fn restore_rings(&self, maps: &Maps, directory: &Directory<'_>) -> Result<Control, Error> {
        let old = Control(self.record.word);
        for deployment in directory.installed().iter().filter(|d| d.index == self.record.index) {
            for service in &deployment.services {
                let Some(record) = self.record.services.iter().find(|r| r.name == service.name) else {
                    continue;
                };
                let Some(entry) = maps.services.read(service.entry as usize) else { continue };
                for slot in [old.base().slot, old.current().slot] {
                    let ring = self.ring(&service.name, record.rings.get(usize::from(slot)))?;
                    write_ring(maps, &entry, slot, &ring);
                }
                for backend in record.backends.iter().filter(|backend| backend.dead) {
                    if let Some(entry) = maps.backends.get(backend.id.into()) {
                        entry.dead.store(1, SeqCst);
                    }
                }
            }
        }
        let phase = if old.phase() == Phase::Steady { Phase::Steady } else { Phase::Drain };
        info!(deployment = self.record.name, ?phase, "restored as before the reboot");
        Ok(Control::new(phase, old.base(), old.current(), 0, old.epoch().wrapping_add(1)))
    }

    fn ring(&self, service: &str, id: Option<&Option<RingId>>) -> Result<Vec<BackendId>, Error> {
        let Some(Some(id)) = id else {
            return Err(Error::Mismatch {
                what: format!("the journal has no ring for service `{service}`"),
                help: "move the journal away to start anew; connections that are open are lost then"
                    .to_owned(),
            });
        };
        Ok(self.journal.load_ring(id)?)
    }

    /// What the agent has to know of the deployment. The clocks that a reboot has stopped start anew, but the
    /// deadline is absolute.
    pub(super) fn restore_ledger(&self, maps: &Maps, control: Control) {
        let Some(mut ledger) = maps.ledger.read(self.record.index.into()) else { return };
        ledger.motive = self.record.motive;
        ledger.share = self.record.share.into();
        ledger.deadline_at = clock::to_monotonic(self.record.deadline_at);
        ledger.cleared_epoch = control.epoch();
        maps.ledger.put(self.record.index.into(), ledger);
    }
}

impl Numbers for Before<'_> {
    fn service(&self, name: &str) -> Option<u16> {
        self.record.services.iter().find(|service| service.name == name).map(|service| service.id)
    }

    fn backends(&self, name: &str) -> Vec<(BackendId, Environment, SocketAddr)> {
        let service = self.record.services.iter().find(|service| service.name == name);
        let backends = service.into_iter().flat_map(|service| &service.backends);
        backends.map(|backend| (backend.id, backend.environment, backend.address)).collect()
    }
}
