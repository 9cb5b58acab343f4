//! Writing the tables of the loaded program, byte by byte as the layout of the maps says, and reading what
//! the program left in them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie};
use bg_common::abi::{self, Address};
use bg_common::control::{Control, Environment, Phase, Ring, SEAL_TICKS};
use bg_common::tables::ticks;
use bg_common::{ring, service};

use rustix::time::{ClockId, clock_gettime};

use super::craft::Mac;
use super::world::{BACKENDS, SERVICES, V6_SERVICE, VIPS};

const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// Slots in every ring of the cases.
pub(super) const RING: u32 = 5;
/// Entries of `SERVICES` and `ENDPOINTS`.
const ENTRIES: u32 = 64;
/// Words in a filter of `RECENT`.
pub(super) const RECENT: u32 = 64;
/// Buckets of `PINS` and `CENSUS`.
pub(super) const BUCKETS: u32 = 16;
/// Deployments.
pub(super) const DEPLOYMENTS: u32 = 4;
/// The node's secret.
pub(super) const KEY: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// The maps of a loaded program.
pub struct Tables {
    /// The loaded object.
    pub ebpf: Ebpf,
}

impl Tables {
    /// Fills in the world: every service steady on blue. Ring 0 of each leads to its blue backend, ring 1
    /// to its green one, ring 2 to nobody.
    pub(super) fn fill(&mut self, wan: u32, wan_mac: Mac) -> Result<()> {
        self.node(false)?;
        for (number, &(address, deployment)) in SERVICES.iter().enumerate() {
            self.service(address, number as u16, deployment, 0)?;
            let backends = BACKENDS.iter().enumerate().filter(|(_, b)| usize::from(b.service) == number);
            for (id, backend) in backends {
                self.backend(id as u16, backend.address, backend.service, backend.environment)?;
                self.endpoint(id as u16, address, deployment, false)?;
                self.ring(number as u16, backend.environment, Some(id as u16))?;
            }
            self.ring(number as u16, 2, None)?;
        }
        for unready in [4, 4 + V6_SERVICE] {
            self.ring(unready, 0, None)?;
            self.ring(unready, 1, None)?;
        }
        for (vip, drops) in VIPS {
            self.service(SocketAddr::new(vip, 0), 0, 0, u8::from(drops))?;
        }
        for deployment in 0..3 {
            self.steady(deployment, Environment::Blue)?;
        }
        let mut interface = [0; 16];
        interface[..4].copy_from_slice(&wan.to_ne_bytes());
        interface[4..10].copy_from_slice(&wan_mac);
        let mut map: Array<_, [u8; 16]> = self.map("INTERFACES")?.try_into()?;
        map.set(wan & (abi::INTERFACES - 1), interface, 0).context("write INTERFACES")
    }

    /// Writes `NODE`; with `no_pins` as if the pin table were full for ever.
    pub fn node(&mut self, no_pins: bool) -> Result<()> {
        let mut bytes = KEY.map(u64::to_ne_bytes).concat();
        for mask in [ENTRIES - 1, ENTRIES - 1, BUCKETS - 1, RECENT - 1, BUCKETS - 1] {
            bytes.extend(mask.to_ne_bytes());
        }
        bytes.extend([u8::from(no_pins), 1, 0, 0]);
        self.put("NODE", 0, &bytes)
    }

    fn service(&mut self, at: SocketAddr, id: u16, deployment: u16, other_ports: u8) -> Result<()> {
        let stride = ring::elements(RING);
        let mut bytes = key(at);
        let protocol = if at.port() == 0 { 0 } else { TCP };
        bytes.extend([protocol, abi::entry::USED]);
        bytes.extend(id.to_ne_bytes());
        bytes.extend(deployment.to_ne_bytes());
        bytes.extend((u32::from(id) * 3 * stride).to_ne_bytes());
        bytes.extend(stride.to_ne_bytes());
        bytes.extend(RING.to_ne_bytes());
        bytes.push(other_ports);
        let place = self.free_place("SERVICES", at, protocol, 19)?;
        self.put("SERVICES", place, &bytes)
    }

    fn backend(&mut self, id: u16, at: SocketAddr, service: u16, environment: u8) -> Result<()> {
        let mut bytes = key(at);
        bytes.extend(service.to_ne_bytes());
        bytes.extend([environment, abi::entry::USED]);
        self.put("BACKENDS", id.into(), &bytes)
    }

    /// Marks a backend as dead.
    pub fn kill(&mut self, id: u16) -> Result<()> {
        let mut line = self.line("BACKENDS", id.into())?;
        line[24..32].copy_from_slice(&1_u64.to_ne_bytes());
        self.put("BACKENDS", id.into(), &line)
    }

    /// Writes the entry of a backend in `ENDPOINTS`, in a new place.
    fn endpoint(&mut self, id: u16, vip: SocketAddr, deployment: u16, excludes: bool) -> Result<()> {
        let backend = BACKENDS[usize::from(id)];
        let mut bytes = address(backend.address.ip()).to_vec();
        bytes.extend(address(vip.ip()));
        bytes.extend(backend.address.port().to_be_bytes());
        bytes.extend(vip.port().to_be_bytes());
        bytes.extend([TCP, abi::entry::USED]);
        bytes.extend(id.to_ne_bytes());
        bytes.extend(backend.service.to_ne_bytes());
        bytes.extend(deployment.to_ne_bytes());
        bytes.extend([backend.environment, u8::from(excludes)]);
        let place = self.free_place("ENDPOINTS", backend.address, TCP, 37)?;
        self.put("ENDPOINTS", place, &bytes)
    }

    /// The first services of both versions of IP serve UDP too, from the same backends, with or without flow
    /// affinity.
    pub fn serve_udp(&mut self, flows: bool) -> Result<()> {
        for number in [0, V6_SERVICE] {
            let (at, _) = SERVICES[usize::from(number)];
            let mut bytes = self.entry("SERVICES", at, 16, 19)?;
            bytes[18] = UDP;
            bytes[37] = if flows { abi::affinity::FLOW } else { 0 };
            let place = self.free_place("SERVICES", at, UDP, 19)?;
            self.put("SERVICES", place, &bytes)?;
            for backend in BACKENDS.iter().filter(|backend| backend.service == number) {
                let mut bytes = self.entry("ENDPOINTS", backend.address, 32, 37)?;
                bytes[36] = UDP;
                let place = self.free_place("ENDPOINTS", backend.address, UDP, 37)?;
                self.put("ENDPOINTS", place, &bytes)?;
            }
        }
        Ok(())
    }

    /// From now on these services are of this mode, for TCP, and for UDP if it is served later.
    pub fn mode(&mut self, services: &[u16], mode: u8) -> Result<()> {
        for &number in services {
            let (at, _) = SERVICES[usize::from(number)];
            let mut bytes = self.entry("SERVICES", at, 16, 19)?;
            bytes[38] = mode;
            let place = self.place("SERVICES", at, 16, 19)?;
            self.put("SERVICES", place, &bytes)?;
            for (id, backend) in (0..).zip(BACKENDS).filter(|(_, backend)| backend.service == number) {
                self.tunnel(id, backend.address.ip())?;
            }
        }
        Ok(())
    }

    /// Gives a backend an address, and the sources of what carries packets to it: `172.16.0.0/16` or `100::/64`.
    pub fn tunnel(&mut self, id: u16, at: IpAddr) -> Result<()> {
        let mut line = self.line("BACKENDS", id.into())?;
        line[..16].copy_from_slice(&address(at));
        let (prefix, bits) = match at {
            IpAddr::V4(_) => (IpAddr::from([172, 16, 0, 0]), 16),
            IpAddr::V6(_) => (IpAddr::from([0x100, 0, 0, 0, 0, 0, 0, 0]), 32),
        };
        line[32..48].copy_from_slice(&address(prefix));
        line[48] = bits;
        self.put("BACKENDS", id.into(), &line)
    }

    /// The entry for TCP at this address, in a table whose entries have their ports and states there.
    pub(super) fn entry(&self, name: &str, at: SocketAddr, port: usize, state: usize) -> Result<Vec<u8>> {
        Ok(self.line(name, self.place(name, at, port, state)?)?.to_vec())
    }

    /// Where it is.
    pub(super) fn place(&self, name: &str, at: SocketAddr, port: usize, state: usize) -> Result<u32> {
        let wanted = key(at);
        for place in places(at, TCP) {
            let bytes = self.line(name, place)?;
            if bytes[..16] == wanted[..16]
                && bytes[port..port + 2] == wanted[16..]
                && bytes[state] == abi::entry::USED
            {
                return Ok(place);
            }
        }
        anyhow::bail!("{at} is not in {name}")
    }

    /// From now on `EXCLUDED` is consulted for replies of this backend, and holds this prefix.
    pub fn exclude(&mut self, id: u16, prefix: ([u8; 4], u32)) -> Result<()> {
        let backend = BACKENDS[usize::from(id)];
        let (vip, deployment) = SERVICES[usize::from(backend.service)];
        self.remove_endpoint(id)?;
        self.endpoint(id, vip, deployment, true)?;
        let mut map: LpmTrie<_, [u8; 16], u8> = self.map("EXCLUDED")?.try_into()?;
        map.insert(&Key::new(96 + prefix.1, Address::v4(prefix.0).0), 1, 0).context("write EXCLUDED")
    }

    /// Takes a backend out of `ENDPOINTS`, and leaves a mark that a search goes past.
    pub fn remove_endpoint(&mut self, id: u16) -> Result<()> {
        let at = BACKENDS[usize::from(id)].address;
        let wanted = key(at);
        for place in places(at, TCP) {
            let mut bytes = self.line("ENDPOINTS", place)?;
            if bytes[..16] == wanted[..16] && bytes[32..34] == wanted[16..] && bytes[37] == abi::entry::USED {
                bytes[37] = abi::entry::REMOVED;
                return self.put("ENDPOINTS", place, &bytes);
            }
        }
        anyhow::bail!("backend {id} is not in ENDPOINTS")
    }

    /// Takes a backend off the rings and out of `BACKENDS`; its entry in `ENDPOINTS` stays.
    pub fn remove_backend(&mut self, id: u16) -> Result<()> {
        let backend = BACKENDS[usize::from(id)];
        self.ring(backend.service, backend.environment, None)?;
        self.put("BACKENDS", id.into(), &[])
    }

    /// Lets all slots of a ring lead to one backend, or to nobody.
    pub(super) fn ring(&mut self, service: u16, ring: u8, backend: Option<u16>) -> Result<()> {
        let slots = [backend.unwrap_or(abi::NO_BACKEND); RING as usize];
        let stride = ring::elements(RING);
        let mut map: Array<_, u64> = self.map("RINGS")?.try_into()?;
        for (i, element) in (0..).zip(ring::pack(&slots)) {
            map.set((u32::from(service) * 3 + u32::from(ring)) * stride + i, element, 0)?;
        }
        Ok(())
    }

    /// STEADY on one environment.
    pub fn steady(&mut self, deployment: u16, environment: Environment) -> Result<()> {
        self.control(deployment, Phase::Steady, environment, environment)
    }

    /// DRAIN from one environment to the other.
    pub fn flip(&mut self, deployment: u16, from: Environment) -> Result<()> {
        self.control(deployment, Phase::Drain, from, from.other())
    }

    /// Stores a control word; a seal lasts for as long as seals may.
    pub fn control(
        &mut self,
        deployment: u16,
        phase: Phase,
        base: Environment,
        current: Environment,
    ) -> Result<()> {
        self.word(deployment, phase, base, current, now() + SEAL_TICKS - 1)
    }

    /// SEAL from one environment to the other, over for a tick.
    pub fn expired_seal(&mut self, deployment: u16, from: Environment) -> Result<()> {
        self.word(deployment, Phase::Seal, from, from.other(), now() - 1)
    }

    fn word(
        &mut self,
        deployment: u16,
        phase: Phase,
        base: Environment,
        current: Environment,
        expiry: u32,
    ) -> Result<()> {
        let ring = |environment| Ring { slot: environment as u8, environment };
        let word = Control::new(phase, ring(base), ring(current), expiry, 1);
        let mut map: Array<_, u64> = self.map("CONTROL")?.try_into()?;
        map.set(deployment.into(), word.0, 0).context("write CONTROL")
    }

    pub(super) fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the program has no map {name}"))
    }

    /// Writes a line of 64 bytes, zeros behind what is given.
    pub(super) fn put(&mut self, name: &str, index: u32, bytes: &[u8]) -> Result<()> {
        let mut line = [0; 64];
        line[..bytes.len()].copy_from_slice(bytes);
        let mut map: Array<_, [u8; 64]> = self.map(name)?.try_into()?;
        map.set(index, line, 0).with_context(|| format!("write element {index} of {name}"))
    }

    pub(super) fn line(&self, name: &str, index: u32) -> Result<[u8; 64]> {
        let map = self.ebpf.map(name).with_context(|| format!("the program has no map {name}"))?;
        let map: Array<_, [u8; 64]> = map.try_into()?;
        map.get(&index, 0).with_context(|| format!("read element {index} of {name}"))
    }

    /// The first place for a key whose entry's byte `state` says that nothing was ever there.
    pub(super) fn free_place(&self, name: &str, at: SocketAddr, protocol: u8, state: usize) -> Result<u32> {
        for place in places(at, protocol) {
            if self.line(name, place)?[state] == abi::entry::EMPTY {
                return Ok(place);
            }
        }
        anyhow::bail!("{name} has no place left for {at}")
    }
}

/// The program's clock, in ticks.
fn now() -> u32 {
    let now = clock_gettime(ClockId::Monotonic);
    ticks(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
}

pub(super) fn places(at: SocketAddr, protocol: u8) -> impl Iterator<Item = u32> {
    let start = service::place(&Address(address(at.ip())), at.port().to_be_bytes(), protocol);
    (0..service::PROBES).map(move |probe| start.wrapping_add(probe) & (ENTRIES - 1))
}

/// An address as tables have it.
pub(super) fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

pub(super) fn key(at: SocketAddr) -> Vec<u8> {
    let mut bytes = address(at.ip()).to_vec();
    bytes.extend(at.port().to_be_bytes());
    bytes
}
