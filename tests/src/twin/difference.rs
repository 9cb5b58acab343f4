//! Comparing the two sides, and saying in words where they differ.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{NEXT_HOPS, NextHop, REASON_COUNTERS};
use bg_common::reason::Reason;
use bg_common::tables::Word;
use bg_ebpf::host::Host;
use bg_userspace::datapath::Maps;

use super::kernel::Kernel;
use super::node;
use super::world::BACKENDS;

/// What is different.
#[derive(Debug)]
pub struct Difference {
    /// Of what.
    pub what: String,
    /// What the host has.
    pub host: String,
    /// What the kernel has.
    pub kernel: String,
    /// What happened last, the newest at the end.
    pub before: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host and kernel differ in {}:", self.what)?;
        writeln!(f, "  host   {}", self.host)?;
        writeln!(f, "  kernel {}", self.kernel)?;
        writeln!(f, "the tables were equal before the last of these:")?;
        self.before.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl Difference {
    pub(super) fn new(what: impl Into<String>, host: &impl fmt::Debug, kernel: &impl fmt::Debug) -> Self {
        Self {
            what: what.into(),
            host: format!("{host:02x?}"),
            kernel: format!("{kernel:02x?}"),
            before: Vec::new(),
        }
    }
}

/// Compares two values.
pub(super) fn values<T: PartialEq + fmt::Debug>(
    what: impl FnOnce() -> String,
    host: &T,
    kernel: &T,
) -> Result<(), Difference> {
    if host == kernel { Ok(()) } else { Err(Difference::new(what(), host, kernel)) }
}

fn word(
    what: impl FnOnce() -> String,
    host: &AtomicU64,
    kernel: Option<&AtomicU64>,
) -> Result<(), Difference> {
    let kernel = kernel.expect("the kernel's tables have the host's sizes");
    let (host, kernel) = (Word::load(host), Word::load(kernel));
    if host == kernel { Ok(()) } else { Err(Difference::new(what(), &host, &kernel)) }
}

/// Compares every word that packets write, and the control words.
pub(super) fn tables(host: &Host, maps: &Maps) -> Result<(), Difference> {
    let host = &host.tables;
    for (i, control) in host.control.iter().enumerate() {
        word(|| format!("CONTROL of deployment {i}"), control, maps.control.get(i))?;
    }
    for (i, bucket) in host.pins.iter().enumerate() {
        let other = maps.pins.get(i).expect("as many buckets");
        for (j, (pin, other)) in bucket.iter().zip(other).enumerate() {
            for (part, word_of, other) in [
                ("tag", &pin.tag, &other.tag),
                ("half", &pin.half, &other.half),
                ("established", &pin.established, &other.established),
                ("meta", &pin.meta, &other.meta),
            ] {
                word(|| format!("PINS, bucket {i}, pin {j}, {part}"), word_of, Some(other))?;
            }
        }
    }
    for (i, bits) in host.recent.iter().enumerate() {
        let words = host.node.recent_mask as usize + 1;
        let place =
            || format!("RECENT, deployment {}, filter {}, word {}", i / words / 2, i / words % 2, i % words);
        word(place, bits, maps.recent.get(i))?;
    }
    for (name, lines, map) in
        [("CENSUS", &host.census, &maps.census), ("DEPLOYMENTS", &host.deployments, &maps.deployments)]
    {
        for (i, line) in lines.iter().enumerate() {
            let other = map.get(i).expect("as many lines");
            for (j, (value, other)) in line.iter().zip(other).enumerate() {
                word(|| format!("{name}, line {i}, word {j}"), value, Some(other))?;
            }
        }
    }
    Ok(())
}

/// Compares all counters, the locks, which nobody may hold now, and the next hops.
pub(super) fn rest(host: &Host, kernel: &Kernel) -> Result<(), Difference> {
    for index in 0..REASON_COUNTERS + 2 * u32::from(node::numbers().end) {
        counter(host, kernel, index)?;
    }
    for index in 0..BACKENDS.len() as u32 {
        backend_counter(host, kernel, index)?;
    }
    for (key, ours) in host.fragments.borrow().iter() {
        let theirs = kernel.fragments.get(key, 0).ok();
        values(|| format!("FRAGMENTS, {key:?}"), &Some(*ours), &theirs)?;
    }
    for (i, lock) in host.tables.locks.iter().enumerate() {
        word(|| format!("PIN_LOCKS {i}"), lock, kernel.maps().locks.get(i))?;
        values(|| format!("PIN_LOCKS {i} and 0, which is free"), &lock.load(SeqCst), &0)?;
    }
    for index in 0..NEXT_HOPS {
        let ours = host.next_hops[index as usize].get();
        let theirs = kernel.next_hop(index, ours.jiffies).expect("read NEXTHOP");
        values(|| format!("NEXTHOP {index}"), &parts(ours), &parts(theirs))?;
    }
    Ok(())
}

fn parts(hop: NextHop) -> impl PartialEq + fmt::Debug {
    (hop.destination, hop.interface, hop.mtu, hop.epoch, hop.macs, hop.gateway)
}

/// Compares one element of `COUNTERS`.
pub(super) fn counter(host: &Host, kernel: &Kernel, index: u32) -> Result<(), Difference> {
    let name = || match Reason::ALL.iter().find(|&&reason| reason as u32 == index) {
        Some(reason) => format!("the counter of {}", reason.name()),
        None => format!("COUNTERS {index}"),
    };
    let theirs = kernel.counter(index).expect("read COUNTERS");
    values(name, &host.counters[index as usize].get(), &theirs)
}

/// Compares one element of `BACKEND_COUNTERS`.
pub(super) fn backend_counter(host: &Host, kernel: &Kernel, index: u32) -> Result<(), Difference> {
    let theirs = kernel.backend_counter(index).expect("read BACKEND_COUNTERS");
    values(
        || format!("the counter of backend {index}"),
        &host.backend_counters[index as usize].get(),
        &theirs,
    )
}
