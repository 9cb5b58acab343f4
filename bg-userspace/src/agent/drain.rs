//! Drains, carried out: look, seal, look again, conclude, clear.

use bg_common::control::{Phase, SEAL_TICKS};
use tracing::{info, warn};

use super::{Agent, finish};
use crate::datapath::{Datapath, Error, clock};
use crate::rollout::{self, Motive, Next, View};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

impl Agent {
    /// Looks at every deployment that is not steady.
    pub(super) fn step_drains(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            let index = self.deployments[at].installed.index;
            if matches!(self.datapath.control(index).phase(), Phase::Drain | Phase::Seal) {
                self.step_drain(at)?;
            }
        }
        Ok(())
    }

    fn step_drain(&mut self, at: usize) -> Result<(), Error> {
        let index = self.deployments[at].installed.index;
        match rollout::next(&self.view(at)) {
            // `status` says what for.
            Next::Wait(_) => Ok(()),
            Next::Seal => {
                let sealed = rollout::seal(self.datapath.control(index), self.datapath.ticks());
                self.datapath.store(index, sealed);
                self.datapath.grace()?;
                // The seal lasts two seconds at most; the recount is part of the same step.
                self.step_drain(at)
            }
            Next::Unseal => {
                let control = self.datapath.control(index);
                self.datapath.store(index, rollout::unseal(control));
                self.datapath.grace()?;
                Ok(())
            }
            Next::Conclude { stragglers } => self.conclude(at, stragglers),
            Next::Settle => {
                let control = self.datapath.control(index);
                self.datapath.note(index, |ledger| ledger.motive = Motive::Inner.to_ledger());
                self.datapath.store(index, rollout::settle(control));
                self.datapath.grace()?;
                finish(&mut self.deployments[at], "the environment that was tried is empty".to_owned());
                Ok(())
            }
            Next::Steady => {
                let control = self.datapath.control(index);
                self.datapath.store(index, rollout::conclude(control, false));
                self.datapath.grace()?;
                clear(&mut self.datapath, index)
            }
        }
    }

    /// base := current, and what follows from it.
    fn conclude(&mut self, at: usize, stragglers: u64) -> Result<(), Error> {
        let index = self.deployments[at].installed.index;
        let control = self.datapath.control(index);
        let horizon = self.horizon(at);
        // Pins that agree with the ring that becomes base are not needed any more; the others stay.
        let becoming = rollout::conclude(control, true);
        let disagreeing = self.datapath.pins_under(index, becoming, horizon).disagreeing > 0;
        self.datapath.store(index, rollout::conclude(control, disagreeing));
        self.datapath.grace()?;
        clear(&mut self.datapath, index)?;
        let left = control.leaving().name();
        let text = if stragglers == 0 {
            format!("the drain is over: {left} is presumed drained")
        } else {
            warn!(stragglers, "the deadline ended the drain");
            format!("the drain ended by its deadline: {stragglers} connections of {left} were still open")
        };
        finish(&mut self.deployments[at], text);
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
            // Half of the seal is left for acting on what is counted now.
            seal_holds: control.sealed(self.datapath.ticks().wrapping_add(SEAL_TICKS / 2)),
        }
    }
}

/// After base := current and a grace period: remembers and drops pins, and notes that it was done.
pub(super) fn clear(datapath: &mut Datapath, index: u16) -> Result<(), Error> {
    let stay = datapath.clear_pins(index)?;
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
