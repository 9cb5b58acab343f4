//! The agent's side of the SYN memory and of the census: rotation, estimates, counts.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use bg_common::abi::live;
use bg_common::control::Environment;
use bg_common::tables::Tables as _;
use bg_common::{census, recent};

use super::maps::Maps;

/// Words of a filter that are looked at to estimate its false positives.
const SAMPLE: u32 = 4096;
/// A flow that has sent FIN both ways is over after so many seconds of silence.
const LINGER: u32 = 120;

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

/// Clears the older filter of a deployment and makes it the active one. What it forgets is at least one
/// rotation old.
pub(super) fn rotate(maps: &Maps, deployment: u16) {
    let Some(line) = maps.deployments.get(deployment.into()) else { return };
    let older = (line[live::RECENT_ACTIVE].load(SeqCst) as u32 & 1) ^ 1;
    let mask = maps.node().recent_mask;
    for word in 0..=mask {
        let index = recent::index(mask, deployment, older, word);
        if let Some(word) = maps.recent.get(index as usize)
            && word.load(Relaxed) != 0
        {
            word.store(0, Relaxed);
        }
    }
    line[live::RECENT_ACTIVE].store(older.into(), SeqCst);
}

/// Share of new connections that the SYN memory takes for known ones.
pub(super) fn false_positive_rate(maps: &Maps, deployment: u16) -> f64 {
    let mask = maps.node().recent_mask;
    let step = (mask + 1).div_ceil(SAMPLE).max(1);
    (0..2)
        .map(|filter| {
            let words = (0..=mask).step_by(step as usize);
            recent::false_positive_rate(words.filter_map(|word| {
                let index = recent::index(mask, deployment, filter, word);
                maps.recent.get(index as usize).map(|word| word.load(Relaxed))
            }))
        })
        .sum()
}

/// Counts the flows of the leaving environment, and makes room: flows of other drains are taken out.
pub(super) fn census(
    maps: &Maps,
    deployment: u16,
    leaving: Environment,
    since: u32,
    horizon: u32,
) -> CensusSummary {
    let seconds = maps.seconds();
    let mut summary = CensusSummary::default();
    let deployment_of = |service: u16| maps.names.read(service.into()).map(|name| name.deployment);
    for line in maps.census.iter() {
        for (pair, flow) in line.chunks_exact(2).zip(flows(line)) {
            let Some(flow) = flow else { continue };
            if deployment_of(flow.meta.service()) != Some(deployment) {
                continue;
            }
            let age = flow.meta.age(seconds);
            let stale =
                flow.meta.place() != leaving as u16 || age > seconds.wrapping_sub(since).saturating_add(1);
            if stale {
                // The program may write to it once more after this; the flow is noted anew with its next
                // packet then.
                pair[0].compare_exchange(flow.tag, 0, SeqCst, SeqCst).ok();
                continue;
            }
            summary.seen += 1;
            summary.last_seen = Some(summary.last_seen.map_or(age, |last| last.min(age)));
            let limit = if flow.meta.finished() { horizon.min(LINGER) } else { horizon };
            summary.alive += u64::from(age < limit);
        }
    }
    summary
}

fn flows(line: &[std::sync::atomic::AtomicU64]) -> impl Iterator<Item = Option<census::Seen>> + '_ {
    line.chunks_exact(2).map(|pair| census::flows(pair).next())
}
