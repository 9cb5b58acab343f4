//! What the maps take: asked of the kernel, and computed from the limits.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use bg_common::abi::{
    Backend, BackendCounter, Counter, Endpoint, NEXT_HOPS, NextHop, REASON_COUNTERS, Service,
};
use bg_common::pin::{PINS_PER_BUCKET, Pin};
use bg_userspace::config::Limits;
use serde::Serialize;

/// Bytes of the maps of a node.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// What the kernel says that it holds for them (`memlock`).
    pub bytes: u64,
    /// What follows from the limits.
    pub formula: u64,
}

impl Memory {
    pub(super) fn text(&self) -> String {
        let Self { bytes, formula } = self;
        format!("maps: {} MiB by the kernel's count, {} MiB by the formula", bytes >> 20, formula >> 20)
    }

    /// Of the maps that this process has opened, which are those of one node with these limits.
    pub(super) fn look(limits: &Limits, cpus: usize) -> Result<Self> {
        let mut maps = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fdinfo").context("read /proc/self/fdinfo")? {
            let path = entry.context("read /proc/self/fdinfo")?.path();
            let info = match fs::read_to_string(&path) {
                Ok(info) => info,
                // The descriptor of the directory itself, or of another thread's.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
            };
            let field = |name: &str| {
                let line = info.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.trim().parse::<u64>().ok())
            };
            if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
                maps.insert(id, bytes);
            }
        }
        Ok(Self { bytes: maps.values().sum(), formula: formula(limits, cpus as u64) })
    }
}

/// All that grows with a limit, and the next hops; the rest is some kilobytes.
fn formula(limits: &Limits, cpus: u64) -> u64 {
    let of = |entries: u32, size: usize| u64::from(entries) * size as u64;
    // One of eight entries is in use at most; of services, at most as many as 16 bits number, but four for each.
    let services = (limits.services * 16).next_power_of_two().min(1 << 16);
    let shared = of(services.max((limits.services * 4).next_power_of_two()), size_of::<Service>())
        + of((limits.backends * 8).next_power_of_two(), size_of::<Endpoint>())
        + of(limits.backends, size_of::<Backend>())
        + of(limits.ring_entries, 2)
        + of(
            limits.pins.div_ceil(PINS_PER_BUCKET as u32).next_power_of_two(),
            PINS_PER_BUCKET * size_of::<Pin<u64>>(),
        )
        + of(limits.census.div_ceil(4).next_power_of_two(), 64)
        + u64::from(limits.deployments) * 2 * limits.syn_memory;
    let each = of(NEXT_HOPS, size_of::<NextHop>())
        + of(REASON_COUNTERS + 2 * limits.services, size_of::<Counter>())
        + of(limits.backends, size_of::<BackendCounter>());
    shared + cpus * each
}
