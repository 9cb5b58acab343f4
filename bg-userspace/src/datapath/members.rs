//! Rings, and the backends that they lead to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{BackendCounter, BackendId, NO_BACKEND};
use bg_common::control::Environment;
use bg_common::pin::Hold;
use bg_common::ring;

use super::{Datapath, Error, InstalledService, directory, entries, install};

impl Datapath {
    /// The ring of a service in one of its ring slots.
    #[must_use]
    pub fn ring(&self, service: &InstalledService, slot: u8) -> Vec<BackendId> {
        let Some(entry) = self.maps.services.read(service.entry as usize) else { return Vec::new() };
        (0..entry.ring_size)
            .map(|i| ring::backend(&self.maps, &entry, slot, i).unwrap_or(NO_BACKEND))
            .collect()
    }

    /// Slots in a service's rings.
    #[must_use]
    pub fn ring_size(&self, service: &InstalledService) -> u32 {
        self.maps.services.read(service.entry as usize).map_or(0, |entry| entry.ring_size)
    }

    /// What the agent must know of a service's place in the tables.
    #[must_use]
    pub fn ring_base(&self, service: &InstalledService) -> u32 {
        self.maps.services.read(service.entry as usize).map_or(0, |entry| entry.ring_base)
    }

    /// Writes a service's ring into one of its ring slots. Every element is one store, so that packets see
    /// each slot before or after, never in between.
    pub fn write_ring(&self, service: &InstalledService, slot: u8, backends: &[BackendId]) {
        if let Some(entry) = self.maps.services.read(service.entry as usize) {
            install::write_ring(&self.maps, &entry, slot, backends);
        }
    }

    /// Adds a backend to a service. No ring names it yet.
    ///
    /// # Errors
    /// When a table is full, or the endpoint is still another backend's.
    pub fn add_backend(
        &self,
        service: &InstalledService,
        environment: Environment,
        address: SocketAddr,
    ) -> Result<BackendId, Error> {
        let Some(entry) = self.maps.services.read(service.entry as usize) else {
            return Err(directory::full("SERVICES", &service.name, "services"));
        };
        let id = entries::Entries::new(&self.maps).add_backend(&entry, environment, address)?;
        self.tunnels.set(&self.maps, id.into());
        Ok(id)
    }

    /// Removes a backend that no ring names and no pin holds.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn remove_backend(&mut self, backend: BackendId) -> Result<(), Error> {
        let entries = entries::Entries::new(&self.maps);
        entries.remove_endpoint(backend)?;
        self.grace.wait()?;
        entries.remove_backend(backend);
        Ok(())
    }

    /// Backends that some pin holds.
    #[must_use]
    pub fn pinned_backends(&self) -> BTreeSet<BackendId> {
        let pins = self.maps.pins.iter().flatten();
        pins.flat_map(|pin| [pin.half(), pin.established()]).flatten().map(Hold::backend).collect()
    }

    /// Marks a backend as dead, which voids its pins, or alive again.
    pub fn mark_dead(&self, backend: BackendId, dead: bool) {
        if let Some(backend) = self.maps.backends.get(backend.into()) {
            backend.dead.store(u64::from(dead), SeqCst);
        }
    }

    /// Whether a backend is marked dead.
    #[must_use]
    pub fn is_dead(&self, backend: BackendId) -> bool {
        self.maps.backends.get(backend.into()).is_some_and(|backend| backend.dead.load(SeqCst) != 0)
    }

    /// What was sent to a backend to open connections, and what it answered.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn backend_counter(&self, backend: BackendId) -> Result<BackendCounter, Error> {
        self.counters.backend(backend)
    }
}
