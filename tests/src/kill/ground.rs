//! The ground on which agents are killed: a laboratory with streams that must stay whole, and the acts
//! during which an agent dies.

use super::held::Held;
use super::reboot;
use super::trap::{Boundary, Trap};
use crate::lab::agent::{PATIENCE, bgctl};
use crate::lab::clock::eventually;
use crate::lab::config::{self, DEPLOYMENT, Settings};
use crate::lab::stage::Stage;
use crate::lab::witness::Resets;
use crate::lab::{Environment, other, word};
use crate::streamer::load::Load;
use anyhow::{Context, Result, bail, ensure};
use bg_userspace::api::types::{DeploymentStatus, HistoryEntry, HistoryResult, Phase, State};
use bg_userspace::journal::{BackendRecord, Record};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// Streams of one load.
const STREAMS: u32 = 4;
/// A log of boundaries that did not grow for so long belongs to an act that is over.
const QUIET: Duration = Duration::from_millis(900);

/// Something that an agent does, and may die in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The idle environment becomes live.
    Flip,
    /// The environment before becomes live again.
    Rollback,
    /// The environment that was left is empty at last, and pins are cleared.
    Drain,
    /// A backend of the live environment fails its checks, or passes them again.
    Health,
    /// A backend of the live environment gets another weight, by a reload.
    Weigh,
}

/// An order that was not carried out for so long never will be; only a drain takes longer.
const LIVES: Duration = Duration::from_secs(4);

/// What decides on the acts that can be begun.
pub struct Situation {
    state: State,
    rests_on_base: bool,
    all_well: bool,
}

impl Situation {
    /// Whether an act can be begun; one that writes a ring of its own, if `writes_ring`.
    pub fn allows(&self, act: Act, writes_ring: bool) -> bool {
        // A change inside an environment that goes back to base finds its ring there.
        let change = self.state == State::Idle && (!writes_ring || self.rests_on_base);
        match act {
            Act::Flip => self.state == State::Idle,
            Act::Health => change,
            // Where one backend takes everything, weights change nothing.
            Act::Weigh => change && self.all_well,
            Act::Rollback => self.state == State::Draining,
            Act::Drain => matches!(self.state, State::Draining | State::RollingBack),
        }
    }
}

/// A laboratory, streams, and an agent that is watched.
pub struct Ground {
    /// The laboratory.
    pub stage: Stage,
    /// What the agent passes, and where it dies.
    pub trap: Trap,
    settings: Settings,
    /// What the journal said at first: who is who.
    record: Record,
    /// Short streams that come and go all the while, and a few long ones.
    churn: Option<Load>,
    loads: Vec<Load>,
    before: Resets,
    /// The place of a backend that is told to look ill.
    ill: Option<usize>,
    /// The weight of the live environment's last backend.
    light: bool,
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
        let mut ground =
            Self { stage, trap, settings, record, churn, loads, before, ill: None, light: false };
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
        self.dies_within(boundary, LIVES)
    }

    /// Waits until the agent sees every backend as it is.
    pub fn wait_until_known(&self) -> Result<()> {
        let ill = self.ill.map(|place| self.stage.topology.backends[place].address.to_string());
        self.stage.agent().wait_for("every backend to be known", |deployment| {
            let mut members = deployment.environments.iter().flat_map(|environment| &environment.members);
            members.all(|member| {
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
        }
    }

    /// Writes the configuration with the weights of the moment.
    fn write_config(&self) -> Result<()> {
        let mut text = config::text(&self.stage.topology, &self.settings);
        if self.light {
            // The last of each environment.
            for environment in [Environment::Blue, Environment::Green] {
                let last = self.stage.topology.environment(environment).last().context("no backend")?;
                let address = format!("\"{}:{}\"", last.address, crate::lab::fleet::STREAM_PORT);
                ensure!(text.contains(&address), "{address} is not in {text}");
                text = text.replace(&address, &format!("{{ address = {address}, weight = 50 }}"));
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
            Act::Health | Act::Weigh => self.wait_until_known()?,
        }
        self.rings_follow()
    }

    /// Waits until the rings in the kernel are what health and weights ask for.
    fn rings_follow(&self) -> Result<()> {
        let mut last = Ok(Vec::new());
        let follow = eventually(PATIENCE, || {
            last = self.slots();
            // A ring is as fair as its slots can be divided.
            last.as_ref().is_ok_and(|slots| slots.iter().all(|(wanted, found)| wanted.abs_diff(*found) < 40))
        });
        if follow { Ok(()) } else { self.fail(&format!("the rings do not follow (wanted, found): {last:?}")) }
    }

    /// The slots of the current ring that each backend of the live environment should have, and has.
    fn slots(&self) -> Result<Vec<(usize, usize)>> {
        let held = self.held()?;
        let deployment = self.record.deployments.first().context("no deployment")?;
        let service = deployment.services.first().context("no service")?;
        let current = held.word(deployment.index)?.current();
        let ring = held.ring(service, current.slot)?;
        let backends = service.backends.iter().filter(|backend| backend.environment == current.environment);
        let backends: Vec<_> = backends.collect();
        let ill = self.ill.map(|place| self.stage.topology.backends[place].address);
        let weight = |(at, backend): (usize, &&BackendRecord)| match backend.address.ip() {
            ip if ill.is_some_and(|ill| ip == ill) => 0,
            _ if self.light && at + 1 == backends.len() => 50,
            _ => 100,
        };
        let weights: Vec<usize> = backends.iter().enumerate().map(weight).collect();
        let sum: usize = weights.iter().sum();
        let found = backends.iter().map(|b| ring.iter().filter(|slot| **slot == b.id).count());
        Ok(weights.iter().map(|weight| ring.len() * weight / sum).zip(found).collect())
    }

    /// Slots of base and current that lead to the backend with this place in the topology.
    pub fn slots_of(&self, place: usize) -> Result<usize> {
        let held = self.held()?;
        let address = self.stage.topology.backends[place].address;
        let mut count = 0;
        for deployment in &self.record.deployments {
            let word = held.word(deployment.index)?;
            for service in &deployment.services {
                let backend = service.backends.iter().find(|backend| backend.address.ip() == address);
                let id = backend.context("nobody has this address")?.id;
                for slot in [word.base().slot, word.current().slot] {
                    count += held.ring(service, slot)?.iter().filter(|found| **found == id).count();
                }
            }
        }
        Ok(count)
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

    /// New streams now: all of them reach this environment.
    pub fn open_streams(&mut self, wanted: Environment) -> Result<()> {
        let load = self.stage.load(STREAMS, false)?;
        let reached = load.tally().open(wanted);
        self.loads.push(load);
        ensure!(
            reached == u64::from(STREAMS),
            "{reached} of {STREAMS} new connections reached {}",
            word(wanted)
        );
        self.all_whole()
    }

    /// No stream has failed, and all go on.
    pub fn all_whole(&self) -> Result<()> {
        let answered: Vec<_> = self.streams().map(|load| load.tally().answered()).collect();
        let go_on = eventually(PATIENCE, || {
            self.streams().zip(&answered).all(|(load, answered)| {
                let tally = load.tally();
                tally.answered() >= answered + u64::from(STREAMS) || tally.failed() > 0
            })
        });
        for load in self.streams() {
            let tally = load.tally();
            ensure!(tally.failed() == 0, "a stream failed: {:?}", tally.failures());
        }
        ensure!(go_on, "streams stand still");
        Ok(())
    }

    fn streams(&self) -> impl Iterator<Item = &Load> {
        self.churn.iter().chain(&self.loads)
    }

    /// Ends the streams of an environment by FINs both ways.
    fn end_streams(&mut self, environment: Environment) -> Result<()> {
        for load in self.streams() {
            load.order(|orders| match environment {
                Environment::Blue => orders.end_blue = true,
                Environment::Green => orders.end_green = true,
            });
        }
        let ended = eventually(PATIENCE, || self.streams().all(|load| load.tally().open(environment) == 0));
        ensure!(ended, "streams of {} do not end", word(environment));
        // Short ones go on to come and go, wherever new connections go.
        for load in self.streams() {
            load.order(|orders| (orders.end_blue, orders.end_green) = (false, false));
        }
        let over = |load: &mut Load| load.tally().open(other(environment)) == 0;
        let over: Vec<_> = self.loads.extract_if(.., over).collect();
        over.into_iter().try_for_each(end)
    }

    /// Ends all streams, and holds them to their promise.
    pub fn end_all_streams(&mut self) -> Result<()> {
        self.churn.take().into_iter().chain(std::mem::take(&mut self.loads)).try_for_each(end)
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
        while self.ill.is_some() || self.light || !self.situation()?.allows(Act::Flip, false) {
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
        Ok(Situation { state: self.status()?.state, rests_on_base, all_well: self.ill.is_none() })
    }

    /// Brings the ground to where other acts are possible, undisturbed.
    pub fn go_on(&mut self) -> Result<()> {
        let act = if self.situation()?.allows(Act::Drain, false) {
            Act::Drain
        } else if self.ill.is_some() {
            Act::Health
        } else if self.light {
            Act::Weigh
        } else {
            Act::Flip
        };
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

/// Ends a load, and holds it to its promise.
fn end(load: Load) -> Result<()> {
    let tally = load.stop()?;
    ensure!(tally.failed() == 0, "a stream failed: {:?}", tally.failures());
    ensure!(tally.fates().kept == tally.fates().opened, "{:?}", tally.fates());
    Ok(())
}
