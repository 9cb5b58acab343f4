//! The ground on which agents are killed: a laboratory with streams that must stay whole, and the acts
//! during which an agent dies.

use super::acts::{Act, SHARE, Situation};
use super::held::Held;
use super::reboot;
use super::streams::STREAMS;
use super::trap::{Boundary, Trap};
use crate::lab::agent::{PATIENCE, bgctl};
use crate::lab::config::{self, DEPLOYMENT, Settings};
use crate::lab::stage::Stage;
use crate::lab::witness::Resets;
use crate::lab::{Environment, other, word};
use crate::streamer::load::Load;
use anyhow::{Context, Result, bail, ensure};
use bg_userspace::api::types::{DeploymentStatus, HistoryEntry, HistoryResult, Phase, State};
use bg_userspace::journal::Record;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// A log of boundaries that did not grow for so long belongs to an act that is over.
const QUIET: Duration = Duration::from_millis(900);

/// An order that was not carried out for so long never will be; only a drain takes longer.
const LIVES: Duration = Duration::from_secs(4);

/// A laboratory, streams, and an agent that is watched.
pub struct Ground {
    /// The laboratory.
    pub stage: Stage,
    /// What the agent passes, and where it dies.
    pub trap: Trap,
    pub(super) settings: Settings,
    /// What the journal said at first: who is who.
    pub(super) record: Record,
    /// Short streams that come and go all the while, and a few long ones.
    pub(super) churn: Option<Load>,
    pub(super) loads: Vec<Load>,
    before: Resets,
    /// The place of a backend that is told to look ill.
    pub(super) ill: Option<usize>,
    /// The weight of the live environment's last backend.
    pub(super) light: bool,
    /// The last backends are no longer configured.
    pub(super) gone: bool,
}

impl Ground {
    /// Two backends in each environment, and streams on the live one.
    pub fn new(settings: Settings) -> Result<Self> {
        let mut stage = Stage::new(2, 2, &settings)?;
        let trap = Trap::new(&stage.topology.workdir);
        let before = Resets::at_the_ends(&stage.topology)?;
        stage.kill_agent()?;
        let record = reboot::record(&stage)?;
        let (churn, loads) = (None, Vec::new());
        let mut ground = Self {
            stage,
            trap,
            settings,
            record,
            churn,
            loads,
            before,
            ill: None,
            light: false,
            gone: false,
        };
        ground.start()?;
        ground.churn = Some(ground.stage.load(STREAMS, true)?);
        Ok(ground)
    }

    /// Starts an agent that is watched, and waits until it knows every backend.
    pub fn start(&mut self) -> Result<()> {
        self.start_alone()?;
        self.wait_until_known()
    }

    /// Starts one where no backend can be reached yet.
    pub fn start_alone(&mut self) -> Result<()> {
        self.trap.clear()?;
        self.stage.launch_agent(self.trap.bgd(None)?)?;
        self.stage.agent_mut().wait_until_serving()
    }

    /// Starts an agent that shall die at this boundary of its start. `false`: it lives.
    pub fn start_to_die(&mut self, boundary: &Boundary) -> Result<bool> {
        self.trap.set(boundary)?;
        self.stage.launch_agent(self.trap.bgd(None)?)?;
        // What it does once it serves is seen within so long.
        self.stage.agent_mut().serves_or_is_dead();
        self.dies_within(boundary, LIVES)
    }

    /// Waits until the agent sees every backend as it is.
    pub fn wait_until_known(&self) -> Result<()> {
        let ill = self.ill.map(|place| self.stage.topology.backends[place].address.to_string());
        self.stage.agent().wait_for("every backend to be known", |deployment| {
            let members = deployment.environments.iter().flat_map(|environment| &environment.members);
            members.filter(|member| !member.leaving).all(|member| {
                let is_ill = ill.as_ref().is_some_and(|ill| member.address.starts_with(&format!("{ill}:")));
                member.health == if is_ill { "unhealthy" } else { "healthy" }
            })
        })
    }

    /// What the agent says of the deployment.
    pub fn status(&self) -> Result<DeploymentStatus> {
        self.stage.agent().deployment()
    }

    /// What it says was done, newest first.
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        let history: HistoryResult = self.stage.agent().bgctl(&["history", DEPLOYMENT])?.done()?;
        Ok(history.entries)
    }

    /// What the kernel holds.
    pub fn held(&self) -> Result<Held> {
        Held::open(&self.stage.topology.workdir.bpffs().join("bluegreen"))
    }

    /// What the journal holds. The agent must be down.
    pub fn record(&self) -> Result<Record> {
        reboot::record(&self.stage)
    }

    /// Has the agent begin an act; whether it lives to tell is not looked at.
    pub fn begin(&mut self, act: Act) -> Result<()> {
        let live = self.status()?.live;
        let socket = self.stage.agent().socket().to_owned();
        let ask = |args: &[&str]| bgctl(&socket, args).map(drop);
        match act {
            Act::Flip => {
                let to = word(other(live));
                ask(&["flip", DEPLOYMENT, "--to", to, "--force", "syn-memory", "--reason", "a test"])
            }
            Act::Rollback => ask(&["rollback", DEPLOYMENT]),
            Act::Drain => self.end_streams(other(live)),
            Act::Health => {
                let backends = &self.stage.topology.backends;
                let last = backends.iter().rposition(|backend| backend.environment == live);
                let place = self.ill.or(last).context("no backend")?;
                self.stage.fleet.server(place)?.signal(rustix::process::Signal::USR1)?;
                self.ill = if self.ill.is_some() { None } else { Some(place) };
                Ok(())
            }
            Act::Weigh => {
                self.light = !self.light;
                self.write_config()?;
                ask(&["reload"])
            }
            Act::Member => {
                self.gone = !self.gone;
                self.write_config()?;
                ask(&["reload"])
            }
            Act::Share => {
                let (to, share) = (word(other(live)), SHARE.to_string());
                ask(&["flip", DEPLOYMENT, "--to", to, "--share", &share, "--force", "syn-memory"])
            }
        }
    }

    /// Writes the configuration with the backends and weights of the moment.
    fn write_config(&self) -> Result<()> {
        let mut text = config::text(&self.stage.topology, &self.settings);
        // The last of each environment.
        for environment in [Environment::Blue, Environment::Green] {
            let last = self.stage.topology.environment(environment).last().context("no backend")?;
            let address = format!("\"{}:{}\"", last.address, crate::lab::fleet::STREAM_PORT);
            ensure!(text.contains(&format!(", {address}")), "{address} is not the last one in {text}");
            if self.light {
                text = text.replace(&address, &format!("{{ address = {address}, weight = 50 }}"));
            }
            if self.gone {
                text = text.replace(&format!(", {address}"), "");
            }
        }
        std::fs::write(self.stage.config(), text).context("write the configuration")
    }

    /// Waits until an act is over; `live` is where new connections go then.
    pub fn complete(&self, act: Act, live: Environment) -> Result<()> {
        let agent = self.stage.agent();
        match act {
            Act::Flip | Act::Rollback => {
                agent.wait_for("the switch", |deployment| deployment.live == live)?;
            }
            Act::Drain => agent.wait_until_idle()?,
            Act::Health | Act::Weigh | Act::Member => self.wait_until_known()?,
            Act::Share => {
                return agent.wait_for("the share", |deployment| deployment.share == Some(SHARE as u8));
            }
        }
        self.rings_follow()
    }

    /// Waits until the agent passes nothing any more: what follows an act is part of it.
    pub fn wait_for_quiet(&self) -> Result<()> {
        let mut passed = self.trap.passed()?;
        loop {
            std::thread::sleep(QUIET);
            let now = self.trap.passed()?;
            if now == passed {
                return Ok(());
            }
            passed = now;
        }
    }

    /// Waits until the agent has died as ordered. `false`: it lived through the act.
    pub fn has_died(&mut self, act: Act, boundary: &Boundary) -> Result<bool> {
        let is_over =
            |ground: &Self| act == Act::Drain && ground.status().is_ok_and(|d| d.state == State::Idle);
        let end = Instant::now() + if act == Act::Drain { PATIENCE } else { LIVES };
        while Instant::now() < end && !is_over(self) {
            if self.stage.agent_mut().ended(Duration::from_millis(200))?.is_some() {
                break;
            }
        }
        self.dies_within(boundary, QUIET)
    }

    /// Whether it dies there and nowhere else, within so long.
    pub fn dies_within(&mut self, boundary: &Boundary, patience: Duration) -> Result<bool> {
        let Some(status) = self.stage.agent_mut().ended(patience)? else { return Ok(false) };
        if status.signal() != Some(9) {
            return self.fail(&format!("bgd ended with {status}"));
        }
        let last = self.trap.last()?;
        ensure!(last == boundary.name, "it died at {last} and not at {boundary}");
        self.stage.kill_agent()?;
        Ok(true)
    }

    /// Lives through an act, and tells its boundaries.
    pub fn rehearse(&mut self, act: Act) -> Result<Vec<Boundary>> {
        let live = self.live_after(act)?;
        let mark = self.trap.passed()?;
        self.begin(act)?;
        self.complete(act, live)?;
        self.wait_for_quiet()?;
        ensure!(self.status()?.live == live, "{act:?} did not lead to {}", word(live));
        self.open_streams(live)?;
        self.trap.since(mark)
    }

    /// Where new connections go after an act.
    pub fn live_after(&self, act: Act) -> Result<Environment> {
        let live = self.status()?.live;
        Ok(if matches!(act, Act::Flip | Act::Rollback) { other(live) } else { live })
    }

    /// One more release, after all; then everything ends, all streams are held to their promise, and nothing
    /// stays behind in the kernel.
    pub fn finish(mut self) -> Result<()> {
        while self.changed().is_some() || !self.situation()?.allows(Act::Flip, false) {
            self.go_on()?;
        }
        self.rehearse(Act::Flip)?;
        self.rehearse(Act::Drain)?;
        self.all_whole()?;
        let loads = std::mem::take(&mut self.loads);
        self.stage.assert_kept(self.churn.take().into_iter().chain(loads), self.before);
        self.stage
            .agent()
            .wait_for("the deployment to be steady", |deployment| deployment.phase == Phase::Steady)
    }

    /// How things are.
    pub fn situation(&self) -> Result<Situation> {
        let word = self.held()?.word(0)?;
        let rests_on_base = word.base() == word.current();
        Ok(Situation { state: self.status()?.state, rests_on_base, changed: self.changed() })
    }

    /// The change inside an environment that stands.
    fn changed(&self) -> Option<Act> {
        let acts = [(self.ill.is_some(), Act::Health), (self.light, Act::Weigh), (self.gone, Act::Member)];
        acts.into_iter().find_map(|(stands, act)| stands.then_some(act))
    }

    /// Brings the ground to where other acts are possible, undisturbed.
    pub fn go_on(&mut self) -> Result<()> {
        let drains = self.situation()?.allows(Act::Drain, false);
        let act = if drains { Act::Drain } else { self.changed().unwrap_or(Act::Flip) };
        let live = self.live_after(act)?;
        self.begin(act)?;
        self.complete(act, live)?;
        self.open_streams(live)
    }

    /// Fails with what the agent has said.
    pub fn fail<T>(&self, what: &str) -> Result<T> {
        bail!("{what}; bgd said:\n{}", self.stage.agent().log())
    }
}
