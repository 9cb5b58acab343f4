//! The pinned maps of the agent under test, opened once more beside it: what the kernel goes by, without
//! asking the agent.

use crate::lab::topology::Topology;
use anyhow::{Context, Result, ensure};
use aya::Pod;
use aya::maps::{Array, Map, MapData};
use bg_common::abi::{self, ABI_VERSION, BackendId, entry};
use bg_common::control::Control;
use bg_common::ring;
use std::collections::HashMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A service as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) id: u16,
    pub(super) vip: SocketAddr,
    base: u32,
    stride: u32,
    pub(super) size: u32,
}

/// One ring of every service, in the order of [`Maps::services`].
pub(super) type Rings = Vec<Vec<BackendId>>;

/// The pinned maps, opened once more.
pub(super) struct Maps {
    control: Array<MapData, u64>,
    rings: Array<MapData, u64>,
    directory: PathBuf,
    /// The key of the flow hash.
    pub(super) key: [u64; 4],
    pub(super) services: Vec<Service>,
    /// Which host a backend is on, by its name in the topology.
    pub(super) hosts: HashMap<BackendId, String>,
}

impl Maps {
    /// Opens what the agent of this laboratory has pinned; it must have started.
    pub(super) fn open(topology: &Topology) -> Result<Self> {
        let directory = topology.workdir.bpffs().join(format!("bluegreen/v{ABI_VERSION}"));
        let node: Array<_, [u64; size_of::<abi::Node>() / 8]> = open(&directory, "NODE")?;
        let node = node.get(&0, 0).context("read NODE")?;
        let at = offset_of!(abi::Node, key) / 8;
        let key = node[at..at + 4].try_into().context("a node without a key")?;
        let services = services(&open(&directory, "SERVICES")?)?;
        ensure!(!services.is_empty(), "no service is installed in {}", directory.display());
        let hosts = hosts(&open(&directory, "BACKENDS")?, topology)?;
        let (control, rings) = (open(&directory, "CONTROL")?, open(&directory, "RINGS")?);
        Ok(Self { control, rings, directory, key, services, hosts })
    }

    /// The control word of the only deployment.
    pub(super) fn control(&self) -> Result<Control> {
        Ok(Control(self.control.get(&0, 0).context("read CONTROL")?))
    }

    /// The ring in this slot, for every service.
    pub(super) fn rings(&self, slot: u8) -> Result<Rings> {
        self.services.iter().map(|service| self.ring(service, slot)).collect()
    }

    fn ring(&self, service: &Service, slot: u8) -> Result<Vec<BackendId>> {
        let first = service.base + u32::from(slot) * service.stride;
        let mut slots = Vec::with_capacity(service.size as usize + 3);
        for element in first..first + ring::elements(service.size) {
            let element = self.rings.get(&element, 0).context("read RINGS")?;
            slots.extend((0..ring::SLOTS_PER_ELEMENT).map(|slot| ring::unpack(element, slot)));
        }
        slots.truncate(service.size as usize);
        Ok(slots)
    }

    /// Empties the pin table behind everybody's back.
    pub(super) fn wipe_pins(&self) -> Result<()> {
        let mut pins: Array<_, [u64; size_of::<bg_common::pin::Bucket<u64>>() / 8]> =
            open(&self.directory, "PINS")?;
        let empty = [0; size_of::<bg_common::pin::Bucket<u64>>() / 8];
        for bucket in 0..pins.len() {
            pins.set(bucket, empty, 0).context("wipe PINS")?;
        }
        Ok(())
    }
}

fn open<V: Pod>(directory: &Path, name: &str) -> Result<Array<MapData, V>> {
    let path = directory.join(name);
    let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    let array = Array::try_from(Map::Array(data));
    array.with_context(|| format!("{} has another shape", path.display()))
}

fn services(map: &Array<MapData, [u8; size_of::<abi::Service>()]>) -> Result<Vec<Service>> {
    let mut found = Vec::new();
    for index in 0..map.len() {
        let bytes = map.get(&index, 0).context("read SERVICES")?;
        let port = u16::from_be_bytes(part(&bytes, offset_of!(abi::Service, port)));
        // Port 0 stands for the VIP itself.
        if bytes[offset_of!(abi::Service, state)] == entry::USED && port != 0 {
            let word = |at| u32::from_ne_bytes(part(&bytes, at));
            found.push(Service {
                id: u16::from_ne_bytes(part(&bytes, offset_of!(abi::Service, id))),
                vip: SocketAddr::new(address(&bytes, offset_of!(abi::Service, vip)), port),
                base: word(offset_of!(abi::Service, ring_base)),
                stride: word(offset_of!(abi::Service, ring_stride)),
                size: word(offset_of!(abi::Service, ring_size)),
            });
        }
    }
    Ok(found)
}

fn hosts(
    map: &Array<MapData, [u8; size_of::<abi::Backend>()]>,
    topology: &Topology,
) -> Result<HashMap<BackendId, String>> {
    let mut found = HashMap::new();
    for id in 0..map.len() {
        let bytes = map.get(&id, 0).context("read BACKENDS")?;
        if bytes[offset_of!(abi::Backend, state)] == entry::USED {
            let address = address(&bytes, offset_of!(abi::Backend, address));
            let host = topology
                .backends
                .iter()
                .find(|backend| [IpAddr::from(backend.address), backend.address6.into()].contains(&address));
            let host = host.with_context(|| format!("a backend at {address}, where no host is"))?;
            found.insert(BackendId::try_from(id)?, host.name.clone());
        }
    }
    Ok(found)
}

/// An address; the tables have those of IPv4 mapped.
fn address(bytes: &[u8], at: usize) -> IpAddr {
    Ipv6Addr::from(part::<16>(bytes, at)).to_canonical()
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
