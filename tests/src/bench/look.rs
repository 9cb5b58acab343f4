//! What the program counted: which way packets took.

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use bg_common::abi::{Counter, service_counter};
use bg_common::reason::Reason;

use super::cases::Way;

/// The counters of a loaded program.
pub(super) struct Look {
    counters: PerCpuArray<MapData, Counter>,
    services: u16,
}

/// What they showed.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    reasons: Vec<u64>,
    /// Blue and green, over all services.
    environments: [Counter; 2],
}

impl Look {
    pub(super) fn new(ebpf: &mut Ebpf, services: u16) -> Result<Self> {
        let map = ebpf.take_map("COUNTERS").context("the program has no map COUNTERS")?;
        Ok(Self { counters: map.try_into()?, services })
    }

    pub(super) fn now(&self) -> Result<Shown> {
        let reasons = Reason::ALL.iter().map(|&reason| Ok(self.sum(reason as u32)?.packets));
        let mut environments = [Counter::default(); 2];
        for service in 0..self.services {
            for (environment, sum) in (0..).zip(&mut environments) {
                add(sum, &self.sum(service_counter(service, environment))?);
            }
        }
        Ok(Shown { reasons: reasons.collect::<Result<_>>()?, environments })
    }

    fn sum(&self, index: u32) -> Result<Counter> {
        let mut sum = Counter::default();
        for counter in self.counters.get(&index, 0).context("read COUNTERS")?.iter() {
            add(&mut sum, counter);
        }
        Ok(sum)
    }
}

impl Shown {
    /// New connections that found no room for a pin.
    pub(super) fn overflow(&self) -> u64 {
        self.environments.iter().map(|counter| counter.overflow).sum()
    }

    /// Fails unless so many packets, and no others, took this way since `before`. So many strays are allowed
    /// to have gone the other way within the program.
    pub(super) fn check(&self, before: &Self, way: Way, packets: u32, strays: u32) -> Result<()> {
        let (packets, strays) = (u64::from(packets), u64::from(strays));
        for (i, reason) in Reason::ALL.iter().enumerate() {
            let grown = self.reasons[i] - before.reasons[i];
            let expected = if *reason == way.reason { packets } else { 0 };
            ensure!(grown == expected, "{grown} packets ended as {reason:?}, and not {expected}");
        }
        for (i, (after, before)) in self.environments.iter().zip(&before.environments).enumerate() {
            let to = [way.environment == Some(0), way.environment == Some(1)][i];
            let expected = if to { packets } else { 0 };
            let opened = if to && way.opens { packets } else { 0 };
            for (what, grown, expected) in [
                ("packets", after.packets - before.packets, expected),
                ("connections", after.connections - before.connections, opened),
                ("connections without room for a pin", after.overflow - before.overflow, 0),
            ] {
                let name = ["blue", "green"][i];
                ensure!(grown.abs_diff(expected) <= strays, "{grown} {what} to {name}, and not {expected}");
            }
        }
        Ok(())
    }
}

fn add(sum: &mut Counter, more: &Counter) {
    sum.packets += more.packets;
    sum.bytes += more.bytes;
    sum.connections += more.connections;
    sum.overflow += more.overflow;
}
