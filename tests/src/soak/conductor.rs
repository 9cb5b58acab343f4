//! Carries out the acts: what an operator does, and what goes wrong meanwhile.

use super::crowd::Crowd;
use super::deck::{Act, Deck};
use super::dice::Dice;
use super::options::Options;
use super::outages::Outage;
use super::progress::Progress;
use super::stranger::Stranger;
use super::timeline::{Live, environment};
use super::trouble::{Kind, Trouble};
use crate::lab::agent::bgctl;
use crate::lab::binaries::binary;
use crate::lab::clock::realtime_ns;
use crate::lab::config::DEPLOYMENT;
use crate::lab::stage::Stage;
use crate::lab::{Environment, word};
use anyhow::{Result, bail, ensure};
use bg_common::control::Phase;
use bg_userspace::api::types::State;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A drain that was told to end takes no longer, unless something holds it.
const DRAIN: Duration = Duration::from_secs(40);
const TURN: Duration = Duration::from_millis(50);

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) canary_steps: u64,
    pub(super) drains_waited_for: u64,
    pub(super) agent_kills: u64,
    pub(super) agent_stops: u64,
    pub(super) backends_ill: u64,
    pub(super) backends_frozen: u64,
    pub(super) backends_lost: u64,
    pub(super) floods: u64,
    /// Switches that a guard refused.
    pub(super) refused: u64,
}

/// Everything that is acted upon.
pub(super) struct Conductor {
    pub(super) stage: Stage,
    pub(super) crowd: Crowd,
    pub(super) stranger: Stranger,
    pub(super) live: Arc<Live>,
    pub(super) options: Options,
    pub(super) dice: Dice,
    pub(super) counts: Counts,
    pub(super) progress: Progress,
    pub(super) troubles: Vec<Trouble>,
    pub(super) outages: Vec<Outage>,
    /// From and to, nanoseconds since 1970.
    pub(super) floods: Vec<(u64, u64)>,
    pub(super) flood_ends: Option<Instant>,
    /// Why no new connection reaches the current environment, in the words of `status`.
    pub(super) why: Option<String>,
    pub(super) wipe: Option<super::maps::Maps>,
}

impl Conductor {
    /// Acts until there were enough flips and connections; then mends everything.
    pub(super) fn perform(&mut self) -> Result<()> {
        let mut deck = Deck::new(self.options.seed, self.options.flood);
        self.wait(Duration::from_secs(1))?;
        while !self.enough() {
            let act = deck.draw();
            self.act(act)?;
            let pause = self.dice.millis(100..1500);
            self.wait(pause)?;
        }
        self.end_flood();
        self.mend_all()?;
        if self.options.flood { self.flip_after_flood() } else { Ok(()) }
    }

    /// One more flip, when the half pins of the last flood are gone and its SYNs are forgotten.
    fn flip_after_flood(&mut self) -> Result<()> {
        self.progress.note("a flip after the floods");
        self.wait(2 * self.options.syn_lifetime() + Duration::from_secs(7))?;
        let flips = self.live.flips.load(Relaxed);
        let end = Instant::now() + DRAIN;
        while self.live.flips.load(Relaxed) == flips && Instant::now() < end {
            self.flip()?;
            self.wait(Duration::from_secs(1))?;
        }
        self.wait(Duration::from_secs(3))
    }

    /// Flips, connections, and a third of those silent ones in a drain, or nearly so.
    fn enough(&self) -> bool {
        let begun = self.crowd.board.begun.load(Relaxed);
        self.live.flips.load(Relaxed) >= self.options.flips
            && begun >= self.options.connections
            && self.crowd.board.silent.load(Relaxed) * 10 >= begun * 3
    }

    fn act(&mut self, act: Act) -> Result<()> {
        self.progress.tell(act);
        match act {
            Act::Flip => self.flip(),
            Act::Rollback => self.switch(&["rollback", DEPLOYMENT]).map(drop),
            Act::Canary => self.canary(),
            Act::Conclude => self.conclude(),
            Act::KillAgent => {
                self.counts.agent_kills += 1;
                self.stage.kill_agent()?;
                self.agent_again(100..3000)
            }
            Act::KillInFlip => self.kill_in_flip(),
            Act::StopAgent => {
                self.counts.agent_stops += 1;
                self.stage.stop_agent()?;
                self.agent_again(0..1500)
            }
            Act::Ill => self.make(Kind::Ill),
            Act::Freeze => self.make(Kind::Frozen),
            Act::Lose => self.make(Kind::Lost),
            Act::Flood => {
                self.begin_flood();
                Ok(())
            }
            Act::Breathe => {
                let pause = self.dice.millis(1000..4000);
                self.wait(pause)
            }
        }
    }

    /// Lets time pass: troubles end, floods end, and whoever looks on is told.
    pub(super) fn wait(&mut self, span: Duration) -> Result<()> {
        let end = Instant::now() + span;
        loop {
            self.mend_due()?;
            if self.flood_ends.is_some_and(|end| Instant::now() >= end) {
                self.end_flood();
            }
            self.progress.show(&self.live, &self.crowd.board, &self.options);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TURN));
        }
    }

    /// The environment to flip to.
    fn idle(&self) -> Environment {
        environment(self.live.word().current().environment.other())
    }

    fn flip(&mut self) -> Result<()> {
        let to = word(self.idle());
        let mut arguments = vec!["flip", DEPLOYMENT, "--to", to, "--timeout", "30s"];
        if self.dice.percent(30) {
            arguments.extend(["--force", "health"]);
        }
        if self.switch(&arguments)? {
            self.after_flip()?;
        }
        Ok(())
    }

    fn after_flip(&mut self) -> Result<()> {
        if self.options.pins == Some(0) && self.why.is_none() {
            let warnings = self.stage.agent().deployment()?.warnings;
            self.why = warnings.into_iter().find(|warning| warning.contains("`pins` is 0"));
        }
        if let Some(maps) = &self.wipe {
            std::thread::sleep(Duration::from_secs(2));
            maps.wipe_pins()?;
        }
        Ok(())
    }

    /// Whether it was done; a guard's refusal is no failure.
    fn switch(&mut self, arguments: &[&str]) -> Result<bool> {
        let reply = self.stage.agent().bgctl(arguments)?;
        match reply.code {
            0 => Ok(true),
            3 => {
                self.counts.refused += 1;
                Ok(false)
            }
            _ => bail!("bgctl {} failed: {reply:?}", arguments.join(" ")),
        }
    }

    fn canary(&mut self) -> Result<()> {
        let help = std::process::Command::new(binary("bgctl")?).args(["flip", "--help"]).output()?;
        if !String::from_utf8_lossy(&help.stdout).contains("--share") {
            return Ok(());
        }
        let to = word(self.idle());
        let mut share = 1 + self.dice.below(25);
        for _ in 0..=self.dice.below(3) {
            let text = share.to_string();
            if !self.switch(&["flip", DEPLOYMENT, "--to", to, "--share", &text])? {
                return Ok(());
            }
            self.counts.canary_steps += 1;
            let pause = self.dice.millis(400..2500);
            self.wait(pause)?;
            share += 5 + self.dice.below(30);
            if share >= 100 {
                break;
            }
        }
        if self.dice.percent(60) {
            self.switch(&["flip", DEPLOYMENT, "--to", to]).map(drop)
        } else {
            self.switch(&["rollback", DEPLOYMENT]).map(drop)
        }
    }

    /// Without room for pins new connections keep the old environment busy, and a drain ends for nobody.
    fn conclude(&mut self) -> Result<()> {
        let draining = self.live.word().phase() != Phase::Steady;
        if !draining || self.options.pins == Some(0) {
            return Ok(());
        }
        self.counts.drains_waited_for += 1;
        self.end_flood();
        self.mend_all()?;
        let leaving = environment(self.live.word().leaving());
        self.crowd.order(|orders| match leaving {
            Environment::Blue => orders.end_blue = true,
            Environment::Green => orders.end_green = true,
        });
        // Forged packets of connections that are over look like old connections that are not.
        self.stranger.wishes.rest.store(true, Relaxed);
        let end = Instant::now() + DRAIN;
        let mut state = self.stage.agent().deployment()?;
        while state.state != State::Idle && Instant::now() < end {
            self.wait(Duration::from_millis(500))?;
            state = self.stage.agent().deployment()?;
        }
        self.stranger.wishes.rest.store(false, Relaxed);
        if let Some(drain) = state.drain {
            self.progress.note(&format!("the drain goes on, it waits for {}", drain.waiting_for));
        }
        self.crowd.order(|orders| (orders.end_blue, orders.end_green) = (false, false));
        Ok(())
    }

    fn agent_again(&mut self, after_ms: std::ops::Range<u64>) -> Result<()> {
        let pause = self.dice.millis(after_ms);
        self.progress.agent("DOWN");
        self.wait(pause)?;
        self.stage.start_agent()?;
        self.progress.agent("up");
        Ok(())
    }

    /// Kills the agent at any point of a flip: before, in the middle, after.
    fn kill_in_flip(&mut self) -> Result<()> {
        self.counts.agent_kills += 1;
        let socket = self.stage.agent().socket().to_owned();
        let (to, after) = (word(self.idle()), self.dice.millis(0..40));
        std::thread::scope(|scope| {
            let flip = scope.spawn(|| bgctl(&socket, &["flip", DEPLOYMENT, "--to", to]));
            std::thread::sleep(after);
            let killed = self.stage.kill_agent();
            // Whatever it answers: the kernel's word tells what came of it.
            drop(flip.join());
            killed
        })?;
        self.agent_again(0..2000)
    }

    fn begin_flood(&mut self) {
        if self.flood_ends.is_none() {
            self.counts.floods += 1;
            self.floods.push((realtime_ns(), u64::MAX));
            self.stranger.wishes.flood.store(true, Relaxed);
            self.flood_ends = Some(Instant::now() + self.dice.millis(2500..7000));
        }
    }

    fn end_flood(&mut self) {
        if self.flood_ends.take().is_some() {
            self.stranger.wishes.flood.store(false, Relaxed);
            if let Some(last) = self.floods.last_mut() {
                last.1 = realtime_ns();
            }
        }
    }

    /// Everybody ends, and so does the last drain.
    pub(super) fn wind_up(&mut self) -> Result<()> {
        self.progress.note("the last connections end");
        ensure!(self.troubles.is_empty(), "somebody is still in trouble");
        self.crowd.order(|orders| (orders.end_blue, orders.end_green) = (true, true));
        self.wait(Duration::from_secs(3))
    }
}
