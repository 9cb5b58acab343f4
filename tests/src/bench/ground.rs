//! The node that is measured: the shipped program in a namespace, with as many services and backends as are
//! wanted, all of them in use.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use anyhow::{Context, Result, bail, ensure};
use aya::EbpfLoader;
use aya::programs::XdpMode;
use bg_common::abi::{
    self, Address, Backend, BackendId, Endpoint, Interface, Node, Service, affinity, entry,
};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::flow::Flow;
use bg_common::meta::Meta;
use bg_common::pin::{self, Hold, Inserted, Pin};
use bg_common::service::{PROBES, place};
use bg_common::tables::Tables as _;
use bg_common::{host, ring};
use bg_front::Plan;
use bg_userspace::config::Limits;
use bg_userspace::datapath::{Bare, InstalledBackend, Maps, PROGRAM, Shared};
use bg_userspace::maglev;
use serde::Serialize;

use super::cases::{Case, Stage, strays};
use super::frames::Packet;
use super::kind::Kind;
use super::look::Look;
use super::place::{VIPS, Version};
use crate::lab::namespace::Namespace;
use crate::packets::rig::index;
use crate::packets::world::WAN_MAC;

/// Where outer packets come from (mode ipip), as the configuration has it by default: 16 bits tell flows apart.
const TUNNEL: [u8; 4] = [172, 16, 0, 0];
/// Slots of a service's ring, as the configuration has it by default.
const RING: u32 = 4093;

/// How large the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Services.
    pub services: u16,
    /// Backends, over all services and both environments.
    pub backends: u16,
    /// Room for so many flows, pinned and in the census, at half load.
    pub flows: u32,
}

/// The loaded program with its tables filled.
pub(super) struct Ground {
    pub(super) bare: Bare,
    pub(super) look: Look,
    pub(super) size: Size,
    kind: Kind,
    /// Where packets arrive.
    pub(super) interface: u32,
}

impl Size {
    /// How many other ends the flows of a case are spread over, if they are spread over so many services.
    pub(super) fn peers(self, case: &Case, services: u16) -> u32 {
        match case.packet {
            Packet::Data | Packet::Datagram | Packet::Error | Packet::Syn => services.into(),
            Packet::Reply => u32::from(services) * u32::from(self.share()),
            Packet::Stray => 1 << 16,
        }
    }

    /// Backends of a service: an even number, so that those of every service begin with a blue one.
    const fn share(self) -> u16 {
        (self.backends / self.services) & !1
    }

    /// The limits of such a node; what does not follow from its size is as in the default configuration.
    pub(super) fn limits(self) -> Limits {
        Limits {
            deployments: 2,
            services: self.services.into(),
            backends: self.backends.into(),
            ring_entries: u32::from(self.services) * 3 * ring::elements(RING) * ring::SLOTS_PER_ELEMENT,
            pins: self.flows * 2,
            census: self.flows * 2,
            syn_memory: 8 << 20,
        }
    }
}

impl Ground {
    /// Loads the program and fills its tables for one kind of services. The calling thread is in the namespace.
    pub(super) fn new(kind: Kind, size: Size, namespace: &Namespace) -> Result<Self> {
        let mut bare =
            Bare::load(&mut EbpfLoader::new(), PROGRAM, &size.limits()).context("load the program")?;
        // A test run takes a device as ingress only if XDP is on, on it.
        bare.program().attach("wan", XdpMode::Driver).context("attach to wan")?;
        let interface = index(namespace, "wan")?;
        let look = Look::new(&mut bare.ebpf, size.services)?;
        let ground = Self { bare, look, size, kind, interface };
        ground.fill()?;
        Ok(ground)
    }

    fn maps(&self) -> &Maps {
        &self.bare.maps
    }

    fn fill(&self) -> Result<()> {
        let maps = self.maps();
        let mask = |len: usize| len as u32 - 1;
        let like = host::Host::new(1, 1).node;
        maps.node.put(
            0,
            Node {
                service_mask: mask(maps.services.len()),
                endpoint_mask: mask(maps.endpoints.len()),
                pin_mask: mask(maps.pins.len()),
                recent_mask: mask(maps.recent.len() / maps.deployments.len() / 2),
                census_mask: mask(maps.census.len()),
                no_pins: 0,
                vip_policy: 0,
                ..like
            },
        );
        let at = self.interface as usize & (maps.interfaces.len() - 1);
        maps.interfaces
            .put(at, Interface { index: self.interface, mac: WAN_MAC, accept_local_set: 0, pad: [0; 5] });
        for id in 0..self.size.services {
            self.add_service(id)?;
        }
        self.stage(Stage::Steady);
        Ok(())
    }

    /// A service with its share of the backends, and the entry of its VIP as such.
    fn add_service(&self, id: u16) -> Result<()> {
        let maps = self.maps();
        let vip = VIPS.member(self.kind.version, id.into());
        let stride = ring::elements(RING);
        let service = Service {
            vip: address(vip.ip()),
            port: vip.port().to_be_bytes(),
            protocol: self.kind.protocol,
            state: entry::USED,
            id,
            deployment: 0,
            ring_base: u32::from(id) * 3 * stride,
            ring_stride: stride,
            ring_size: RING,
            other_ports: abi::other_ports::KERNEL,
            affinity: if self.kind.udp() { affinity::FLOW } else { 0 },
            mode: self.kind.mode,
            views: 0,
            pad: [0; 20],
            idle_base: 0,
        };
        for service in [service, Service { port: [0; 2], protocol: 0, ..service }] {
            put_into(&maps.services, &service.vip, service.port, service.protocol, |old| old.state, service)?;
        }
        let share = self.size.share();
        let mut rings = [Vec::new(), Vec::new()];
        for nth in 0..share {
            let number = id * share + nth;
            let environment = environment(number);
            self.add_backend(number, environment, &service)?;
            rings[environment as usize].push(InstalledBackend {
                id: number,
                environment,
                address: self.kind.hosts().member(self.kind.version, number.into()),
                weight: 100,
                leaving: false,
            });
        }
        for (slot, backends) in (0..).zip(&rings) {
            let first = service.ring_base + slot * stride;
            for (at, element) in (first as usize..).zip(ring::pack(&maglev::ring(RING, backends))) {
                maps.rings.get(at).context("a ring does not fit into RINGS")?.store(element, SeqCst);
            }
        }
        Ok(())
    }

    fn add_backend(&self, id: BackendId, environment: Environment, service: &Service) -> Result<()> {
        let maps = self.maps();
        let at = self.kind.hosts().member(self.kind.version, id.into());
        let backend = Backend {
            address: address(at.ip()),
            port: at.port().to_be_bytes(),
            service: service.id,
            environment: environment as u8,
            state: entry::USED,
            pad: [0; 2],
            dead: AtomicU64::new(0),
            tunnel: Address::v4(TUNNEL),
            tunnel_bits: 16,
            rest: [0; 15],
        };
        let endpoint = Endpoint {
            address: backend.address,
            vip: service.vip,
            port: backend.port,
            vip_port: service.port,
            protocol: service.protocol,
            state: entry::USED,
            backend: id,
            service: service.id,
            deployment: service.deployment,
            environment: backend.environment,
            excludes: 0,
            views: 0,
            pad: [0; 5],
            others: Default::default(),
        };
        maps.backends.put(id.into(), backend);
        // Who answers clients directly is no endpoint.
        if service.direct() {
            return Ok(());
        }
        put_into(
            &maps.endpoints,
            &endpoint.address,
            endpoint.port,
            endpoint.protocol,
            |old| old.state,
            endpoint,
        )
    }

    /// The control word of a phase.
    pub(super) fn word(stage: Stage) -> Control {
        let ring = |environment| Ring { slot: environment as u8, environment };
        let (phase, current) = match stage {
            Stage::Steady => (Phase::Steady, Environment::Blue),
            Stage::Pinned | Stage::Unpinned => (Phase::Drain, Environment::Green),
        };
        Control::new(phase, ring(Environment::Blue), ring(current), 0, 1)
    }

    /// Stores the control word of a phase.
    pub(super) fn stage(&self, stage: Stage) {
        let word = Self::word(stage);
        if let Some(control) = self.maps().control.get(0) {
            control.store(word.0, SeqCst);
        }
    }

    /// Nothing is known of any flow.
    pub(super) fn forget(&self) {
        let maps = self.maps();
        let wipe = |word: &AtomicU64| {
            if word.load(Relaxed) != 0 {
                word.store(0, Relaxed);
            }
        };
        // The memory of the first deployment, which all services are in.
        maps.recent.iter().take(maps.recent.len() / maps.deployments.len()).for_each(wipe);
        maps.census.iter().flatten().for_each(wipe);
        for pin in maps.pins.iter().flatten() {
            [&pin.tag, &pin.half, &pin.established, &pin.meta].into_iter().for_each(wipe);
        }
    }

    /// Bytes in use for single flows: in the pin table and in the census.
    pub(super) fn in_use(&self) -> u32 {
        let maps = self.maps();
        let used = |word: &AtomicU64| u32::from(word.load(Relaxed) != 0);
        let pins = maps.pins.iter().flatten().map(|pin| used(&pin.tag)).sum::<u32>();
        let seen = maps.census.iter().map(|line| line.iter().step_by(2).map(used).sum::<u32>()).sum::<u32>();
        pins * size_of::<Pin<u64>>() as u32 + seen * 16
    }

    /// Gives the flows of a plan a pin on green, established: all but the few that find no room.
    pub(super) fn pin(&self, plan: &Plan) -> Result<()> {
        let maps = self.maps();
        let key = maps.node().key;
        let mut left_out = 0;
        for flow in 0..=plan.mask {
            let ends = plan.ends(flow);
            let port = ends.port.to_be_bytes();
            let Version::V4 = self.kind.version else {
                bail!("pins of IPv6 flows are not asked for by any case")
            };
            let id = ends.peer as u16;
            let flow = Flow::v4(&key, ends.client.to_be_bytes(), port, id);
            let slot = ring::slot(flow.hash, RING);
            let stride = ring::elements(RING);
            let at = (u32::from(id) * 3 + 1) * stride + slot / ring::SLOTS_PER_ELEMENT;
            let backend = ring::unpack(maps.ring(at).context("no such ring")?, slot);
            let half = Hold::new(1, backend, maps.seconds());
            let meta = Meta::new(maps.seconds(), id, slot as u16);
            match pin::insert(maps, &flow, half, meta) {
                Inserted::New => pin::find(maps, &flow).context("a pin that was just made")?.promote(half),
                Inserted::NoRoom => left_out += 1,
                other => bail!("a flow's first pin: {other:?}"),
            }
        }
        ensure!(left_out <= strays(plan.mask + 1), "{left_out} flows found no room for a pin");
        Ok(())
    }
}

/// Every other backend is blue.
pub(super) const fn environment(backend: BackendId) -> Environment {
    Environment::from_bit(backend as u8)
}

/// Puts an entry where a search for it goes.
fn put_into<T: Copy + Shared>(
    table: &bg_userspace::datapath::Mapping<T>,
    address: &Address,
    port: [u8; 2],
    protocol: u8,
    state: impl Fn(&T) -> u8,
    new: T,
) -> Result<()> {
    let start = place(address, port, protocol);
    for probe in 0..PROBES {
        let at = start.wrapping_add(probe) as usize & (table.len() - 1);
        if table.get(at).is_some_and(|old| state(old) == entry::EMPTY) {
            table.put(at, new);
            return Ok(());
        }
    }
    bail!("no place within {PROBES} of where {address:?} port {port:?} belongs")
}

/// An address as tables have it.
fn address(address: std::net::IpAddr) -> Address {
    match address {
        std::net::IpAddr::V4(address) => Address::v4(address.octets()),
        std::net::IpAddr::V6(address) => Address(address.octets()),
    }
}
