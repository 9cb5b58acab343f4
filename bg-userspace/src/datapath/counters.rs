//! The program's counters, summed over the processors.

use aya::maps::{Map, MapData, PerCpuArray};
use aya::{Ebpf, Pod};
use bg_common::abi::{BackendCounter, BackendId, Counter, service_counter};
use bg_common::control::Environment;
use bg_common::reason::Reason;

use super::Error;

const COUNTERS: &str = "COUNTERS";
const BACKEND_COUNTERS: &str = "BACKEND_COUNTERS";

/// The counters.
pub(super) struct Counters {
    counters: PerCpuArray<MapData, Counter>,
    backends: PerCpuArray<MapData, BackendCounter>,
}

impl Counters {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self { counters: open(ebpf, COUNTERS)?, backends: open(ebpf, BACKEND_COUNTERS)? })
    }

    /// A service's environment.
    pub(super) fn service(&self, service: u16, environment: Environment) -> Result<Counter, Error> {
        self.sum(service_counter(service, environment as u8))
    }

    /// A reason.
    pub(super) fn reason(&self, reason: Reason) -> Result<Counter, Error> {
        self.sum(reason as u32)
    }

    /// A backend: SYNs forwarded to it, SYN-ACKs returned from it.
    pub(super) fn backend(&self, id: BackendId) -> Result<BackendCounter, Error> {
        let values = self.backends.get(&id.into(), 0).map_err(|e| fail(BACKEND_COUNTERS, "reading", e))?;
        Ok(values.iter().fold(BackendCounter::default(), |sum, value| BackendCounter {
            syns: sum.syns + value.syns,
            syn_acks: sum.syn_acks + value.syn_acks,
        }))
    }

    fn sum(&self, index: u32) -> Result<Counter, Error> {
        let values = self.counters.get(&index, 0).map_err(|e| fail(COUNTERS, "reading", e))?;
        Ok(values.iter().fold(Counter::default(), |sum, value| Counter {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
            connections: sum.connections + value.connections,
            overflow: sum.overflow + value.overflow,
        }))
    }
}

fn open<V: Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    let map = ebpf.take_map(name).ok_or_else(|| fail(name, "looking it up", "it is not there"))?;
    let Map::PerCpuArray(_) = &map else {
        return Err(fail(name, "looking it up", "it is no per-CPU array"));
    };
    map.try_into().map_err(|e: aya::maps::MapError| fail(name, "opening", e))
}

fn fail(
    name: &'static str,
    act: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Map { name, act, source: source.into() }
}
