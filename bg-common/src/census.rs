//! The census: which flows of the environment that is being left have been seen since the switch, and
//! when. It is how the agent knows that a drain is over, so it errs towards "not yet": a flow that finds
//! no room is noted by time.
//!
//! Buckets of four flows in an array rather than an LRU hash: an insertion costs an exchange instead of
//! half a microsecond, and nothing is evicted that is still alive.

use crate::abi::live;
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
