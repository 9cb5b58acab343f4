//! What the agent knows of every backend's health.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bg_common::abi::BackendId;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::datapath::{Datapath, Deployment};
use crate::health::{Report, Target, Verdict};

/// A backend that refuses connections for this long is dead, not merely failing.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// A result older than so many intervals says nothing any more.
const STALE_INTERVALS: u32 = 3;

/// A backend's health.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    /// The last verdict, and when it came.
    pub(crate) verdict: Option<(Verdict, Instant)>,
    /// The refusals since which there was no other result.
    refused: Option<Refused>,
    /// Its pins are void and its slots are given away.
    pub(crate) dead: bool,
    stale_after: Duration,
    /// How long its checks take to notice that it answers no more.
    pub(crate) notice: Duration,
    /// Probed on the port that serves: a refusal there speaks for the service itself.
    speaks_for_service: bool,
}

/// Refusals in a row.
#[derive(Clone, Copy, Debug)]
struct Refused {
    first: Instant,
    last: Instant,
}

/// All backends.
#[derive(Debug)]
pub(crate) struct Backends {
    known: HashMap<BackendId, Backend>,
    settle: Duration,
}

/// The targets for the health checks.
pub fn targets(deployments: &[Deployment], config: &Config) -> Vec<Target> {
    each(deployments, config)
        .map(|(backend, check)| Target {
            key: backend.id.into(),
            address: backend.address,
            check: check.clone(),
        })
        .collect()
}

fn each<'a>(
    deployments: &'a [Deployment],
    config: &'a Config,
) -> impl Iterator<Item = (&'a crate::datapath::InstalledBackend, &'a config::Health)> {
    deployments.iter().flat_map(move |deployment| {
        let wanted = config.deployments.get(&deployment.name);
        deployment.services.iter().flat_map(move |service| {
            let health = wanted.and_then(|wanted| wanted.services.get(&service.name)).map(|s| &s.health);
            service.backends.iter().filter_map(move |backend| Some((backend, health?)))
        })
    })
}

impl Backends {
    /// Nothing is known yet but which ones are dead: that is in the map.
    pub(crate) fn new(deployments: &[Deployment], config: &Config, datapath: &Datapath) -> Self {
        let known = each(deployments, config)
            .map(|(backend, check)| {
                let state = Backend {
                    address: backend.address,
                    verdict: None,
                    refused: None,
                    dead: datapath.is_dead(backend.id),
                    stale_after: check.interval * STALE_INTERVALS + check.timeout,
                    notice: check.interval * (check.fall + 1) + check.timeout,
                    speaks_for_service: check.port.is_none_or(|port| port == backend.address.port()),
                };
                (backend.id, state)
            })
            .collect();
        let settle = each(deployments, config).map(|(_, check)| check.interval + check.timeout).max();
        Self { known, settle: settle.unwrap_or_default() }
    }

    /// The backends that are there now; what is known of those that were stays known.
    pub(crate) fn renew(&mut self, deployments: &[Deployment], config: &Config, datapath: &Datapath) {
        let mut new = Self::new(deployments, config, datapath);
        for (id, backend) in &mut new.known {
            if let Some(old) = self.known.get(id).filter(|old| old.address == backend.address) {
                backend.verdict.clone_from(&old.verdict);
                backend.refused = old.refused;
            }
        }
        *self = new;
    }

    /// Takes a result. Returns whether the backend's state is another now.
    pub(crate) fn record(&mut self, report: Report) -> bool {
        let Some(backend) = BackendId::try_from(report.key).ok().and_then(|id| self.known.get_mut(&id))
        else {
            return false;
        };
        let was = backend.healthy();
        let refused = matches!(report.verdict, Verdict::Unhealthy { refused: true, .. });
        backend.refused = (refused && backend.speaks_for_service).then(|| Refused {
            first: backend.refused.map_or(report.at, |refused| refused.first),
            last: report.at,
        });
        backend.verdict = Some((report.verdict, report.at));
        let is = backend.healthy();
        if was != is {
            if let Some((Verdict::Unhealthy { reason, .. }, _)) = &backend.verdict {
                warn!(backend = %backend.address, reason, "backend fails its checks");
            } else {
                info!(backend = %backend.address, "backend is healthy");
            }
        }
        was != is
    }

    /// Whether some backend has been refused for long enough, and is not known as dead yet.
    pub(crate) fn deaths_due(&self) -> bool {
        let now = Instant::now();
        self.known.values().any(|backend| !backend.dead && backend.should_be_dead(now))
    }

    /// Within this time every backend has been probed once more.
    pub(crate) fn settle(&self) -> Duration {
        self.settle
    }

    pub(crate) fn get(&self, id: BackendId) -> Option<&Backend> {
        self.known.get(&id)
    }

    pub(crate) fn set_dead(&mut self, id: BackendId, dead: bool) {
        if let Some(backend) = self.known.get_mut(&id) {
            backend.dead = dead;
        }
    }
}

impl Backend {
    /// `None` while nothing is known.
    pub(crate) fn healthy(&self) -> Option<bool> {
        self.verdict.as_ref().map(|(verdict, _)| *verdict == Verdict::Healthy)
    }

    /// Healthy by a result that is not stale.
    pub(crate) fn fresh_and_healthy(&self) -> bool {
        self.healthy() == Some(true)
            && self.verdict.as_ref().is_some_and(|(_, at)| at.elapsed() <= self.stale_after)
    }

    /// Refused for long enough, and just now: what counts is what its probes saw, and not the time that went by
    /// since. A backend may have come back while the agent, on a busy machine, did not get its turn.
    pub(crate) fn should_be_dead(&self, now: Instant) -> bool {
        self.refused.is_some_and(|refused| {
            refused.last.duration_since(refused.first) >= DEAD_AFTER
                && now.saturating_duration_since(refused.last) <= self.stale_after
        })
    }

    /// Why it is not fit, in a phrase.
    pub(crate) fn complaint(&self) -> Option<String> {
        match &self.verdict {
            None => Some("no result of its checks yet".to_owned()),
            Some((Verdict::Unhealthy { reason, .. }, _)) => Some(reason.clone()),
            Some((Verdict::Healthy, at)) if at.elapsed() > self.stale_after => {
                Some(format!("its last result is {} s old", at.elapsed().as_secs()))
            }
            Some((Verdict::Healthy, _)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(300);
    /// One probe less than it takes.
    const NEARLY: Duration = Duration::from_millis(4_700);

    fn backends() -> Backends {
        let backend = Backend {
            address: "10.0.1.1:80".parse().unwrap(),
            verdict: None,
            refused: None,
            dead: false,
            stale_after: INTERVAL * STALE_INTERVALS,
            notice: INTERVAL,
            speaks_for_service: true,
        };
        Backends { known: HashMap::from([(7, backend)]), settle: INTERVAL }
    }

    /// Probes for so long, all refused, from `start` on. Returns when the last one was.
    fn refuse(backends: &mut Backends, start: Instant, lasting: Duration) -> Instant {
        let mut at = start;
        while at <= start + lasting {
            let verdict = Verdict::Unhealthy { reason: "connection refused".to_owned(), refused: true };
            backends.record(Report { key: 7, verdict, at });
            at += INTERVAL;
        }
        at.checked_sub(INTERVAL).unwrap()
    }

    fn dead(backends: &Backends, now: Instant) -> bool {
        backends.get(7).unwrap().should_be_dead(now)
    }

    #[test]
    fn a_backend_that_is_refused_for_long_enough_is_dead() {
        let (mut backends, start) = (backends(), Instant::now());
        let last = refuse(&mut backends, start, NEARLY);
        assert!(!dead(&backends, last));
        let last = refuse(&mut backends, last + INTERVAL, INTERVAL);
        assert!(dead(&backends, last));
    }

    #[test]
    fn time_that_goes_by_without_a_probe_kills_nobody() {
        let (mut backends, start) = (backends(), Instant::now());
        let last = refuse(&mut backends, start, Duration::from_secs(2));
        assert!(!dead(&backends, last + DEAD_AFTER), "refused for two seconds only");
        let last = refuse(&mut backends, last + INTERVAL, DEAD_AFTER);
        assert!(dead(&backends, last));
        assert!(!dead(&backends, last + Duration::from_secs(2)), "who knows what it is now");
    }

    #[test]
    fn any_other_result_begins_anew() {
        let (mut backends, start) = (backends(), Instant::now());
        let last = refuse(&mut backends, start, DEAD_AFTER);
        let slow = Verdict::Unhealthy { reason: "no answer".to_owned(), refused: false };
        backends.record(Report { key: 7, verdict: slow, at: last });
        assert!(!dead(&backends, last));
        let last = refuse(&mut backends, last, NEARLY);
        assert!(!dead(&backends, last));
    }
}
