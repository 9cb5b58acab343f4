//! What the kernel holds, read from the pins without an agent.

use anyhow::{Context, Result, ensure};
use aya::Pod;
use aya::maps::{Array, Map, MapData};
use bg_common::abi::{ABI_VERSION, Backend, BackendId, Node};
use bg_common::control::{Control, Environment};
use bg_common::ring::{self, SLOTS_PER_ELEMENT};
use bg_userspace::journal::{DeploymentRecord, ServiceRecord};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// Words of `NODE`.
const NODE: usize = size_of::<Node>() / 8;
/// Words of an element of `BACKENDS`.
const BACKEND: usize = size_of::<Backend>() / 8;

/// The pinned maps of a node.
pub struct Held {
    control: Array<MapData, u64>,
    rings: Array<MapData, u64>,
    node: Array<MapData, [u64; NODE]>,
    backends: Array<MapData, [u64; BACKEND]>,
}

impl Held {
    /// Opens the maps under a `pin_dir`.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        Ok(Self {
            control: map(pin_dir, "CONTROL")?,
            rings: map(pin_dir, "RINGS")?,
            node: map(pin_dir, "NODE")?,
            backends: map(pin_dir, "BACKENDS")?,
        })
    }

    /// A deployment's control word.
    pub fn word(&self, deployment: u16) -> Result<Control> {
        Ok(Control(self.control.get(&deployment.into(), 0).context("read the control word")?))
    }

    /// The hash key.
    pub fn key(&self) -> Result<[u64; 4]> {
        let node = self.node.get(&0, 0).context("read the hash key")?;
        Ok([node[0], node[1], node[2], node[3]])
    }

    /// Where a backend listens.
    pub fn address(&self, id: BackendId) -> Result<IpAddr> {
        let line = self.backends.get(&id.into(), 0).with_context(|| format!("read backend {id}"))?;
        let bytes = [line[0].to_ne_bytes(), line[1].to_ne_bytes()].concat();
        let mapped = Ipv6Addr::from_octets(<[u8; 16]>::try_from(bytes.as_slice())?);
        Ok(mapped.to_canonical())
    }

    /// A ring of a service.
    pub fn ring(&self, service: &ServiceRecord, slot: u8) -> Result<Vec<BackendId>> {
        let stride = ring::elements(service.ring_size);
        let first = service.ring_base + u32::from(slot) * stride;
        let mut ids = Vec::new();
        for element in first..first + stride {
            let word = self.rings.get(&element, 0).context("read a ring")?;
            ids.extend((0..SLOTS_PER_ELEMENT).map(|at| ring::unpack(word, at)));
        }
        ids.truncate(service.ring_size as usize);
        Ok(ids)
    }

    /// The environment that all rings of a word's current slot lead to.
    ///
    /// # Errors
    /// When they lead to both, or to another than the word says.
    pub fn current(&self, deployment: &DeploymentRecord) -> Result<Environment> {
        let word = self.word(deployment.index)?;
        let current = word.current();
        for service in &deployment.services {
            for id in self.ring(service, current.slot)? {
                let backend = service.backends.iter().find(|backend| backend.id == id);
                let backend =
                    backend.with_context(|| format!("{} names {id}, which is nobody", service.name))?;
                ensure!(
                    backend.environment == current.environment,
                    "{word:?} leads to {:?}, and its ring to {backend:?}",
                    current.environment
                );
            }
        }
        Ok(current.environment)
    }
}

fn map<V: Pod>(pin_dir: &Path, name: &str) -> Result<Array<MapData, V>> {
    let path = pin_dir.join(format!("v{ABI_VERSION}")).join(name);
    let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    Map::Array(data).try_into().with_context(|| format!("read {}", path.display()))
}
