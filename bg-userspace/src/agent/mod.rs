//! The agent: one task that owns all state and is the only writer. Health results, requests, route changes
//! and the clock come to it as messages; it answers one at a time.

#![forbid(unsafe_code)]

mod backends;
mod drain;
mod requests;
mod status;
mod switch;

use std::time::{Duration, Instant};

use bg_common::control::Phase;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::backends::Backends;
pub use self::backends::targets;
use crate::api::Call;
use crate::config::{self, Config};
use crate::datapath::{Datapath, Deployment, Error, Opened, clock};
use crate::health::{Checker, Report};
use crate::rollout::{self, Motive};

/// How often drains are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often pins are looked through for ones that are over.
const SWEEP: Duration = Duration::from_secs(5);

/// What reaches the agent.
pub struct Inbox {
    /// Requests over the control socket.
    pub calls: mpsc::Receiver<Call>,
    /// Results of health checks.
    pub reports: mpsc::Receiver<Report>,
    /// Routes or neighbours have changed.
    pub routes: mpsc::Receiver<()>,
}

/// The agent.
pub struct Agent {
    datapath: Datapath,
    config: Config,
    deployments: Vec<Managed>,
    backends: Backends,
    started: Instant,
    swept: Instant,
    /// When the first change of health came that the rings do not follow yet.
    health_changed: Option<Instant>,
    /// Keeps the health checks going.
    _checker: Checker,
}

/// A deployment and what the agent remembers of it; a restart may forget this.
pub(crate) struct Managed {
    installed: Deployment,
    config: config::Deployment,
    /// How the last operation ended.
    last: Option<String>,
    /// What the operator should know.
    alarm: Option<String>,
}

impl Managed {
    fn motive(&self, datapath: &Datapath) -> Motive {
        Motive::from_ledger(datapath.ledger(self.installed.index).motive)
    }
}

impl Agent {
    /// Takes over an opened data plane, and puts in order what an agent that was killed left unfinished.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn new(
        opened: Opened,
        config: Config,
        checks: impl FnOnce(&[Deployment], &Config) -> Checker,
    ) -> Result<Self, Error> {
        let Opened { mut datapath, deployments, adopted } = opened;
        let checker = checks(&deployments, &config);
        // A word stored just before the last agent died may not have reached every processor.
        datapath.grace()?;
        let backends = Backends::new(&deployments, &config, &datapath);
        let mut managed = Vec::new();
        for installed in deployments {
            let Some(wanted) = config.deployments.get(&installed.name).cloned() else { continue };
            let control = datapath.control(installed.index);
            if control.phase() == Phase::Seal {
                datapath.store(installed.index, rollout::unseal(control));
                datapath.grace()?;
            }
            let control = datapath.control(installed.index);
            if control.phase() == Phase::Steady
                && datapath.ledger(installed.index).cleared_epoch != control.epoch()
            {
                drain::clear(&mut datapath, installed.index)?;
            }
            if adopted {
                info!(deployment = installed.name, phase = ?control.phase(), generation = control.epoch(), "adopted");
            }
            managed.push(Managed { installed, config: wanted, last: None, alarm: None });
        }
        let now = Instant::now();
        Ok(Self {
            datapath,
            config,
            deployments: managed,
            backends,
            started: now,
            swept: now,
            health_changed: None,
            _checker: checker,
        })
    }

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
                _ = tick.tick() => tokio::task::block_in_place(|| self.tick()),
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
            .and_then(|()| self.follow_health_if_due())
            .and_then(|()| self.step_drains())
            .and_then(|()| self.sweep());
        if let Err(error) = outcome {
            error!(%error, "the kernel refused; traffic goes on as it is, and this is tried again");
        }
    }

    fn follow_health_if_due(&mut self) -> Result<(), Error> {
        if !self.health_settled() && !self.backends.deaths_due() {
            return Ok(());
        }
        self.health_changed = None;
        self.follow_health()
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

    /// Frees pins whose time is over, while there can be any.
    fn sweep(&mut self) -> Result<(), Error> {
        if self.swept.elapsed() < SWEEP {
            return Ok(());
        }
        self.swept = Instant::now();
        let steady = |d: &Managed| self.datapath.control(d.installed.index).phase() == Phase::Steady;
        if self.deployments.iter().all(steady) {
            return Ok(());
        }
        let half = self.config.node.syn_lifetime.as_secs().max(1) as u32;
        let mut idle = std::collections::HashMap::new();
        for deployment in &self.deployments {
            for service in &deployment.installed.services {
                if let Some(wanted) = deployment.config.services.get(&service.name) {
                    idle.insert(service.id, wanted.idle_timeout.as_secs().max(1) as u32);
                }
            }
        }
        let freed = self.datapath.expire_pins(|service| {
            idle.get(&service).map(|&idle| crate::datapath::Lifetimes { half, idle })
        })?;
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
