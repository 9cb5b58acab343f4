//! Endpoints: which services a backend's address answers for. Most answer for one; a preview and services with
//! `shared_endpoints` are further ones of the same endpoint.

use std::net::SocketAddr;

use bg_common::abi::{BackendId, Endpoint, OTHERS, Other, Service, entry, views};
use bg_common::service::{PROBES, place};

use super::Error;
use super::directory::{address, full, socket_address};
use super::entries::Entries;

impl Entries<'_> {
    /// Where an endpoint's entry may be.
    fn places(&self, at: SocketAddr, protocol: u8) -> impl Iterator<Item = usize> {
        let mask = self.maps.endpoints.len() as u32 - 1;
        let start = place(&address(at.ip()), at.port().to_be_bytes(), protocol);
        (0..PROBES).map(move |probe| (start.wrapping_add(probe) & mask) as usize)
    }

    fn endpoint(&self, at: SocketAddr, protocol: u8) -> Option<usize> {
        let wanted = (address(at.ip()), at.port().to_be_bytes(), protocol);
        self.places(at, protocol).find(|&place| {
            let entry = self.maps.endpoints.get(place);
            entry.is_some_and(|e| e.state == entry::USED && (e.address, e.port, e.protocol) == wanted)
        })
    }

    /// Whether an endpoint is another backend's, and cannot be this service's too.
    pub(super) fn taken(&self, at: SocketAddr, service: &Service) -> bool {
        let held = self.endpoint(at, service.protocol).and_then(|at| self.maps.endpoints.read(at));
        held.is_some_and(|held| {
            let pinned = (held.views | service.views) & views::PINNED != 0;
            let room = held.others[OTHERS - 1].service == 0;
            held.service == service.id || !pinned || !room
        })
    }

    /// Lets a backend's replies be known, where they come this way.
    pub(super) fn add_endpoint(&self, service: &Service, id: BackendId) -> Result<(), Error> {
        if service.direct() {
            return Ok(());
        }
        let Some(backend) = self.maps.backends.get(id.into()) else { return Ok(()) };
        let at = socket_address(&backend.address, backend.port);
        let mut roles = vec![Role { service: *service, backend: id }];
        roles.extend(self.preview_of(service.id).map(|service| Role { service, backend: id }));
        if let Some(place) = self.endpoint(at, service.protocol) {
            roles.extend(self.roles(place));
            return self.put(place, roles);
        }
        let free =
            |&place: &usize| self.maps.endpoints.get(place).is_some_and(|old| old.state != entry::USED);
        if let Some(place) = self.places(at, service.protocol).find(free) {
            return self.put(place, roles);
        }
        Err(full("ENDPOINTS", &at.to_string(), "backends"))
    }

    /// Takes a backend's endpoint away, so that what comes from it is no reply any more. Its entry follows
    /// after a grace period.
    pub(super) fn remove_endpoint(&self, id: BackendId) -> Result<(), Error> {
        for at in 0..self.maps.endpoints.len() {
            let Some(old) = self.maps.endpoints.read(at).filter(|old| old.state == entry::USED) else {
                continue;
            };
            let mut roles = self.roles(at);
            let before = roles.len();
            roles.retain(|role| role.backend != id);
            if roles.is_empty() {
                self.maps.endpoints.put(at, Endpoint { state: entry::REMOVED, ..old });
            } else if roles.len() < before {
                self.put(at, roles)?;
            }
        }
        Ok(())
    }

    /// The services that an endpoint answers for.
    fn roles(&self, at: usize) -> Vec<Role> {
        let Some(held) = self.maps.endpoints.read(at) else { return Vec::new() };
        let first = self.numbered(held.service).map(|service| Role { service, backend: held.backend });
        let others = held.others.into_iter().take_while(|other| other.service != 0).filter_map(|other| {
            let service = self.maps.services.read(usize::from(other.service) - 1)?;
            Some(Role { service, backend: other.backend })
        });
        first.into_iter().chain(others).collect()
    }

    /// Writes the entry of an endpoint that answers for these services. The one whose replies have no pin comes
    /// first.
    fn put(&self, at: usize, mut roles: Vec<Role>) -> Result<(), Error> {
        roles.sort_by_key(|role| role.service.views & views::PINNED != 0);
        let [Role { service, backend: id }, rest @ ..] = roles.as_slice() else { return Ok(()) };
        let Some(backend) = self.maps.backends.get((*id).into()) else { return Ok(()) };
        let mut others = [Other::default(); OTHERS];
        for (i, role) in rest.iter().enumerate() {
            let known = self.maps.names.read(role.service.id.into()).map(|name| name.entry + 1);
            let number = known.and_then(|number| u16::try_from(number).ok()).filter(|_| i < OTHERS);
            let Some(number) = number else {
                let name = socket_address(&backend.address, backend.port).to_string();
                return Err(full("ENDPOINTS", &name, "services"));
            };
            others[i] = Other { service: number, backend: role.backend };
        }
        let shared = if rest.is_empty() { 0 } else { views::SHARED };
        // All endpoints consult the excluded prefixes, or none does.
        let used = self.maps.endpoints.iter().find(|e| e.state == entry::USED);
        let excludes = used.is_some_and(|e| e.excludes != 0);
        self.maps.endpoints.put(
            at,
            Endpoint {
                address: backend.address,
                vip: service.vip,
                port: backend.port,
                vip_port: service.port,
                protocol: service.protocol,
                state: entry::USED,
                backend: *id,
                service: service.id,
                deployment: service.deployment,
                environment: backend.environment,
                excludes: excludes.into(),
                views: service.views | shared,
                pad: [0; 5],
                others,
            },
        );
        Ok(())
    }
}

/// A service that an endpoint answers for, and which of its backends it is there.
struct Role {
    service: Service,
    backend: BackendId,
}
