//! The one way in which a control word changes: intent on disk, then the ledger, then the store, then a
//! grace period, then the journal once more. An agent that is killed at any point leaves the old word or
//! the new one, and the next agent can tell which.

use std::time::Duration;

use bg_common::control::Control;

use super::Agent;
use crate::boundary;
use crate::datapath::{Datapath, Error, Stored, clock};
use crate::journal::{DeploymentRecord, Intent, Outcome};
use crate::rollout::Motive;

/// A word that is to be stored, and what comes with it.
pub(super) struct Step {
    /// The word.
    pub(super) control: Control,
    /// Why the deployment is not steady from then on.
    pub(super) motive: Motive,
    /// Percent of the new connections that go to the environment that is not live.
    pub(super) share: u8,
    /// A switch between environments: the clocks of a drain start.
    pub(super) switches: bool,
    /// The entry of the history that begins with it.
    pub(super) entry: Option<u64>,
    /// What to do if it cannot be written down first.
    pub(super) unwritten: Unwritten,
}

/// What to do with a step that cannot be written down first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// Leave everything as it is.
    Refuse,
    /// Go on: traffic is worth more than the record, or the operator has said so.
    GoOn,
}

/// How a step went.
pub(super) struct Done {
    /// The store.
    pub(super) stored: Stored,
    /// How long the grace period took.
    pub(super) grace: Duration,
    /// The word that holds now.
    pub(super) control: Control,
}

impl Agent {
    /// Carries out a step.
    ///
    /// # Errors
    /// [`Error::Journal`] when it could not be written down, and nothing has changed then; any other when
    /// the kernel refuses.
    pub(super) fn commit(&mut self, at: usize, step: &Step) -> Result<Done, Error> {
        self.write_down(at, step)?;
        self.carry_out(at, step)
    }

    /// Writes down what is going to happen.
    ///
    /// # Errors
    /// [`Error::Journal`] when that failed and the step insists on it.
    pub(super) fn write_down(&mut self, at: usize, step: &Step) -> Result<(), Error> {
        let intent = Intent {
            word: step.control.0,
            entry: step.entry,
            motive: step.motive.to_ledger(),
            share: step.share,
            switches: step.switches,
        };
        match self.book.save(&self.datapath, &self.deployments, Some((at, intent))) {
            Err(error) if step.unwritten == Unwritten::Refuse => Err(error),
            // It has been logged, and `status` says it.
            _ => Ok(()),
        }
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn carry_out(&mut self, at: usize, step: &Step) -> Result<Done, Error> {
        let index = self.deployments[at].installed.index;
        let overflow = self.overflow(at, step.control.leaving())?;
        let deployment = &self.deployments[at];
        let deadline = deployment.config.drain.deadline;
        let now = clock::monotonic();
        self.datapath.note(index, |ledger| {
            ledger.motive = step.motive.to_ledger();
            ledger.share = step.share.into();
            if step.switches {
                ledger.switched_at = now;
                ledger.deadline_at = deadline.map_or(0, |deadline| now + deadline.as_nanos() as u64);
                ledger.overflow_at_switch = overflow;
            }
        });
        boundary::pass("ledger");
        // Should the kernel refuse the grace period, the slot that was named before is not written before
        // there has been one.
        self.grace_due = true;
        let stored = self.datapath.store(index, step.control);
        boundary::pass("store");
        let grace = self.datapath.grace()?;
        self.grace_due = false;
        boundary::pass("grace");
        if let Some(entry) = step.entry {
            let deployment = &mut self.deployments[at];
            // With it came new rings.
            deployment.weigh();
            self.book.stored(&deployment.installed.name, entry, step.switches, step.motive);
        }
        self.note_down();
        Ok(Done { stored, grace, control: step.control })
    }

    /// Writes down what holds. A failure is told by `status`; what holds, holds.
    pub(super) fn note_down(&mut self) {
        // It has been logged, and `status` says it.
        drop(self.book.save(&self.datapath, &self.deployments, None));
    }

    /// Ends an entry, and writes that down.
    pub(super) fn end_entry(&mut self, entry: u64, outcome: Outcome, text: &str) {
        self.book.end(entry, outcome, text);
        self.note_down();
    }

    /// Ends every open entry of a deployment, and writes that down.
    pub(super) fn end_entries(&mut self, at: usize, outcome: Outcome, text: &str) {
        for entry in self.book.open(&self.deployments[at].installed.name, None) {
            self.book.end(entry, outcome, text);
        }
        self.note_down();
    }
}

/// Puts in order what an agent that was killed between an intent and its end has left: if the word was
/// stored, the intent has happened; if not, it never will. Says which; `None` if nothing was intended.
pub(super) fn resume(datapath: &Datapath, index: u16, record: &DeploymentRecord) -> Option<bool> {
    let intent = record.intent.as_ref()?;
    let happened = datapath.control(index).0 == intent.word;
    datapath.note(index, |ledger| {
        if happened {
            ledger.motive = intent.motive;
            ledger.share = intent.share.into();
        } else {
            ledger.motive = record.motive;
            ledger.share = record.share.into();
            ledger.deadline_at = clock::to_monotonic(record.deadline_at);
        }
    });
    Some(happened)
}
