//! The program's counters, summed over the processors.

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use bg_common::abi::{Counter, service_counter};
use bg_common::control::Environment;
use bg_common::reason::Reason;

use super::Error;

/// The counters.
pub(super) struct Counters {
    map: PerCpuArray<MapData, Counter>,
}

impl Counters {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("COUNTERS").ok_or_else(|| fail("looking it up", "it is not there"))?;
        let Map::PerCpuArray(_) = &map else {
            return Err(fail("looking it up", "it is no per-CPU array"));
        };
        Ok(Self { map: map.try_into().map_err(|e: aya::maps::MapError| fail("opening", e))? })
    }

    /// A service's environment.
    pub(super) fn service(&self, service: u16, environment: Environment) -> Result<Counter, Error> {
        self.sum(service_counter(service, environment as u8))
    }

    /// A reason.
    pub(super) fn reason(&self, reason: Reason) -> Result<Counter, Error> {
        self.sum(reason as u32)
    }

    fn sum(&self, index: u32) -> Result<Counter, Error> {
        let values = self.map.get(&index, 0).map_err(|e| fail("reading", e))?;
        Ok(values.iter().fold(Counter::default(), |sum, value| Counter {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
            connections: sum.connections + value.connections,
            overflow: sum.overflow + value.overflow,
        }))
    }
}

fn fail(act: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Map { name: "COUNTERS", act, source: source.into() }
}
