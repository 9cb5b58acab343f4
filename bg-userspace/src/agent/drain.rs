//! Drains, carried out: look, seal, look again, conclude, clear.

use bg_common::control::{Control, Phase, SEAL_TICKS};
use tracing::{info, warn};

use super::commit::{Step, Unwritten};
use super::{Agent, finish};
use crate::boundary;
use crate::datapath::{Datapath, Error, clock};
use crate::journal::Outcome;
use crate::rollout::{self, Motive, Next, State, View};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

impl Agent {
    /// Looks at every deployment that is not steady.
    pub(super) fn step_drains(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            if matches!(self.state(at), State::Draining | State::RollingBack)
                || self.datapath.control(self.deployments[at].installed.index).phase() == Phase::Seal
            {
                self.step_drain(at)?;
            }
        }
        Ok(())
    }

    /// Looks at every deployment that rests in DRAIN: only now and then, because every look reads the whole
    /// pin table.
    pub(super) fn step_resting(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            let control = self.datapath.control(self.deployments[at].installed.index);
            let resting = control.phase() == Phase::Drain && control.base().slot == control.current().slot;
            if resting && self.state(at) == State::Idle {
                self.step_drain(at)?;
            }
        }
        Ok(())
    }

    pub(super) fn state(&self, at: usize) -> State {
        let deployment = &self.deployments[at];
        rollout::state(self.datapath.control(deployment.installed.index), deployment.motive(&self.datapath))
    }

    fn step_drain(&mut self, at: usize) -> Result<(), Error> {
        let index = self.deployments[at].installed.index;
        match rollout::next(&self.view(at)) {
            // `status` says what for.
            Next::Wait(_) => Ok(()),
            Next::Seal => {
                let sealed = rollout::seal(self.datapath.control(index), self.datapath.ticks());
                self.store_unwritten(index, sealed)?;
                // The seal lasts two seconds at most; the recount is part of the same step.
                self.step_drain(at)
            }
            Next::Unseal => {
                let control = self.datapath.control(index);
                self.store_unwritten(index, rollout::unseal(control))
            }
            Next::Conclude { stragglers } => self.conclude(at, stragglers),
            Next::Settle => {
                let control = rollout::settle(self.datapath.control(index));
                if self.end_drain(at, control, Motive::Inner)? {
                    let text = "the environment that was tried is empty";
                    finish(&mut self.deployments[at], text.to_owned());
                    self.end_entries(at, Outcome::Done, text);
                }
                Ok(())
            }
            Next::Steady => {
                let control = self.datapath.control(index);
                let motive = self.deployments[at].motive(&self.datapath);
                if self.end_drain(at, rollout::conclude(control, false), motive)? {
                    clear(&mut self.datapath, index)?;
                    self.end_entries(at, Outcome::Done, "every connection is where its ring says");
                }
                Ok(())
            }
        }
    }

    /// Stores a word that routes as before: a seal comes and goes within seconds, and ends by itself.
    fn store_unwritten(&mut self, index: u16, control: Control) -> Result<(), Error> {
        self.datapath.store(index, control);
        boundary::pass("store");
        self.datapath.grace()?;
        boundary::pass("grace");
        Ok(())
    }

    /// Stores the word that ends a drain. `false`: not yet, because it could not be written down first, or
    /// because that took so long that the seal does not hold any more.
    fn end_drain(&mut self, at: usize, control: Control, motive: Motive) -> Result<bool, Error> {
        let step =
            Step { control, motive, share: 0, switches: false, entry: None, unwritten: Unwritten::Refuse };
        let index = self.deployments[at].installed.index;
        let before = self.datapath.control(index);
        match self.write_down(at, &step) {
            Ok(()) => {}
            // `status` says so; the next look tries again.
            Err(Error::Journal(_)) => return self.give_up(at, before),
            Err(error) => return Err(error),
        }
        if before.phase() == Phase::Seal && !self.seal_holds(before) {
            return self.give_up(at, before);
        }
        self.carry_out(at, &step)?;
        Ok(true)
    }

    fn give_up(&mut self, at: usize, before: Control) -> Result<bool, Error> {
        if before.phase() == Phase::Seal {
            self.store_unwritten(self.deployments[at].installed.index, rollout::unseal(before))?;
        }
        self.note_down();
        Ok(false)
    }

    /// Whether a seal holds, and for long enough to act on what is known under it.
    fn seal_holds(&self, control: Control) -> bool {
        control.sealed(self.datapath.ticks().wrapping_add(SEAL_TICKS / 2))
    }

    /// base := current, and what follows from it.
    fn conclude(&mut self, at: usize, stragglers: u64) -> Result<(), Error> {
        let index = self.deployments[at].installed.index;
        let control = self.datapath.control(index);
        let horizon = self.horizon(at);
        // Pins that agree with the ring that becomes base are not needed any more; the others stay.
        let becoming = rollout::conclude(control, true);
        let disagreeing = self.datapath.pins_under(index, becoming, horizon).disagreeing > 0;
        let motive = self.deployments[at].motive(&self.datapath);
        if !self.end_drain(at, rollout::conclude(control, disagreeing), motive)? {
            return Ok(());
        }
        clear(&mut self.datapath, index)?;
        self.deployments[at].lost = None;
        let left = control.leaving().name();
        let text = if stragglers == 0 {
            format!("the drain is over: {left} is presumed drained")
        } else {
            warn!(stragglers, "the deadline ended the drain");
            format!("the drain ended by its deadline: {stragglers} connections of {left} were still open")
        };
        finish(&mut self.deployments[at], text.clone());
        self.end_entries(at, Outcome::Done, &text);
        Ok(())
    }

    /// How long a silent flow counts as alive, seconds.
    pub(super) fn horizon(&self, at: usize) -> u32 {
        self.deployments[at].config.drain.idle_horizon.as_secs().max(1) as u32
    }

    /// What is known of a deployment that is not steady.
    pub(super) fn view(&self, at: usize) -> View {
        let deployment = &self.deployments[at];
        let index = deployment.installed.index;
        let control = self.datapath.control(index);
        let ledger = self.datapath.ledger(index);
        let now = clock::monotonic();
        let horizon = self.horizon(at);
        View {
            control,
            motive: deployment.motive(&self.datapath),
            age: now.saturating_sub(ledger.switched_at) / SECOND,
            horizon,
            syn_lifetime: self.config.node.syn_lifetime.as_secs().max(1) as u32,
            last_syn: self.datapath.last_syn(index, control.leaving()),
            census: self.datapath.census(index, control.leaving(), ledger.switched_at, horizon),
            census_full: self.datapath.census_full(index),
            pins: self.datapath.pins(index, horizon),
            deadline_over: ledger.deadline_at != 0 && now >= ledger.deadline_at,
            seal_holds: self.seal_holds(control),
        }
    }
}

/// After base := current and a grace period: remembers and drops pins, and notes that it was done.
pub(super) fn clear(datapath: &mut Datapath, index: u16) -> Result<(), Error> {
    let stay = datapath.clear_pins(index)?;
    boundary::pass("cleared");
    let control = datapath.control(index);
    let motive = if control.phase() == Phase::Steady { Motive::None } else { Motive::Inner };
    datapath.note(index, |ledger| {
        ledger.cleared_epoch = control.epoch();
        ledger.motive = motive.to_ledger();
        ledger.deadline_at = 0;
    });
    if stay > 0 {
        info!(stay, "connections stay pinned until they end");
    }
    Ok(())
}
