//! Writing the tables that say what there is: services, backends, endpoints, names. An entry is complete
//! before anything leads to it, and goes only when nothing does any more.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use bg_common::abi::{Address, Backend, BackendId, Service, ServiceName, entry, other_ports, views};
use bg_common::control::{Environment, RING_SLOTS};
use bg_common::ring;
use bg_common::service::{PROBES, place};

use super::Error;
use super::directory::{
    address, affinity_bits, finds, full, mode_number, other_ports_number, padded, protocol_number,
    socket_address, wanted_backends,
};
use super::maps::Maps;
use crate::config;

/// Numbers that a deployment had before: the flow hash and the rings hang on them.
pub(super) trait Numbers {
    /// The number of a service.
    fn service(&self, name: &str) -> Option<u16>;
    /// Its backends: number, environment, address. Those that the configuration does not name are leaving.
    fn backends(&self, name: &str) -> Vec<(BackendId, Environment, SocketAddr)>;
}

/// A deployment that has none.
pub(super) struct Unnumbered;

impl Numbers for Unnumbered {
    fn service(&self, _: &str) -> Option<u16> {
        None
    }

    fn backends(&self, _: &str) -> Vec<(BackendId, Environment, SocketAddr)> {
        Vec::new()
    }
}

/// The tables, to be written.
pub(super) struct Entries<'m> {
    pub(super) maps: &'m Maps,
}

impl<'m> Entries<'m> {
    pub(super) fn new(maps: &'m Maps) -> Self {
        Self { maps }
    }

    /// Installs the services of a deployment. The control word is still zero, so nothing is routed by them
    /// yet.
    pub(super) fn install(
        &self,
        index: u16,
        wanted: &config::Deployment,
        numbers: &impl Numbers,
    ) -> Result<(), Error> {
        // Numbers that are given come before new ones, or a new one might take one of them.
        for name in wanted.services.keys() {
            for (id, environment, at) in numbers.backends(name) {
                let service = numbers.service(name).unwrap_or_default();
                if usize::from(id) >= self.maps.backends.len() {
                    return Err(full("BACKENDS", &at.to_string(), "backends"));
                }
                self.maps.backends.put(id.into(), backend(service, environment, at));
            }
        }
        for (name, service) in &wanted.services {
            let id = self.service_number(name, numbers)?;
            let stride = ring::elements(service.ring_size);
            let ring_base = self.ring_base(stride, name)?;
            let entry = Service {
                vip: address(service.vip.ip()),
                port: service.vip.port().to_be_bytes(),
                protocol: protocol_number(service.protocol),
                state: entry::USED,
                id,
                deployment: index,
                ring_base,
                ring_stride: stride,
                ring_size: service.ring_size,
                other_ports: other_ports_number(service.other_ports),
                affinity: affinity_bits(service),
                mode: mode_number(service.mode),
                views: if service.shared_endpoints { views::PINNED } else { 0 },
                pad: [0; 20],
                idle_base: 0,
            };
            let at = self.add_service(entry, name)?;
            self.add_vip(entry, name)?;
            self.maps.names.put(id.into(), service_name(name, at, index, 0));
            if let Some(preview) = service.preview {
                self.add_preview(&entry, at, name, preview)?;
            }
            let known = numbers.backends(name);
            for &(id, ..) in &known {
                self.add_endpoint(&entry, id)?;
            }
            for environment in [Environment::Blue, Environment::Green] {
                for wanted in wanted_backends(service, environment) {
                    if known.iter().all(|(_, e, at)| (*e, *at) != (environment, wanted.address)) {
                        self.add_backend(&entry, environment, wanted.address)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a backend, and its endpoint if it has one: its replies are known before a packet is sent to it.
    pub(super) fn add_backend(
        &self,
        service: &Service,
        environment: Environment,
        at: SocketAddr,
    ) -> Result<BackendId, Error> {
        if self.taken(at, service) {
            return Err(Error::Mismatch {
                what: format!("{at} still has connections in its other role"),
                help: "name it again when `bgctl status` does not show it as leaving any more".to_owned(),
            });
        }
        let id = self
            .maps
            .backends
            .iter()
            .position(|backend| backend.state != entry::USED)
            .ok_or_else(|| full("BACKENDS", &at.to_string(), "backends"))?;
        self.maps.backends.put(id, backend(service.id, environment, at));
        let id = id as BackendId;
        self.add_endpoint(service, id)?;
        Ok(id)
    }

    /// Frees a backend's entry. Nothing names it any more.
    pub(super) fn remove_backend(&self, id: BackendId) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let free = Backend { state: entry::REMOVED, ..backend(0, Environment::Blue, nowhere) };
        self.maps.backends.put(id.into(), free);
    }

    fn service_number(&self, name: &str, numbers: &impl Numbers) -> Result<u16, Error> {
        let free = |at: usize| self.maps.names.read(at).is_some_and(|name| name.name[0] == 0);
        let number = match numbers.service(name) {
            Some(number) => Some(usize::from(number)).filter(|at| free(*at)),
            None => (0..self.maps.names.len()).find(|at| free(*at)),
        };
        number.map(|number| number as u16).ok_or_else(|| full("NAMES", name, "services"))
    }

    /// The VIP's own entry, with port and protocol 0, carries its policy. Services that share a VIP share it: one that
    /// drops decides.
    pub(super) fn add_vip(&self, service: Service, name: &str) -> Result<(), Error> {
        let known = finds(self.maps, &SocketAddr::new(socket_address(&service.vip, [0; 2]).ip(), 0), 0);
        if !known || service.other_ports == other_ports::DROP {
            self.add_service(Service { port: [0; 2], protocol: 0, ..service }, name)?;
        }
        Ok(())
    }

    /// Room for three more rings.
    pub(super) fn ring_base(&self, stride: u32, name: &str) -> Result<u32, Error> {
        let used = self.maps.services.iter().filter(|service| service.state == entry::USED);
        let end = |service: &Service| {
            service.ring_base.max(service.idle_base) + service.ring_stride * u32::from(RING_SLOTS)
        };
        let base = used.map(end).max().unwrap_or(0);
        let room =
            u64::from(base) + u64::from(stride) * u64::from(RING_SLOTS) <= self.maps.rings.len() as u64;
        if room { Ok(base) } else { Err(full("RINGS", name, "ring_entries")) }
    }

    pub(super) fn add_service(&self, service: Service, name: &str) -> Result<u32, Error> {
        let mask = self.maps.services.len() as u32 - 1;
        let start = place(&service.vip, service.port, service.protocol);
        for probe in 0..PROBES {
            let at = start.wrapping_add(probe) & mask;
            let old = self.maps.services.read(at as usize);
            let same = old.is_some_and(|old| {
                old.state == entry::USED
                    && (old.vip, old.port, old.protocol) == (service.vip, service.port, service.protocol)
            });
            if same || old.is_some_and(|old| old.state != entry::USED) {
                self.maps.services.put(at as usize, service);
                return Ok(at);
            }
        }
        Err(full("SERVICES", name, "services"))
    }
}

/// An element of `NAMES`.
pub(super) fn service_name(name: &str, entry: u32, deployment: u16, preview_of: u16) -> ServiceName {
    ServiceName { name: padded(name), entry, deployment, vip_added: 0, pad: 0, preview_of, rest: [0; 22] }
}

fn backend(service: u16, environment: Environment, at: SocketAddr) -> Backend {
    Backend {
        address: address(at.ip()),
        port: at.port().to_be_bytes(),
        service,
        environment: environment as u8,
        state: entry::USED,
        pad: [0; 2],
        dead: AtomicU64::new(0),
        tunnel: Address::default(),
        tunnel_bits: 0,
        rest: [0; 15],
    }
}
