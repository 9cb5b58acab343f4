//! Writing the tables that say what there is: services, backends, endpoints, names. An entry is complete
//! before anything leads to it, and goes only when nothing does any more.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use bg_common::abi::{Address, Backend, BackendId, Endpoint, Service, ServiceName, entry, other_ports};
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
    maps: &'m Maps,
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
            let ring_base = self.next_ring_base();
            if u64::from(ring_base) + u64::from(stride) * u64::from(RING_SLOTS) > self.maps.rings.len() as u64
            {
                return Err(full("RINGS", name, "ring_entries"));
            }
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
                pad: [0; 25],
            };
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
            let at = self.add_service(entry, name)?;
            self.add_vip(entry, name)?;
            self.maps.names.put(
                id.into(),
                ServiceName { name: padded(name), entry: at, deployment: index, vip_added: 0, pad: [0; 25] },
            );
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
        if self.endpoint(at, service.protocol).is_some() {
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

    /// Takes a backend's endpoint away, so that what comes from it is no reply any more. Its entry follows
    /// after a grace period.
    pub(super) fn remove_endpoint(&self, id: BackendId) {
        for at in 0..self.maps.endpoints.len() {
            let Some(old) = self.maps.endpoints.read(at) else { continue };
            if old.state == entry::USED && old.backend == id {
                self.maps.endpoints.put(at, Endpoint { state: entry::REMOVED, ..old });
            }
        }
    }

    /// Frees a backend's entry. Nothing names it any more.
    pub(super) fn remove_backend(&self, id: BackendId) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let free = Backend { state: entry::REMOVED, ..backend(0, Environment::Blue, nowhere) };
        self.maps.backends.put(id.into(), free);
    }

    fn endpoint(&self, at: SocketAddr, protocol: u8) -> Option<Endpoint> {
        let wanted = (address(at.ip()), at.port().to_be_bytes(), protocol);
        let found = |e: &&Endpoint| e.state == entry::USED && (e.address, e.port, e.protocol) == wanted;
        self.maps.endpoints.iter().find(found).copied()
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
    fn add_vip(&self, service: Service, name: &str) -> Result<(), Error> {
        let known = finds(self.maps, &SocketAddr::new(socket_address(&service.vip, [0; 2]).ip(), 0), 0);
        if !known || service.other_ports == other_ports::DROP {
            self.add_service(Service { port: [0; 2], protocol: 0, ..service }, name)?;
        }
        Ok(())
    }

    fn next_ring_base(&self) -> u32 {
        let ends = self.maps.services.iter().filter(|service| service.state == entry::USED);
        ends.map(|service| service.ring_base + service.ring_stride * u32::from(RING_SLOTS)).max().unwrap_or(0)
    }

    fn add_service(&self, service: Service, name: &str) -> Result<u32, Error> {
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

    /// Where replies come this way, they must be known.
    fn add_endpoint(&self, service: &Service, id: BackendId) -> Result<(), Error> {
        if service.direct() {
            return Ok(());
        }
        let Some(backend) = self.maps.backends.get(id.into()) else { return Ok(()) };
        let mask = self.maps.endpoints.len() as u32 - 1;
        let start = place(&backend.address, backend.port, service.protocol);
        // All endpoints consult the excluded prefixes, or none does.
        let excludes = self.maps.endpoints.iter().any(|e| e.state == entry::USED && e.excludes != 0);
        for probe in 0..PROBES {
            let at = (start.wrapping_add(probe) & mask) as usize;
            if self.maps.endpoints.get(at).is_some_and(|old| old.state != entry::USED) {
                self.maps.endpoints.put(
                    at,
                    Endpoint {
                        address: backend.address,
                        vip: service.vip,
                        port: backend.port,
                        vip_port: service.port,
                        protocol: service.protocol,
                        state: entry::USED,
                        backend: id,
                        service: backend.service,
                        deployment: service.deployment,
                        environment: backend.environment,
                        excludes: excludes.into(),
                        pad: [0; 18],
                    },
                );
                return Ok(());
            }
        }
        Err(full("ENDPOINTS", &socket_address(&backend.address, backend.port).to_string(), "backends"))
    }
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
