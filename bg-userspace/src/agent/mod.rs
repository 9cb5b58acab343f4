//! The agent: one task that owns all state and is the only writer. Health results, requests, route changes
//! and the clock come to it as messages; it answers one at a time.

#![forbid(unsafe_code)]

mod backends;
mod book;
mod commit;
mod detach;
mod drain;
mod inner;
mod members;
mod paths;
mod requests;
mod rings;
mod start;
mod status;
mod switch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bg_common::abi::BackendId;
use bg_common::control::Phase;
use bg_common::reason::Reason;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::backends::Backends;
pub use self::backends::targets;
use self::book::Book;
pub use self::detach::detach;
use self::paths::Paths;
pub use self::start::Start;
use crate::api::Call;
use crate::config::{self, Config, Protocol};
use crate::datapath::{self, Datapath, Deployment, Error, InstalledBackend, Lifetimes, clock};
use crate::health::{Checker, Report};
use crate::rollout::Motive;

/// How often drains are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often pins are looked through for ones that are over.
const SWEEP: Duration = Duration::from_secs(5);

/// A weight that no configuration has.
const UNKNOWN_WEIGHT: u16 = u16::MAX;

/// What reaches the agent.
pub struct Inbox {
    /// Requests over the control socket.
    pub calls: mpsc::Receiver<Call>,
    /// Results of health checks.
    pub reports: mpsc::Receiver<Report>,
    /// Routes or neighbours have changed.
    pub routes: mpsc::Receiver<()>,
    /// The configuration is to be read again.
    pub reloads: mpsc::Receiver<()>,
}

/// Starts health checks for what is served.
pub type Checks = Box<dyn Fn(&[Deployment], &Config) -> Checker + Send + Sync>;

/// The agent.
pub struct Agent {
    datapath: Datapath,
    /// Where the configuration was read from.
    file: PathBuf,
    config: Config,
    deployments: Vec<Managed>,
    backends: Backends,
    book: Book,
    paths: Paths,
    /// A word was stored, and no grace period has been seen to its end since.
    grace_due: bool,
    started: Instant,
    swept: Instant,
    /// When the first change of health came that the rings do not follow yet.
    health_changed: Option<Instant>,
    /// Packets that were lost because a backend's hardware address was not known.
    lost_for_neighbours: u64,
    checks: Checks,
    /// Keeps the health checks going.
    checker: Checker,
}

/// A deployment and what the agent remembers of it; a restart may forget this.
pub(crate) struct Managed {
    installed: Deployment,
    config: config::Deployment,
    /// How the last operation ended.
    last: Option<String>,
    /// What the operator should know.
    alarm: Option<String>,
    /// What was lost with a reboot in mid-drain; of interest until that drain is over.
    lost: Option<String>,
    /// The weights that the rings were made with.
    weights: HashMap<BackendId, u16>,
}

impl Managed {
    fn new(installed: Deployment, config: config::Deployment, weights: HashMap<BackendId, u16>) -> Self {
        Self { installed, config, last: None, alarm: None, lost: None, weights }
    }

    fn backends(&self) -> impl Iterator<Item = &InstalledBackend> {
        self.installed.services.iter().flat_map(|service| &service.backends)
    }

    /// Whether some backend has another weight than its rings were made with.
    fn reweighted(&self) -> bool {
        self.backends().any(|b| self.weights.get(&b.id).is_some_and(|weight| *weight != b.weight))
    }

    /// Rings have just been made with the weights of now.
    fn weigh(&mut self) {
        self.weights = self.backends().map(|backend| (backend.id, backend.weight)).collect();
    }

    /// Rings were made with weights that were not written down any more: they are looked at anew.
    fn forget_weights(&mut self) {
        self.weights.values_mut().for_each(|weight| *weight = UNKNOWN_WEIGHT);
    }

    fn motive(&self, datapath: &Datapath) -> Motive {
        Motive::from_ledger(datapath.ledger(self.installed.index).motive)
    }
}

impl Agent {
    /// Works until `stop` resolves. Everything stays pinned then: traffic goes on.
    pub async fn run(mut self, mut inbox: Inbox, stop: impl Future<Output = ()>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(call) = inbox.calls.recv() => tokio::task::block_in_place(|| self.answer(call)),
                Some(report) = inbox.reports.recv() => tokio::task::block_in_place(|| self.heard(report)),
                Some(()) = inbox.routes.recv() => self.routes_changed().await,
                Some(()) = inbox.reloads.recv() => tokio::task::block_in_place(|| self.reload_by_signal()),
                _ = tick.tick() => tokio::task::block_in_place(|| {
                    // What is known by now comes before what follows from it.
                    while let Ok(report) = inbox.reports.try_recv() {
                        self.heard(report);
                    }
                    self.tick();
                }),
            }
        }
        info!("stopping; the program stays attached and traffic goes on");
    }

    /// Routes, neighbours or interfaces have changed.
    async fn routes_changed(&self) {
        self.datapath.routes_changed();
        match crate::datapath::hardware_addresses().await {
            Ok(addresses) => self.datapath.interfaces_changed(&addresses),
            Err(error) => warn!(%error, "asking for the hardware addresses of the interfaces"),
        }
    }

    /// A health result. The rings do not follow at once: backends that fail together must be seen together,
    /// or the first of them would be taken for a failure of its own.
    fn heard(&mut self, report: Report) {
        if self.backends.record(report) {
            self.health_changed.get_or_insert_with(Instant::now);
        }
    }

    /// Whether the changes of health have had the time of one more probe of every backend to be complete.
    fn health_settled(&self) -> bool {
        self.health_changed.is_some_and(|since| since.elapsed() >= self.backends.settle())
    }

    /// What time brings: rotations, drains, expired pins, backends that stay refused.
    fn tick(&mut self) {
        let outcome = self
            .rotate()
            .and_then(|()| self.follow_if_due())
            .and_then(|()| self.step_drains())
            .and_then(|()| self.look_at_paths())
            .and_then(|()| self.resolve_neighbours())
            .and_then(|()| self.sweep());
        if let Err(error) = outcome {
            error!(%error, "the kernel refused; traffic goes on as it is, and this is tried again");
        }
    }

    /// In mode dsr the program cannot leave a packet to the kernel whose neighbour is not known: it was lost, and the
    /// kernel is told to ask.
    fn resolve_neighbours(&mut self) -> Result<(), Error> {
        let lost = self.datapath.reason(Reason::NoNeighbour)?.packets;
        if lost != self.lost_for_neighbours {
            self.lost_for_neighbours = lost;
            datapath::resolve_neighbours(&self.config)?;
        }
        Ok(())
    }

    fn follow_if_due(&mut self) -> Result<(), Error> {
        if !self.health_settled() && !self.backends.deaths_due() {
            return Ok(());
        }
        self.health_changed = None;
        self.follow()
    }

    /// Rotates the SYN memories that are due. The stamp is in the map: a restart rotates nothing early.
    fn rotate(&mut self) -> Result<(), Error> {
        let lifetime = self.config.node.syn_lifetime.as_nanos() as u64;
        for deployment in &self.deployments {
            let index = deployment.installed.index;
            if clock::monotonic().saturating_sub(self.datapath.ledger(index).rotated_at) >= lifetime {
                self.datapath.rotate(index);
                self.datapath.grace()?;
            }
        }
        Ok(())
    }

    /// What is looked at now and then: deployments that rest, backends that leave, and pins whose time is over,
    /// while there can be any.
    fn sweep(&mut self) -> Result<(), Error> {
        if self.swept.elapsed() < SWEEP {
            return Ok(());
        }
        self.swept = Instant::now();
        self.step_resting()?;
        self.see_off()?;
        for deployment in &self.deployments {
            self.datapath.forget_testers(&deployment.installed)?;
        }
        let steady = |d: &Managed| {
            self.datapath.control(d.installed.index).phase() == Phase::Steady
                && !d.installed.services.iter().any(|service| self.datapath.pins_always(service))
        };
        if self.deployments.iter().all(steady) {
            return Ok(());
        }
        let half = self.config.node.syn_lifetime.as_secs().max(1) as u32;
        let mut lifetimes = HashMap::new();
        for deployment in &self.deployments {
            for service in &deployment.installed.services {
                if let Some(wanted) = deployment.config.services.get(&service.name) {
                    let idle = wanted.idle_timeout.as_secs().max(1) as u32;
                    // Of datagrams nothing is half.
                    let half = if wanted.protocol == Protocol::Udp { idle } else { half };
                    let ids = [Some(service.id), service.preview.map(|preview| preview.id)];
                    lifetimes.extend(ids.into_iter().flatten().map(|id| (id, Lifetimes { half, idle })));
                }
            }
        }
        let freed = self.datapath.expire_pins(|service| lifetimes.get(&service).copied())?;
        if freed > 0 {
            tracing::debug!(freed, "pins expired");
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.deployments.iter().position(|deployment| deployment.installed.name == name)
    }
}

/// Says something to the log and keeps it for `status`.
fn finish(deployment: &mut Managed, text: String) {
    info!(deployment = deployment.installed.name, "{text}");
    deployment.last = Some(text);
}

/// Raises or clears a deployment's alarm, and logs it once.
fn alarm(deployment: &mut Managed, text: Option<String>) {
    if deployment.alarm != text {
        if let Some(text) = &text {
            warn!(deployment = deployment.installed.name, "{text}");
        } else {
            info!(deployment = deployment.installed.name, "the alarm is over");
        }
        deployment.alarm = text;
    }
}
