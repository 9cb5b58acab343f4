//! How many ICMP errors a processor sends: a reserve, filled up again by every timer tick. Messages about packets
//! that are too large have one of their own, so that nobody who sends packets without hops, or to a port without a
//! backend, keeps clients from finding out what fits.

use crate::kernel::{Kernel, Spent};

use super::Error;

/// The reserve.
pub(crate) const RESERVE: u32 = 10_000;
/// What a timer tick gives back: 1,000 to 10,000 a second, as [`Kernel::jiffies`] counts.
pub(crate) const PER_TICK: u32 = 10;

/// Spends one answer. `false`: there is none left just now.
#[inline(always)]
pub(super) fn spend<K: Kernel>(kernel: &K, error: Error) -> bool {
    let index = u32::from(matches!(error, Error::TooBig(_)));
    let Some(cell) = kernel.answers(index) else { return false };
    let jiffies = kernel.jiffies();
    let Spent { answers, jiffies: before } = cell.get();
    // As many ticks as fill up all of it are as good as any more.
    let ticks = jiffies.wrapping_sub(before).min(RESERVE / PER_TICK);
    let answers = answers.saturating_sub(ticks * PER_TICK);
    let enough = answers < RESERVE;
    cell.set(Spent { answers: answers + u32::from(enough), jiffies });
    enough
}
