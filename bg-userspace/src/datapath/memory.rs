//! The agent's side of the SYN memory and of the census, over the maps: rotation, estimates, counts.

use std::sync::atomic::Ordering::Relaxed;

use bg_common::control::Environment;
use bg_common::tables::Tables as _;
use bg_common::{census, recent};

pub use bg_common::census::CensusSummary;

use super::maps::Maps;

/// Words of a filter that are looked at to estimate its false positives.
const SAMPLE: u32 = 4096;

/// Clears the older filter of a deployment and makes it the active one.
pub(super) fn rotate(maps: &Maps, deployment: u16) {
    recent::rotate(maps, deployment);
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
    let deployment_of = |service: u16| maps.names.read(service.into()).map(|name| name.deployment);
    census::count(maps, deployment_of, deployment, leaving, since, horizon)
}
