//! The tables that say what there is: services, backends, endpoints, names. Found again and compared with
//! the configuration at every start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bg_common::abi::{
    Address, BackendId, Endpoint, NAME, Service, ServiceName, affinity, entry, mode, other_ports, views,
};
use bg_common::control::Environment;
use bg_common::service;

use super::Error;
use super::maps::Maps;
use crate::config;

/// Until the configuration has been followed.
const DEFAULT_WEIGHT: u16 = 100;

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
    /// Where clients connect to.
    pub vip: SocketAddr,
    /// Its preview.
    pub preview: Option<Preview>,
    /// Its backends.
    pub backends: Vec<InstalledBackend>,
}

/// The preview of an [`InstalledService`]: an entry of its own, over the same backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its number.
    pub id: u16,
    /// Where clients connect to.
    pub vip: SocketAddr,
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
    /// Its share of the new connections beside the others, 0 to 1000.
    pub weight: u16,
    /// The configuration does not name it any more; it keeps the connections that it has.
    pub leaving: bool,
}

impl Deployment {
    /// Takes weights from the configuration. Who is not named there is leaving.
    pub fn follow(&mut self, wanted: &config::Deployment) {
        for service in &mut self.services {
            let Some(wanted) = wanted.services.get(&service.name) else { continue };
            for backend in &mut service.backends {
                let named = wanted_backends(wanted, backend.environment)
                    .iter()
                    .find(|b| b.address == backend.address);
                backend.leaving = named.is_none();
                backend.weight = named.map_or(backend.weight, |named| named.weight);
            }
        }
    }
}

/// What is installed and what is configured, side by side.
pub(super) struct Directory<'m> {
    maps: &'m Maps,
}

impl<'m> Directory<'m> {
    pub(super) fn new(maps: &'m Maps) -> Self {
        Self { maps }
    }

    /// Whether a deployment of that name is installed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.maps.ledger.iter().any(|ledger| ledger.name == padded(name))
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
                    weight: DEFAULT_WEIGHT,
                    leaving: false,
                });
            }
        }
        for (id, name) in self.maps.names.iter().enumerate() {
            let id = id as u16;
            if name.name[0] != 0
                && name.preview_of == 0
                && let Some(entry) = self.maps.services.read(name.entry as usize)
                && let Some(deployment) = deployments.get_mut(&name.deployment)
            {
                deployment.services.push(InstalledService {
                    name: text(&name.name),
                    id,
                    entry: name.entry,
                    vip: socket_address(&entry.vip, entry.port),
                    preview: self.preview(id),
                    backends: backends.remove(&id).unwrap_or_default(),
                });
            }
        }
        deployments.into_values().collect()
    }

    /// The preview of a service.
    fn preview(&self, service: u16) -> Option<Preview> {
        let of = |(_, name): &(usize, &ServiceName)| name.name[0] != 0 && name.preview_of == service + 1;
        let (id, name) = self.maps.names.iter().enumerate().find(of)?;
        let entry = self.maps.services.read(name.entry as usize)?;
        Some(Preview { id: id as u16, vip: socket_address(&entry.vip, entry.port) })
    }

    /// Says how a configured deployment differs from the installed one in what cannot change while it is
    /// served; `None` if it does not. Backends may differ: that is a switch.
    pub(super) fn difference(&self, installed: &Deployment, wanted: &config::Deployment) -> Option<String> {
        for service in &installed.services {
            let Some(new) = wanted.services.get(&service.name) else {
                return Some(format!("service `{}` is gone", service.name));
            };
            let entry = self.maps.services.read(service.entry as usize)?;
            if service.vip != new.vip {
                return Some(format!("the VIP of `{}` is another", service.name));
            }
            if entry.protocol != protocol_number(new.protocol) {
                return Some(format!("`protocol` of `{}` is another", service.name));
            }
            if entry.affinity != affinity_bits(new) {
                return Some(format!("`affinity` of `{}` is another", service.name));
            }
            if entry.mode != mode_number(new.mode) {
                return Some(format!("`mode` of `{}` is another", service.name));
            }
            if service.preview.map(|preview| preview.vip) != new.preview {
                return Some(format!("`preview` of `{}` is another", service.name));
            }
            if (entry.views & views::PINNED != 0) != new.shared_endpoints {
                return Some(format!("`shared_endpoints` of `{}` is another", service.name));
            }
            if entry.ring_size != new.ring_size {
                return Some(format!("`ring_size` of `{}` is another", service.name));
            }
            if entry.other_ports != other_ports_number(new.other_ports) {
                return Some(format!("`other_ports` of `{}` is another", service.name));
            }
        }
        wanted
            .services
            .keys()
            .find(|name| installed.services.iter().all(|service| service.name != **name))
            .map(|name| format!("service `{name}` is new"))
    }
}

/// Whether a lookup in the live tables finds the service: what the program would find. A VIP as such has port and
/// protocol 0.
pub(super) fn finds(maps: &Maps, at: &SocketAddr, protocol: u8) -> bool {
    let mask = maps.services.len() as u32 - 1;
    service::find(&Live(maps), mask, &address(at.ip()), at.port().to_be_bytes(), protocol).is_some()
}

/// The live tables, as a lookup reaches them.
pub(super) struct Live<'m>(pub(super) &'m Maps);

impl service::Directory for Live<'_> {
    fn service(&self, index: u32) -> Option<&Service> {
        self.0.services.get(index as usize)
    }

    fn endpoint(&self, index: u32) -> Option<&Endpoint> {
        self.0.endpoints.get(index as usize)
    }
}

/// The backends that the configuration names.
#[must_use]
pub fn wanted_backends(service: &config::Service, environment: Environment) -> &[config::Backend] {
    match environment {
        Environment::Blue => &service.blue,
        Environment::Green => &service.green,
    }
}

pub(super) fn full(table: &'static str, what: &str, limit: &'static str) -> Error {
    Error::Full { table, what: what.to_owned(), limit }
}

pub(super) fn other_ports_number(policy: config::OtherPorts) -> u8 {
    match policy {
        config::OtherPorts::Kernel => other_ports::KERNEL,
        config::OtherPorts::Drop => other_ports::DROP,
    }
}

/// IP protocol numbers.
pub(super) fn protocol_number(protocol: config::Protocol) -> u8 {
    match protocol {
        config::Protocol::Tcp => 6,
        config::Protocol::Udp => 17,
    }
}

/// One of [`mode`].
pub(super) fn mode_number(mode: config::Mode) -> u8 {
    match mode {
        config::Mode::Nat => mode::NAT,
        config::Mode::Dsr => mode::DSR,
        config::Mode::Ipip => mode::IPIP,
    }
}

/// Bits of [`affinity`].
pub(super) fn affinity_bits(service: &config::Service) -> u8 {
    // The rule for TCP keeps flows together anyway.
    let flow = if service.protocol == config::Protocol::Udp { affinity::FLOW } else { 0 };
    match service.affinity {
        config::Affinity::Flow => flow,
        config::Affinity::Source => flow | affinity::SOURCE,
        config::Affinity::None => 0,
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
