//! The way to the environment that is not live: rings of their own, the preview that leads there, and the clients
//! that are testers.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};
use bg_common::abi::{BackendId, Endpoint, NO_BACKEND, Service, affinity, entry, tester, views};
use bg_common::control::RING_SLOTS;
use bg_common::ring;

use super::directory::{address, full};
use super::entries::{Entries, service_name};
use super::{Datapath, Deployment, Error, InstalledService};
use crate::config::Prefix;

/// UDP.
const UDP: u8 = 17;

impl Entries<'_> {
    /// A service by its number.
    pub(super) fn numbered(&self, id: u16) -> Option<Service> {
        let name = self.maps.names.read(id.into()).filter(|name| name.name[0] != 0)?;
        self.maps.services.read(name.entry as usize)
    }

    /// The preview of a service.
    pub(super) fn preview_of(&self, id: u16) -> Option<Service> {
        let name = self.maps.names.iter().find(|name| name.name[0] != 0 && name.preview_of == id + 1)?;
        self.maps.services.read(name.entry as usize)
    }

    /// Gives a service rings that lead to the environment that is not live; nobody is in them yet.
    pub(super) fn add_idle(&self, at: u32, name: &str) -> Result<u32, Error> {
        let Some(service) = self.maps.services.read(at as usize) else { return Ok(0) };
        if service.idle_base != 0 {
            return Ok(service.idle_base);
        }
        let base = self.ring_base(service.ring_stride, name)?;
        let nobody = ring::pack(&[NO_BACKEND; ring::SLOTS_PER_ELEMENT as usize]).next().unwrap_or(u64::MAX);
        for i in 0..service.ring_stride * u32::from(RING_SLOTS) {
            if let Some(word) = self.maps.rings.get((base + i) as usize) {
                word.store(nobody, SeqCst);
            }
        }
        self.maps.services.put(at as usize, Service { idle_base: base, ..service });
        Ok(base)
    }

    /// Installs the preview of a service. Its number comes from the other end, so that it takes none that a
    /// deployment had before.
    pub(super) fn add_preview(
        &self,
        service: &Service,
        at: u32,
        name: &str,
        vip: SocketAddr,
    ) -> Result<(), Error> {
        let base = self.add_idle(at, name)?;
        let free = |at: &usize| self.maps.names.read(*at).is_some_and(|name| name.name[0] == 0);
        let id =
            (0..self.maps.names.len()).rev().find(free).ok_or_else(|| full("NAMES", name, "services"))?;
        let preview = Service {
            vip: address(vip.ip()),
            port: vip.port().to_be_bytes(),
            id: id as u16,
            ring_base: base,
            idle_base: 0,
            views: views::PINNED,
            // Its flows are told by their pins.
            affinity: service.affinity | if service.protocol == UDP { affinity::FLOW } else { 0 },
            ..*service
        };
        let at = self.add_service(preview, name)?;
        self.add_vip(preview, name)?;
        self.maps.names.put(id, service_name(name, at, service.deployment, service.id + 1));
        Ok(())
    }
}

impl Datapath {
    /// Whether some of a service's flows are pinned in every phase.
    #[must_use]
    pub fn pins_always(&self, service: &InstalledService) -> bool {
        let views = self.maps.services.read(service.entry as usize).map_or(0, |entry| entry.views);
        service.preview.is_some() || views != 0
    }

    /// Whether a service has rings that lead to the environment that is not live.
    #[must_use]
    pub fn has_idle(&self, service: &InstalledService) -> bool {
        self.maps.services.read(service.entry as usize).is_some_and(|entry| entry.idle_base != 0)
    }

    /// The one that goes with a ring slot.
    #[must_use]
    pub fn idle_ring(&self, service: &InstalledService, slot: u8) -> Vec<BackendId> {
        let Some(entry) = self.maps.services.read(service.entry as usize) else { return Vec::new() };
        let backend = |i| ring::idle(&self.maps, &entry, slot, i).unwrap_or(NO_BACKEND);
        (0..entry.ring_size).map(backend).collect()
    }

    /// Writes it. Whatever goes by it is pinned, so that it may be written at any time.
    pub fn write_idle_ring(&self, service: &InstalledService, slot: u8, backends: &[BackendId]) {
        if let Some(entry) =
            self.maps.services.read(service.entry as usize).filter(|entry| entry.idle_base != 0)
        {
            let idle = Service { ring_base: entry.idle_base, ..entry };
            super::install::write_ring(&self.maps, &idle, slot, backends);
        }
    }

    /// Gives the services of a deployment what its testers need.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn add_idle(&self, deployment: &Deployment, testers: &[Prefix]) -> Result<(), Error> {
        for service in deployment.services.iter().filter(|_| !testers.is_empty()) {
            Entries::new(&self.maps).add_idle(service.entry, &service.name)?;
        }
        Ok(())
    }

    /// Lets these clients be the testers of a deployment. Those that were and are not any more keep the connections
    /// that they have.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn set_testers(&mut self, deployment: &Deployment, wanted: &[Prefix]) -> Result<(), Error> {
        let wanted: Vec<_> = wanted.iter().map(|prefix| key(deployment.index, prefix)).collect();
        for held in self.testers.of(deployment.index)? {
            if !wanted.iter().any(|wanted| same(wanted, &held)) {
                self.testers.put(&held, tester::ONCE)?;
            }
        }
        for key in &wanted {
            self.testers.put(key, tester::NOW)?;
        }
        self.look_for_testers(deployment)
    }

    /// Forgets testers that were, once none of their connections is pinned any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forget_testers(&mut self, deployment: &Deployment) -> Result<(), Error> {
        let former = self.testers.former(deployment.index)?;
        if former.is_empty() {
            return Ok(());
        }
        // Nobody works with a look at the table from before.
        self.grace.wait()?;
        if self.pins(deployment.index, 0).testers > 0 {
            return Ok(());
        }
        for key in former {
            self.testers.remove(&key)?;
        }
        self.look_for_testers(deployment)
    }

    /// The program asks for testers only where there are any. Replies are looked at first, and last.
    fn look_for_testers(&self, deployment: &Deployment) -> Result<(), Error> {
        let any = !self.testers.of(deployment.index)?.is_empty();
        let with = |bits: u8| if any { bits | views::TESTERS } else { bits & !views::TESTERS };
        let services = || {
            for service in &deployment.services {
                let at = service.entry as usize;
                if let Some(entry) = self.maps.services.read(at) {
                    self.maps.services.put(at, Service { views: with(entry.views), ..entry });
                }
            }
        };
        if !any {
            services();
        }
        for at in 0..self.maps.endpoints.len() {
            let Some(held) = self.maps.endpoints.read(at).filter(|held| held.state == entry::USED) else {
                continue;
            };
            if deployment.services.iter().any(|service| service.id == held.service) {
                self.maps.endpoints.put(at, Endpoint { views: with(held.views), ..held });
            }
        }
        if any {
            services();
        }
        Ok(())
    }
}

/// A key of `TESTERS`.
type TesterKey = Key<[u8; tester::KEY]>;

fn key(deployment: u16, prefix: &Prefix) -> TesterKey {
    let mapped = if prefix.address.is_ipv4() { 96 } else { 0 };
    Key::new(16 + mapped + u32::from(prefix.length), tester::key(deployment, &address(prefix.address)))
}

fn same(a: &TesterKey, b: &TesterKey) -> bool {
    (a.prefix_len(), a.data()) == (b.prefix_len(), b.data())
}

/// `TESTERS`.
pub(super) struct Testers {
    trie: LpmTrie<MapData, [u8; tester::KEY], u8>,
}

fn fail(act: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Map { name: "TESTERS", act, source: source.into() }
}

impl Testers {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("TESTERS").ok_or_else(|| fail("looking it up", "it is not there"))?;
        match map {
            Map::LpmTrie(_) => {
                Ok(Self { trie: map.try_into().map_err(|e: aya::maps::MapError| fail("opening", e))? })
            }
            _ => Err(fail("looking it up", "it is no prefix table")),
        }
    }

    /// The prefixes of a deployment.
    fn of(&self, deployment: u16) -> Result<Vec<TesterKey>, Error> {
        let all: Vec<_> = self.trie.keys().collect::<Result<_, _>>().map_err(|e| fail("reading", e))?;
        Ok(all.into_iter().filter(|key| key.data()[..2] == deployment.to_be_bytes()).collect())
    }

    fn former(&self, deployment: u16) -> Result<Vec<TesterKey>, Error> {
        let mut former = Vec::new();
        for key in self.of(deployment)? {
            if self.trie.get(&key, 0).map_err(|e| fail("reading", e))? == tester::ONCE {
                former.push(key);
            }
        }
        Ok(former)
    }

    fn put(&mut self, key: &TesterKey, value: u8) -> Result<(), Error> {
        self.trie.insert(key, value, 0).map_err(|e| fail("adding a prefix", e))
    }

    fn remove(&mut self, key: &TesterKey) -> Result<(), Error> {
        self.trie.remove(key).map_err(|e| fail("removing a prefix", e))
    }
}
