//! Which processor a thread is on.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// How many the kernel has room for: maps of the kind that is per processor have a part for each.
pub(super) fn count() -> Result<usize> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").context("count processors")?;
    let last = possible.trim().rsplit(['-', ',']).next().unwrap_or_default();
    Ok(last.parse::<usize>().with_context(|| format!("no processors in: {possible}"))? + 1)
}

/// Keeps the calling thread, and the threads that it starts, on one processor: the last one, which has the
/// fewest interrupts, or one that is so many before it.
pub(super) fn stay_on(before_last: usize) -> Result<()> {
    let known: Vec<_> = (0..count()?).rev().collect();
    let mut processors = CpuSet::new();
    processors.set(known[before_last % known.len()]);
    sched_setaffinity(None, &processors).context("stay on a processor")
}
