//! Changes inside the live environment: backends that fail, come back, join, leave, weigh more or less; and
//! the dead, whose connections nobody can keep.

use std::time::Instant;

use bg_common::abi::BackendId;
use bg_common::control::{Control, Phase};
use tracing::{info, warn};

use super::commit::{Step, Unwritten};
use super::rings::{all_members, members};
use super::{Agent, alarm, finish};
use crate::boundary;
use crate::datapath::{Error, InstalledService};
use crate::rollout::{self, Change, Motive, Verdict};

impl Agent {
    /// Lets the rings follow the health, the weights and the coming and going of backends.
    pub(super) fn follow(&mut self) -> Result<(), Error> {
        for at in 0..self.deployments.len() {
            self.bury_and_raise(at)?;
            let control = self.datapath.control(self.deployments[at].installed.index);
            self.lead_idle(at, &[control.base(), control.current()])?;
            self.follow_one(at)?;
        }
        Ok(())
    }

    fn follow_one(&mut self, at: usize) -> Result<(), Error> {
        let control = self.datapath.control(self.deployments[at].installed.index);
        if control.phase() == Phase::Off {
            return Ok(());
        }
        let aim = self.aim(at);
        let current = self.named(at, control.current().slot);
        let mut environments = vec![aim.live];
        environments.extend((aim.share > 0).then_some(aim.live.other()));
        let usable = |service: &InstalledService| -> Vec<BackendId> {
            let all = environments.iter().flat_map(|environment| members(service, *environment));
            all.filter(|b| b.weight > 0 && self.usable(b.id, current.contains(&b.id))).map(|b| b.id).collect()
        };
        let per_service: Vec<_> = self.deployments[at].installed.services.iter().map(usable).collect();
        let (failing, total) = self.failing(at);
        let facts = Change {
            every_service: per_service.iter().all(|ids| !ids.is_empty()),
            usable: per_service.into_iter().flatten().collect(),
            current,
            reweighted: self.deployments[at].reweighted(),
            failing,
            total,
        };
        match rollout::change(&facts) {
            Verdict::Nothing => alarm(&mut self.deployments[at], None),
            Verdict::Alarm(text) => alarm(&mut self.deployments[at], Some(text)),
            Verdict::Rings => {
                alarm(&mut self.deployments[at], None);
                let motive = match self.deployments[at].motive(&self.datapath) {
                    Motive::None | Motive::Inner => Motive::Inner,
                    // What is going on stays what it is.
                    other => other,
                };
                let wanted = self.wanted(at, aim);
                if self.holds(control.current().slot, &wanted) {
                    self.deployments[at].weigh();
                    return Ok(());
                }
                let current = self.place(control, aim.live, &wanted)?;
                self.lead_idle(at, &[current])?;
                let count = match facts.usable.len() {
                    1 => "1 backend".to_owned(),
                    count => format!("{count} backends"),
                };
                let text = format!("new connections of the live environment go to {count} now");
                let name = self.deployments[at].installed.name.clone();
                let entry = self.book.begin(&name, None, &text, None, control.epoch());
                self.commit(
                    at,
                    &Step {
                        control: rollout::switch_to(control, current),
                        motive,
                        share: aim.share,
                        switches: false,
                        entry: Some(entry),
                        unwritten: Unwritten::GoOn,
                    },
                )?;
                finish(&mut self.deployments[at], text);
            }
        }
        Ok(())
    }

    /// Backends of a deployment that fail, and all of them.
    fn failing(&self, at: usize) -> (usize, usize) {
        let ids: Vec<_> = all_members(&self.deployments[at]).map(|backend| backend.id).collect();
        let failing =
            ids.iter().filter(|id| self.backends.get(**id).is_some_and(|b| b.healthy() == Some(false)));
        (failing.count(), ids.len())
    }

    /// Backends that have been refused for long enough are dead: their pins are void, and their slots are
    /// given to others in place, because nobody else could serve their connections. One that answers again
    /// is raised.
    fn bury_and_raise(&mut self, at: usize) -> Result<(), Error> {
        let (failing, total) = self.failing(at);
        let services = self.deployments[at].installed.services.clone();
        let control = self.datapath.control(self.deployments[at].installed.index);
        let now = Instant::now();
        let mut changed = false;
        for service in &services {
            for backend in &service.backends {
                let Some(known) = self.backends.get(backend.id) else { continue };
                if known.dead && known.healthy() == Some(true) {
                    info!(backend = %backend.address, "backend is back from the dead");
                    self.datapath.mark_dead(backend.id, false);
                    self.backends.set_dead(backend.id, false);
                    changed = true;
                } else if !known.dead && known.should_be_dead(now) && failing * 2 <= total {
                    warn!(backend = %backend.address, "backend is dead: its connections cannot be kept");
                    self.backends.set_dead(backend.id, true);
                    self.datapath.mark_dead(backend.id, true);
                    boundary::pass("marked dead");
                    self.give_all_away(service, control, backend.id)?;
                    changed = true;
                } else if known.dead {
                    // An agent that was killed may have left it its slots.
                    changed |= self.give_all_away(service, control, backend.id)?;
                }
            }
        }
        if changed {
            self.note_down();
        }
        Ok(())
    }

    /// Gives the slots of a dead backend away wherever the word leads. `false`: it had none any more.
    fn give_all_away(
        &mut self,
        service: &InstalledService,
        control: Control,
        dead: BackendId,
    ) -> Result<bool, Error> {
        let base = self.give_away(service, control.base().slot, dead);
        let current = self.give_away(service, control.current().slot, dead);
        if base || current {
            boundary::pass("slots given away");
            self.datapath.grace()?;
        }
        Ok(base || current)
    }
}
