//! The acts of the demo, in their order.

use super::events::{Events, Kind, seconds};
use super::load::{Totals, Traffic};
use super::summary::Control;
use super::watch::Watch;
use crate::lab::agent::bgctl;
use crate::lab::capture::Captured;
use crate::lab::clock::realtime_ns;
use crate::lab::config::DEPLOYMENT;
use crate::lab::stage::Stage;
use crate::lab::witness::Resets;
use crate::lab::{Environment, word};
use anyhow::{Context, Result, bail, ensure};
use bg_userspace::api::types::{Phase, State, SwitchResult};
use std::time::Duration;

/// Seconds that the switched run takes at scale 1, for the width of the picture.
const EXPECTED_S: f64 = 47.0;
/// The drain may take so many times five seconds; a few are enough unless something holds it.
const DRAIN_TURNS: u32 = 12;

/// The stage, and whoever watches it.
pub(super) struct Show {
    pub(super) stage: Stage,
    pub(super) events: Events,
    pub(super) watch: Watch,
    pub(super) scale: f64,
    pub(super) switches: Vec<Switch>,
}

/// A switch, and when it was asked for.
pub(super) struct Switch {
    pub(super) asked_ns: u64,
    pub(super) result: SwitchResult,
}

/// What the acts were.
#[derive(Default)]
pub(super) struct Acts {
    pub(super) flips: u64,
    pub(super) rollbacks: u64,
    pub(super) down_ns: u64,
    pub(super) down_answered: u64,
    pub(super) up_ns: u64,
    pub(super) flipped_ns: u64,
    pub(super) drained_ns: u64,
}

/// A run from its start to the moment when its load was told to stop.
pub(super) struct Span {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    growth: Resets,
}

impl Span {
    pub(super) fn judge(&self, captured: &Captured) -> Control {
        Control {
            seconds: seconds(self.end_ns - self.start_ns),
            tcp_estab_resets: self.growth.estab_resets,
            tcp_out_rsts: self.growth.out_rsts,
            captured_rst: captured.resets_between(self.start_ns, self.end_ns),
        }
    }
}

impl Show {
    /// The same load for a while without any switch: what its witnesses show is the load's own.
    pub(super) fn control(&mut self) -> Result<Span> {
        let (start_ns, before, traffic) = self.begin("control run, nothing is switched", 8.0)?;
        self.pause(8.0);
        let (span, totals) = self.end(start_ns, before, traffic)?;
        self.events.note(format!("control run: {} requests, {} failed", totals.requests(), totals.failed()));
        ensure!(
            totals.failed() == 0,
            "already the control run fails, without any switch: {:?}",
            totals.complaints()
        );
        Ok(span)
    }

    pub(super) fn switched(&mut self) -> Result<(Acts, Span, Totals)> {
        let mut acts = Acts::default();
        let (start_ns, before, mut traffic) = self.begin("flip, roll back, flip again", EXPECTED_S)?;
        self.events.note("load: wrk, dated requests, short streams, 30 long ones (every third silent)");
        self.pause(5.0);

        self.switch(&mut acts, Environment::Green)?;
        self.pause(2.0);
        traffic.more_streams(&self.stage.topology)?;
        self.watch.tell(|now| now.streams = traffic.tallies().0);
        self.events.note("10 more streams, opened on green; they outlive the rollback");
        self.pause(4.0);

        self.rollback(&mut acts)?;
        self.pause(6.0);

        self.switch(&mut acts, Environment::Green)?;
        self.pause(4.0);

        self.kill_and_start_again(&mut acts, &traffic)?;
        self.pause(3.0);

        traffic.order(|orders| orders.speak = true);
        self.events.note("the silent streams speak again, and are verified");
        self.pause(3.0);

        traffic.order(|orders| orders.end_blue = true);
        self.events.note("streams of blue end by themselves; the drain waits for the last packet");
        self.wait_for_the_drain()
            .with_context(|| format!("what clients saw so far: {:?}", traffic.complaints()))?;
        acts.drained_ns = realtime_ns();
        let deployment = self.stage.agent().deployment()?;
        ensure!(
            deployment.phase == Phase::Steady && deployment.live == Environment::Green,
            "the drain is over, but not on green: {deployment:?}"
        );
        self.events.add(
            acts.drained_ns,
            Kind::Switch,
            "drained: green is base, no pin is left, nothing is looked up any more",
        );
        self.pause(5.0);

        let (span, totals) = self.end(start_ns, before, traffic)?;
        Ok((acts, span, totals))
    }

    fn begin(&self, title: &str, expected_s: f64) -> Result<(u64, Resets, Traffic)> {
        let before = Resets::at_the_ends(&self.stage.topology)?;
        let start_ns = realtime_ns();
        let traffic = Traffic::start(&self.stage.topology)?;
        let (streams, http) = traffic.tallies();
        self.watch.tell(|now| {
            title.clone_into(&mut now.title);
            now.from_ns = start_ns;
            now.expected_s = expected_s * self.scale;
            now.streams = streams;
            now.http = http;
        });
        Ok((start_ns, before, traffic))
    }

    /// Reads the witnesses, then tells the load to stop: what wrk does to its connections at its
    /// end is no switch's doing.
    fn end(&self, start_ns: u64, before: Resets, traffic: Traffic) -> Result<(Span, Totals)> {
        let growth = Resets::at_the_ends(&self.stage.topology)? - before;
        let end_ns = realtime_ns();
        self.events.note("the load is told to stop");
        let totals = traffic.stop()?;
        Ok((Span { start_ns, end_ns, growth }, totals))
    }

    fn switch(&mut self, acts: &mut Acts, to: Environment) -> Result<()> {
        let asked_ns = realtime_ns();
        let result = self.stage.agent().flip(to)?;
        acts.flips += 1;
        acts.flipped_ns = result.stored_at_ns;
        self.switched_by("flip", asked_ns, result)
    }

    fn rollback(&mut self, acts: &mut Acts) -> Result<()> {
        let asked_ns = realtime_ns();
        let result = self.stage.agent().rollback()?;
        acts.rollbacks += 1;
        self.switched_by("rollback", asked_ns, result)
    }

    fn switched_by(&mut self, what: &str, asked_ns: u64, result: SwitchResult) -> Result<()> {
        ensure!(result.changed, "the {what} changed nothing: {result:?}");
        let text = format!(
            "{what}: new connections of both services go to {}; one store of {} ns",
            word(result.to),
            result.store_ns
        );
        self.events.add(result.stored_at_ns, Kind::Switch, text);
        self.switches.push(Switch { asked_ns, result });
        Ok(())
    }

    fn kill_and_start_again(&mut self, acts: &mut Acts, traffic: &Traffic) -> Result<()> {
        let before = self.stage.agent().deployment()?;
        ensure!(before.state == State::Draining, "there is no drain to kill it in: {before:?}");
        let socket = self.stage.agent().socket().to_owned();
        acts.down_ns = realtime_ns();
        self.stage.kill_agent()?;
        self.watch.tell(|now| {
            now.agent_is_down = true;
            "DOWN, traffic goes on".clone_into(&mut now.agent);
        });
        self.events.add(
            acts.down_ns,
            Kind::Down,
            "SIGKILL to bgd in mid-drain: packets and pins do not need it",
        );
        let reply = bgctl(&socket, &["status"])?;
        ensure!(reply.code == 6, "bgctl does not notice that the agent is gone: {reply:?}");
        let answered = traffic.answered();
        self.pause(6.0);
        acts.down_answered = traffic.answered() - answered;
        self.stage.start_agent()?;
        acts.up_ns = realtime_ns();
        self.watch.tell(|now| {
            now.agent_is_down = false;
            "up".clone_into(&mut now.agent);
        });
        let after = self.stage.agent().deployment()?;
        ensure!(
            (after.state, after.live) == (before.state, before.live) && after.generation >= before.generation,
            "the new agent did not adopt what it found: before {before:?}, after {after:?}"
        );
        let text = format!("bgd is back, and goes on with the drain (generation {})", after.generation);
        self.events.add(acts.up_ns, Kind::Up, text);
        Ok(())
    }

    /// Waits as an operator would, and says what the drain waits for.
    fn wait_for_the_drain(&self) -> Result<()> {
        for _ in 0..DRAIN_TURNS {
            let reply = self.stage.agent().bgctl(&["drain", DEPLOYMENT, "--wait", "--timeout", "5s"])?;
            match reply.code {
                0 => return Ok(()),
                4 => {}
                _ => bail!("the drain failed: {reply:?}"),
            }
            if let Some(drain) = self.stage.agent().deployment()?.drain {
                self.events.note(format!("the drain waits for {}", drain.waiting_for));
            }
        }
        bail!("the drain does not end: {:?}", self.stage.agent().deployment())
    }

    fn pause(&self, seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64(seconds * self.scale));
    }
}
