//! All maps of the loaded program, mapped. This is also how the shared rule runs over the live tables.

use std::sync::atomic::AtomicU64;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use bg_common::abi::{
    Backend, BackendId, Endpoint, Interface, Ledger, NO_BACKEND, Node, Service, ServiceName,
};
use bg_common::control::Control;
use bg_common::pin::Bucket;
use bg_common::tables::{Line, Tables};

use super::Error;
use super::clock;
use super::layout::Sizes;
use super::mapping::Mapping;

/// The mapped maps.
pub struct Maps {
    /// `NODE`.
    pub node: Mapping<Node>,
    /// `CONTROL`.
    pub control: Mapping<AtomicU64>,
    /// `SERVICES`.
    pub services: Mapping<Service>,
    /// `ENDPOINTS`.
    pub endpoints: Mapping<Endpoint>,
    /// `BACKENDS`.
    pub backends: Mapping<Backend>,
    /// `RINGS`.
    pub rings: Mapping<AtomicU64>,
    /// `PINS`.
    pub pins: Mapping<Bucket<AtomicU64>>,
    /// `PIN_LOCKS`.
    pub locks: Mapping<AtomicU64>,
    /// `RECENT`.
    pub recent: Mapping<AtomicU64>,
    /// `CENSUS`.
    pub census: Mapping<Line<AtomicU64>>,
    /// `DEPLOYMENTS`.
    pub deployments: Mapping<Line<AtomicU64>>,
    /// `LEDGER`.
    pub ledger: Mapping<Ledger>,
    /// `NAMES`.
    pub names: Mapping<ServiceName>,
    /// `INTERFACES`.
    pub interfaces: Mapping<Interface>,
}

/// All of them, each made by a macro of its name.
macro_rules! every {
    ($map:ident) => {
        Self {
            node: $map!("NODE"),
            control: $map!("CONTROL"),
            services: $map!("SERVICES"),
            endpoints: $map!("ENDPOINTS"),
            backends: $map!("BACKENDS"),
            rings: $map!("RINGS"),
            pins: $map!("PINS"),
            locks: $map!("PIN_LOCKS"),
            recent: $map!("RECENT"),
            census: $map!("CENSUS"),
            deployments: $map!("DEPLOYMENTS"),
            ledger: $map!("LEDGER"),
            names: $map!("NAMES"),
            interfaces: $map!("INTERFACES"),
        }
    };
}

impl Maps {
    pub(super) fn new(ebpf: &Ebpf, sizes: &Sizes) -> Result<Self, Error> {
        macro_rules! map {
            ($name:literal) => {
                Mapping::new($name, array(ebpf, $name)?, sizes.entries($name))?
            };
        }
        Ok(every!(map))
    }

    /// Of plain memory, without a program.
    #[cfg(test)]
    pub(super) fn plain(sizes: &Sizes) -> Self {
        macro_rules! map {
            ($name:literal) => {
                Mapping::plain(sizes.entries($name))
            };
        }
        every!(map)
    }
}

/// The array map of that name.
fn array<'e>(ebpf: &'e Ebpf, name: &'static str) -> Result<&'e MapData, Error> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(Error::Map { name, act: "looking it up in the program", source: "it is not there".into() }),
    }
}

impl Tables for Maps {
    type Word = AtomicU64;

    fn node(&self) -> &Node {
        self.node.get(0).expect("NODE has one element, or it would not have been mapped")
    }

    fn control(&self, deployment: u16) -> Control {
        let word = self.control.get(deployment.into());
        Control(word.map_or(0, |word| word.load(std::sync::atomic::Ordering::Acquire)))
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<AtomicU64>> {
        self.deployments.get(deployment.into())
    }

    fn ring(&self, element: u32) -> Option<u64> {
        self.rings.get(element as usize).map(|word| word.load(std::sync::atomic::Ordering::Acquire))
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        if id == NO_BACKEND { None } else { self.backends.get(id.into()) }
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<AtomicU64>> {
        self.pins.get(bucket as usize)
    }

    fn pin_lock(&self, index: u32) -> Option<&AtomicU64> {
        self.locks.get(index as usize)
    }

    fn recent(&self, index: u32) -> Option<&AtomicU64> {
        self.recent.get(index as usize)
    }

    fn census(&self, bucket: u32) -> Option<&Line<AtomicU64>> {
        self.census.get(bucket as usize)
    }

    fn nanoseconds(&self) -> u64 {
        clock::monotonic()
    }
}
