//! Health checks: one task per backend, so that a hung one delays no other. A task probes, filters
//! what it saw by rise and fall, and reports; it never decides what a verdict means for routing.

#![forbid(unsafe_code)]

mod filter;
mod goodbye;
mod http;
mod probe;
mod task;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Instant};

use tokio::sync::{mpsc, watch};

use crate::config;

/// Names a target in reports; the agent chooses it.
pub type Key = u32;

/// What to probe, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in reports.
    pub key: Key,
    /// The backend's address; `check.port` overrides the port.
    pub address: SocketAddr,
    /// How to check it.
    pub check: config::Health,
}

/// The outcome of one probe, once rise and fall allow one. Until then the target is unknown and no
/// report comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The target.
    pub key: Key,
    /// Its state after this probe.
    pub verdict: Verdict,
    /// When the probe ended.
    pub at: Instant,
}

/// The state of a target after rise and fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `rise` successes in a row, and not `fall` failures in a row since.
    Healthy,
    /// `fall` failures in a row, and not `rise` successes in a row since.
    Unhealthy {
        /// What the latest failed probe saw, in a phrase.
        reason: String,
        /// The latest probe was refused or found no host: a candidate for dead.
        refused: bool,
    },
}

/// Keeps the probes going; dropping it stops them. A probe that is under way ends by itself, so
/// that its connection is closed in good order; its result is not reported.
#[derive(Debug)]
pub struct Checker {
    _stop: watch::Sender<()>,
}

/// Starts a task per target. Must be called within a tokio runtime. The first probe of a target
/// comes at a random moment of its first interval. The tasks end as well when `out` is closed.
pub fn spawn(targets: Vec<Target>, out: mpsc::Sender<Report>) -> Checker {
    let (stop, stopped) = watch::channel(());
    for target in targets {
        tokio::spawn(task::run(target, out.clone(), stopped.clone()));
    }
    // From here on the tasks alone hold the channel.
    drop(out);
    Checker { _stop: stop }
}
