//! The shape of every pinned map, from the limits of the configuration, and the check that what is
//! pinned already has it. Opening a pinned map checks nothing by itself.

use std::path::Path;

use aya::maps::{MapData, MapInfo};
use bg_common::abi;
use bg_common::pin;

use super::Error;
use crate::config::Limits;

/// Map types by their numbers in `linux/bpf.h`.
const ARRAY: u32 = 2;
const PERCPU_ARRAY: u32 = 6;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;
const ARRAY_OF_MAPS: u32 = 12;

/// `BPF_F_MMAPABLE`.
pub(super) const MMAPABLE: u32 = 1 << 10;
const NO_PREALLOC: u32 = 1;

/// One map.
pub(super) struct Shape {
    pub(super) name: &'static str,
    kind: u32,
    key: u32,
    value: u32,
    pub(super) entries: u32,
    flags: u32,
}

/// Entries of an open-addressed table for each key. A search ends after eight places; where one of four entries is
/// in use, a table that is full to its limit often has a key for which all eight are taken, and where one of eight
/// is, hardly ever.
const SPARSE: u32 = 8;

/// Every service has up to two keys: itself, and its VIP. An endpoint that is shared names services by their
/// entries, in 16 bits, for which a table with many services is filled more.
fn service_entries(services: u32) -> u32 {
    let entries = (services * 2 * SPARSE).next_power_of_two();
    entries.min(1 << 16).max((services * 4).next_power_of_two())
}

/// The sizes that follow from the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) deployments: u32,
    pub(super) services: u32,
    pub(super) service_entries: u32,
    pub(super) backends: u32,
    pub(super) endpoint_entries: u32,
    pub(super) ring_elements: u32,
    pub(super) pin_buckets: u32,
    pub(super) no_pins: bool,
    pub(super) recent_words: u32,
    pub(super) census_buckets: u32,
}

impl Sizes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            deployments: limits.deployments,
            services: limits.services,
            service_entries: service_entries(limits.services),
            backends: limits.backends,
            endpoint_entries: (limits.backends * SPARSE).next_power_of_two(),
            ring_elements: limits.ring_entries.div_ceil(bg_common::ring::SLOTS_PER_ELEMENT),
            pin_buckets: limits.pins.div_ceil(pin::PINS_PER_BUCKET as u32).next_power_of_two(),
            no_pins: limits.pins == 0,
            recent_words: u32::try_from(limits.syn_memory / 8).unwrap_or(u32::MAX).next_power_of_two(),
            census_buckets: limits.census.div_ceil(4).next_power_of_two(),
        }
    }

    /// How many elements a map has; 0 if there is no such map.
    pub(super) fn entries(&self, name: &str) -> u32 {
        self.shapes().iter().find(|shape| shape.name == name).map_or(0, |shape| shape.entries)
    }

    /// Every map.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let array = |name, value: usize, entries| Shape {
            name,
            kind: ARRAY,
            key: 4,
            value: value as u32,
            entries,
            flags: MMAPABLE,
        };
        let percpu = |name, value: usize, entries| Shape {
            name,
            kind: PERCPU_ARRAY,
            key: 4,
            value: value as u32,
            entries,
            flags: 0,
        };
        vec![
            array("CONTROL", 8, self.deployments),
            array("NODE", size_of::<abi::Node>(), 1),
            array("SERVICES", size_of::<abi::Service>(), self.service_entries),
            array("ENDPOINTS", size_of::<abi::Endpoint>(), self.endpoint_entries),
            array("BACKENDS", size_of::<abi::Backend>(), self.backends),
            array("RINGS", 8, self.ring_elements),
            array("PINS", size_of::<pin::Bucket<u64>>(), self.pin_buckets),
            array("PIN_LOCKS", 8, pin::LOCKS),
            array("RECENT", 8, self.deployments * 2 * self.recent_words),
            array("CENSUS", 64, self.census_buckets),
            array("DEPLOYMENTS", 64, self.deployments),
            array("LEDGER", size_of::<abi::Ledger>(), self.deployments),
            array("NAMES", size_of::<abi::ServiceName>(), self.services),
            array("INTERFACES", size_of::<abi::Interface>(), abi::INTERFACES),
            percpu("NEXTHOP", size_of::<abi::NextHop>(), abi::NEXT_HOPS),
            percpu("COUNTERS", size_of::<abi::Counter>(), abi::REASON_COUNTERS + 2 * self.services),
            percpu("BACKEND_COUNTERS", size_of::<abi::BackendCounter>(), self.backends),
            percpu("ANSWERS", 8, 2),
            Shape {
                name: "FRAGMENTS",
                kind: LRU_HASH,
                key: size_of::<abi::FragmentKey>() as u32,
                value: size_of::<abi::Fragmented>() as u32,
                entries: abi::FRAGMENTS,
                flags: 0,
            },
            percpu("NOTE", 24, 1),
            Shape { name: "EXCLUDED", kind: LPM_TRIE, key: 20, value: 1, entries: 1024, flags: NO_PREALLOC },
            Shape { name: "TESTERS", kind: LPM_TRIE, key: 22, value: 1, entries: 1024, flags: NO_PREALLOC },
            Shape { name: "GRACE", kind: ARRAY_OF_MAPS, key: 4, value: 4, entries: 1, flags: 0 },
        ]
    }

    /// Checks every map that is pinned in `directory`.
    ///
    /// # Errors
    /// The first one whose shape is another; nothing has been touched then.
    pub(super) fn check(&self, directory: &Path) -> Result<(), Error> {
        for shape in self.shapes() {
            let path = directory.join(shape.name);
            if !path.exists() {
                return Err(Error::Incomplete { directory: directory.into(), missing: shape.name });
            }
            let map = MapData::from_pin(&path).map_err(|source| Error::Map {
                name: shape.name,
                act: "opening the pinned map",
                source: source.into(),
            })?;
            let info = map.info().map_err(|source| Error::Map {
                name: shape.name,
                act: "asking for its shape",
                source: source.into(),
            })?;
            shape.compare(&info, &path)?;
        }
        Ok(())
    }
}

impl Shape {
    fn compare(&self, info: &MapInfo, path: &Path) -> Result<(), Error> {
        let kind = info.map_type().map_or(u32::MAX, |kind| kind as u32);
        for (what, wanted, found) in [
            ("type", self.kind, kind),
            ("key size", self.key, info.key_size()),
            ("value size", self.value, info.value_size()),
            ("number of entries", self.entries, info.max_entries()),
            ("flags", self.flags, info.map_flags()),
        ] {
            if wanted != found {
                return Err(Error::Shape { path: path.into(), what, wanted, found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config;
    use crate::datapath::PROGRAM;

    /// What is compared with a pinned map is what the program was compiled with.
    #[test]
    fn the_shapes_are_those_of_the_program() {
        let config = config::parse(Path::new("example.toml"), config::Config::example()).unwrap();
        let checked = Sizes::new(&config.limits).shapes().into_iter();
        let checked: BTreeMap<_, _> =
            checked.map(|s| (s.name.to_owned(), (s.kind, s.key, s.value, s.flags))).collect();
        let program = aya_obj::Object::parse(PROGRAM).unwrap();
        let compiled = program.maps.into_iter();
        let compiled: BTreeMap<_, _> = compiled
            // Constants of the program itself are never pinned, and its stages belong to it alone.
            .filter(|(name, _)| !name.starts_with('.') && name != "STAGES")
            .map(|(name, m)| (name, (m.map_type(), m.key_size(), m.value_size(), m.map_flags())))
            .collect();
        assert_eq!(checked, compiled);
    }
}
