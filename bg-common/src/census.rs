//! The census: which flows of the environment that is being left have been seen since the switch, and
//! when. It is how the agent knows that a drain is over, so it errs towards "not yet": a flow that finds
//! no room is noted by time.
//!
//! Buckets of four flows in an array rather than an LRU hash: an insertion costs an exchange instead of
//! half a microsecond, and nothing is evicted that is still alive.

use crate::abi::live;
use crate::control::Environment;
use crate::decide::Segment;
use crate::flow::Flow;
use crate::meta::{Direction, Meta};
use crate::tables::{Tables, Word};

/// Flows in a bucket: a tag and a [`Meta`] each.
pub const FLOWS_PER_BUCKET: usize = 4;

/// Notes a packet of a flow of the environment that is being left.
#[inline(always)]
pub fn note<T: Tables>(
    tables: &T,
    deployment: u16,
    flow: &Flow,
    new: Meta,
    direction: Direction,
    segment: &Segment,
) {
    let seconds = tables.seconds();
    let mask = tables.node().census_mask;
    let Some(line) = tables.census((flow.hash >> 8) as u32 & mask) else { return };
    for i in 0..FLOWS_PER_BUCKET {
        let (tag, meta) = (&line[2 * i], &line[2 * i + 1]);
        let held = tag.load();
        if held == flow.tag {
            let old = Meta(meta.load());
            // The same tuple in the other environment is another flow.
            let old = if old.place() == new.place() { old } else { new };
            let now = old.seen(seconds, direction, segment);
            if now.0 != meta.load() {
                meta.store(now.0);
            }
            return;
        }
    }
    for i in 0..FLOWS_PER_BUCKET {
        let (tag, meta) = (&line[2 * i], &line[2 * i + 1]);
        if tag.load() == 0 && tag.compare_exchange(0, flow.tag) == 0 {
            meta.store(new.seen(seconds, direction, segment).0);
            return;
        }
    }
    if let Some(line) = tables.deployment(deployment) {
        line[live::CENSUS_FULL].store(u64::from(seconds));
    }
}

/// One flow of the census.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its tag.
    pub tag: u64,
    /// When it was last seen, its service, and as place its environment.
    pub meta: Meta,
}

/// The flows of a bucket.
pub fn flows<W: Word>(line: &[W]) -> impl Iterator<Item = Seen> + '_ {
    line.chunks_exact(2)
        .map(|pair| Seen { tag: pair[0].load(), meta: Meta(pair[1].load()) })
        .filter(|seen| seen.tag != 0)
}

/// What the census knows of the environment that is being left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusSummary {
    /// Flows seen since the switch.
    pub seen: u64,
    /// Of those, not over: seen within the horizon, and either open or closed just now.
    pub alive: u64,
    /// Seconds since the last packet of any of them.
    pub last_seen: Option<u32>,
}

/// Counts the flows of the leaving environment that were seen since `since`, and makes room: flows of
/// other drains are taken out. The services are told apart by `deployment_of` their numbers.
pub fn count<T: Tables>(
    tables: &T,
    deployment_of: impl Fn(u16) -> Option<u16>,
    deployment: u16,
    leaving: Environment,
    since: u32,
    horizon: u32,
) -> CensusSummary {
    let seconds = tables.seconds();
    let mut summary = CensusSummary::default();
    for line in (0..=tables.node().census_mask).filter_map(|bucket| tables.census(bucket)) {
        for pair in line.chunks_exact(2) {
            let Some(flow) = flows(pair).next() else { continue };
            if deployment_of(flow.meta.service()) != Some(deployment) {
                continue;
            }
            let age = flow.meta.age(seconds);
            let stale =
                flow.meta.place() != leaving as u16 || age > seconds.wrapping_sub(since).saturating_add(1);
            if stale {
                // The program may write to it once more after this; the flow is noted anew with its next
                // packet then.
                pair[0].compare_exchange(flow.tag, 0);
                continue;
            }
            summary.seen += 1;
            summary.last_seen = Some(summary.last_seen.map_or(age, |last| last.min(age)));
            let limit = if flow.meta.finished() { horizon.min(flow.meta.linger()) } else { horizon };
            summary.alive += u64::from(age < limit);
        }
    }
    summary
}
