//! The tables that say what there is: services, backends, endpoints, names. Written at the first load,
//! found again and compared at every later one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;

use bg_common::abi::{Address, Backend, BackendId, Endpoint, NAME, Service, ServiceName, entry, other_ports};
use bg_common::control::{Environment, RING_SLOTS};
use bg_common::service::{PROBES, place};
use bg_common::{ring, service};

use super::Error;
use super::maps::Maps;
use crate::config;

/// TCP's protocol number.
const TCP: u8 = 6;

/// A deployment that the kernel program serves.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// Its index in `CONTROL`.
    pub index: u16,
    /// Its services, by name.
    pub services: Vec<InstalledService>,
}

/// A service of a [`Deployment`].
#[derive(Clone, Debug)]
pub struct InstalledService {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u16,
    /// Its entry in `SERVICES`.
    pub entry: u32,
    /// Its backends.
    pub backends: Vec<InstalledBackend>,
}

/// A backend of an [`InstalledService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstalledBackend {
    /// Its index in `BACKENDS`.
    pub id: BackendId,
    /// Blue or green.
    pub environment: Environment,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What is installed and what is configured, side by side.
pub(super) struct Directory<'m> {
    maps: &'m Maps,
}

impl<'m> Directory<'m> {
    pub(super) fn new(maps: &'m Maps) -> Self {
        Self { maps }
    }

    /// Deployments that are installed.
    pub(super) fn installed(&self) -> Vec<Deployment> {
        let mut deployments: BTreeMap<u16, Deployment> = self
            .maps
            .ledger
            .iter()
            .enumerate()
            .filter(|(_, ledger)| ledger.name[0] != 0)
            .map(|(index, ledger)| {
                let index = index as u16;
                (index, Deployment { name: text(&ledger.name), index, services: Vec::new() })
            })
            .collect();
        let mut backends: BTreeMap<u16, Vec<InstalledBackend>> = BTreeMap::new();
        for (id, backend) in self.maps.backends.iter().enumerate() {
            if backend.state == entry::USED {
                backends.entry(backend.service).or_default().push(InstalledBackend {
                    id: id as BackendId,
                    environment: Environment::from_bit(backend.environment),
                    address: socket_address(&backend.address, backend.port),
                });
            }
        }
        for (id, name) in self.maps.names.iter().enumerate() {
            let id = id as u16;
            if name.name[0] != 0
                && let Some(deployment) = deployments.get_mut(&name.deployment)
            {
                deployment.services.push(InstalledService {
                    name: text(&name.name),
                    id,
                    entry: name.entry,
                    backends: backends.remove(&id).unwrap_or_default(),
                });
            }
        }
        deployments.into_values().collect()
    }

    /// Says how a configured deployment differs from the installed one; `None` if it does not.
    pub(super) fn difference(&self, installed: &Deployment, wanted: &config::Deployment) -> Option<String> {
        for service in &installed.services {
            let Some(new) = wanted.services.get(&service.name) else {
                return Some(format!("service `{}` is gone", service.name));
            };
            let entry = self.maps.services.read(service.entry as usize)?;
            if socket_address(&entry.vip, entry.port) != new.vip {
                return Some(format!("the VIP of `{}` is another", service.name));
            }
            if entry.ring_size != new.ring_size {
                return Some(format!("`ring_size` of `{}` is another", service.name));
            }
            if entry.other_ports != other_ports_number(new.other_ports) {
                return Some(format!("`other_ports` of `{}` is another", service.name));
            }
            for (environment, name, addresses) in
                [(Environment::Blue, "blue", &new.blue), (Environment::Green, "green", &new.green)]
            {
                let mut old: Vec<SocketAddr> = service
                    .backends
                    .iter()
                    .filter(|backend| backend.environment == environment)
                    .map(|backend| backend.address)
                    .collect();
                let mut new: Vec<SocketAddr> = addresses.iter().map(|backend| backend.address).collect();
                old.sort_unstable();
                new.sort_unstable();
                if old != new {
                    return Some(format!("the {name} backends of `{}` are others", service.name));
                }
            }
        }
        wanted
            .services
            .keys()
            .find(|name| installed.services.iter().all(|service| service.name != **name))
            .map(|name| format!("service `{name}` is new"))
    }

    /// Installs the services of a new deployment. The control word is still zero, so nothing is routed
    /// by them yet.
    pub(super) fn install(&self, index: u16, wanted: &config::Deployment) -> Result<(), Error> {
        for (name, service) in &wanted.services {
            let id = self
                .maps
                .names
                .iter()
                .position(|name| name.name[0] == 0)
                .ok_or_else(|| full("NAMES", name, "services"))? as u16;
            let stride = ring::elements(service.ring_size);
            let ring_base = self.next_ring_base();
            if u64::from(ring_base) + u64::from(stride) * u64::from(RING_SLOTS) > self.maps.rings.len() as u64
            {
                return Err(full("RINGS", name, "ring_entries"));
            }
            let vip = address(service.vip.ip());
            let port = service.vip.port().to_be_bytes();
            for (environment, addresses) in
                [(Environment::Blue, &service.blue), (Environment::Green, &service.green)]
            {
                for backend in addresses {
                    let backend = self.add_backend(id, environment, backend.address)?;
                    self.add_endpoint(index, vip, port, backend)?;
                }
            }
            let entry = Service {
                vip,
                port,
                protocol: TCP,
                state: entry::USED,
                id,
                deployment: index,
                ring_base,
                ring_stride: stride,
                ring_size: service.ring_size,
                other_ports: other_ports_number(service.other_ports),
                pad: [0; 27],
            };
            let at = self.add_service(entry, name)?;
            self.add_vip(entry, name)?;
            self.maps.names.put(
                id.into(),
                ServiceName { name: padded(name), entry: at, deployment: index, vip_added: 0, pad: [0; 25] },
            );
        }
        Ok(())
    }

    /// The VIP's own entry, with port 0, carries its policy. Services that share a VIP share it: one that
    /// drops decides.
    fn add_vip(&self, service: Service, name: &str) -> Result<(), Error> {
        let known = finds(self.maps, &SocketAddr::new(socket_address(&service.vip, [0; 2]).ip(), 0));
        if !known || service.other_ports == other_ports::DROP {
            self.add_service(Service { port: [0; 2], ..service }, name)?;
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
                old.state == entry::USED && old.vip == service.vip && old.port == service.port
            });
            if same || old.is_some_and(|old| old.state != entry::USED) {
                self.maps.services.put(at as usize, service);
                return Ok(at);
            }
        }
        Err(full("SERVICES", name, "services"))
    }

    fn add_backend(
        &self,
        service: u16,
        environment: Environment,
        at: SocketAddr,
    ) -> Result<(BackendId, Backend), Error> {
        let make = || Backend {
            address: address(at.ip()),
            port: at.port().to_be_bytes(),
            service,
            environment: environment as u8,
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            rest: [0; 32],
        };
        let id = self
            .maps
            .backends
            .iter()
            .position(|backend| backend.state != entry::USED)
            .ok_or_else(|| full("BACKENDS", &at.to_string(), "backends"))?;
        self.maps.backends.put(id, make());
        Ok((id as BackendId, make()))
    }

    fn add_endpoint(
        &self,
        deployment: u16,
        vip: Address,
        vip_port: [u8; 2],
        (id, backend): (BackendId, Backend),
    ) -> Result<(), Error> {
        let mask = self.maps.endpoints.len() as u32 - 1;
        let start = place(&backend.address, backend.port, TCP);
        for probe in 0..PROBES {
            let at = (start.wrapping_add(probe) & mask) as usize;
            if self.maps.endpoints.get(at).is_some_and(|old| old.state != entry::USED) {
                self.maps.endpoints.put(
                    at,
                    Endpoint {
                        address: backend.address,
                        vip,
                        port: backend.port,
                        vip_port,
                        protocol: TCP,
                        state: entry::USED,
                        backend: id,
                        service: backend.service,
                        deployment,
                        environment: backend.environment,
                        excludes: 0,
                        pad: [0; 18],
                    },
                );
                return Ok(());
            }
        }
        Err(full("ENDPOINTS", &socket_address(&backend.address, backend.port).to_string(), "backends"))
    }
}

/// Whether a lookup in the live tables finds the service: what the program would find.
pub(super) fn finds(maps: &Maps, at: &SocketAddr) -> bool {
    struct Services<'m>(&'m Maps);
    impl service::Directory for Services<'_> {
        fn service(&self, index: u32) -> Option<&Service> {
            self.0.services.get(index as usize)
        }
        fn endpoint(&self, index: u32) -> Option<&Endpoint> {
            self.0.endpoints.get(index as usize)
        }
    }
    let mask = maps.services.len() as u32 - 1;
    service::find(&Services(maps), mask, &address(at.ip()), at.port().to_be_bytes(), TCP).is_some()
}

fn full(table: &'static str, what: &str, limit: &'static str) -> Error {
    Error::Full { table, what: what.to_owned(), limit }
}

fn other_ports_number(policy: config::OtherPorts) -> u8 {
    match policy {
        config::OtherPorts::Kernel => other_ports::KERNEL,
        config::OtherPorts::Drop => other_ports::DROP,
    }
}

/// An address as the tables hold it.
pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address(ip.octets()),
    }
}

/// An address from the tables.
pub(super) fn socket_address(address: &Address, port: [u8; 2]) -> SocketAddr {
    let ip = std::net::Ipv6Addr::from(address.0).to_canonical();
    SocketAddr::new(ip, u16::from_be_bytes(port))
}

/// A name as the tables hold it; the configuration's names are shorter than the room.
pub(super) fn padded(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    let length = name.len().min(NAME);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

/// A name from the tables.
pub(super) fn text(name: &[u8; NAME]) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
    String::from_utf8_lossy(&name[..end]).into_owned()
}
