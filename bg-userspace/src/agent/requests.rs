//! Requests, answered.

use std::time::Duration;

use bg_common::control::{Environment, Phase};
use tracing::info;

use super::switch::{Switched, environment};
use super::{Agent, finish};
use crate::api::types::{self, Code};
use crate::api::{Call, Request, Response, Who};
use crate::datapath::{Error, clock};
use crate::rollout::{self, Motive, Refusal};

type Answer = Result<Response, types::Error>;

impl Agent {
    /// Answers one request. The asker may be gone; what was asked has happened all the same.
    pub(super) fn answer(&mut self, call: Call) {
        let answer = self.respond(&call.who, call.request);
        if call.reply.send(answer).is_err() {
            info!(who = call.who.name, "the asker did not wait for the answer");
        }
    }

    fn respond(&mut self, who: &Who, request: Request) -> Answer {
        match request {
            Request::Status => Ok(Response::Status(self.status().map_err(internal)?)),
            Request::Deployment { name } => {
                let at = self.at(&name)?;
                Ok(Response::Deployment(self.deployment_status(at).map_err(internal)?))
            }
            Request::Flip { name, body } => self.flip(who, &name, &body),
            Request::Rollback { name, body } => self.rollback(who, &name, &body),
            Request::DrainStatus { name } => self.drain_result(self.at(&name)?),
            Request::Drain { name, body } => self.steer_drain(who, &name, &body),
            Request::History { name, limit } => self.history(&name, limit),
            Request::Reload { body: _ } => Err(error(
                Code::Guard,
                "this agent reads its file at its start only".to_owned(),
                "restart bgd; traffic flows on meanwhile".to_owned(),
            )
            .with_guard("reload")),
        }
    }

    fn at(&self, name: &str) -> Result<usize, types::Error> {
        self.find(name).ok_or_else(|| {
            let names: Vec<_> = self.deployments.iter().map(|d| d.installed.name.as_str()).collect();
            error(
                Code::NotFound,
                format!("there is no deployment `{name}`"),
                format!("there are: {}", names.join(", ")),
            )
        })
    }

    fn flip(&mut self, who: &Who, name: &str, body: &types::FlipRequest) -> Answer {
        let at = self.at(name)?;
        let control = self.datapath.control(self.deployments[at].installed.index);
        let from = control.current().environment;
        if body.if_generation.is_some_and(|generation| generation != control.epoch()) {
            let last = self.deployments[at].last.as_deref().unwrap_or("by an agent that has restarted since");
            return Err(error(
                Code::Conflict,
                format!(
                    "`{name}` has changed meanwhile, it is at generation {} now: {last}",
                    control.epoch()
                ),
                format!("look at `bgctl status {name}` and decide again"),
            ));
        }
        let to = match body.to {
            Some(types::Environment::Blue) => Environment::Blue,
            Some(types::Environment::Green) => Environment::Green,
            None => from.other(),
        };
        let facts = self.facts(at, to, &body.force);
        if !rollout::flip(&facts, to).map_err(refused)? || body.dry_run {
            return Ok(Response::Switch(types::SwitchResult {
                deployment: name.to_owned(),
                changed: false,
                from: environment(from),
                to: environment(to),
                share: None,
                generation: control.epoch(),
                rollback_possible: rollout::can_roll_back(control),
                store_ns: 0,
                stored_at_ns: 0,
                grace_ms: 0.0,
            }));
        }
        // Back to where base leads is a rollback to the kernel, whatever it is called.
        let back = control.phase() != Phase::Steady && control.base().environment == to;
        let motive = if back { Motive::Rollback } else { Motive::Flip };
        self.carry_out(at, who, to, motive, "flip", body.reason.as_deref())
    }

    fn rollback(&mut self, who: &Who, name: &str, body: &types::RollbackRequest) -> Answer {
        let at = self.at(name)?;
        let base = self.datapath.control(self.deployments[at].installed.index).base().environment;
        let facts = self.facts(at, base, &body.force);
        let to = rollout::rollback(&facts).map_err(refused)?;
        self.carry_out(at, who, to, Motive::Rollback, "rollback", body.reason.as_deref())
    }

    fn carry_out(
        &mut self,
        at: usize,
        who: &Who,
        to: Environment,
        motive: Motive,
        what: &str,
        reason: Option<&str>,
    ) -> Answer {
        let from = self.datapath.control(self.deployments[at].installed.index).current().environment;
        let Switched { stored, grace, control } = self.switch(at, to, motive).map_err(internal)?;
        let deployment = &mut self.deployments[at];
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        finish(deployment, format!("{what} to {} by {}{reason}", to.name(), who.name));
        Ok(Response::Switch(types::SwitchResult {
            deployment: deployment.installed.name.clone(),
            changed: true,
            from: environment(from),
            to: environment(to),
            share: None,
            generation: control.epoch(),
            rollback_possible: rollout::can_roll_back(control),
            store_ns: stored.took.as_nanos() as u64,
            stored_at_ns: stored.at,
            grace_ms: grace.as_secs_f64() * 1000.0,
        }))
    }

    fn steer_drain(&mut self, who: &Who, name: &str, body: &types::DrainRequest) -> Answer {
        let at = self.at(name)?;
        let index = self.deployments[at].installed.index;
        let control = self.datapath.control(index);
        let motive = self.deployments[at].motive(&self.datapath);
        if rollout::state(control, motive) == rollout::State::Idle {
            return Err(error(
                Code::Guard,
                format!("nothing drains in `{name}`"),
                "`bgctl status` shows its state".to_owned(),
            )
            .with_guard("not-draining"));
        }
        let now = clock::monotonic();
        if let Some(extend) = body.extend_s {
            let old = self.datapath.ledger(index).deadline_at;
            if old == 0 {
                return Err(error(
                    Code::Guard,
                    format!("the drain of `{name}` has no deadline that could be moved"),
                    "it waits until the old environment is empty".to_owned(),
                )
                .with_guard("no-deadline"));
            }
            let deadline =
                old.saturating_add(Duration::from_secs(extend).as_nanos().try_into().unwrap_or(u64::MAX));
            self.datapath.note(index, |ledger| ledger.deadline_at = deadline);
            finish(&mut self.deployments[at], format!("deadline moved by {extend} s by {}", who.name));
        }
        if body.finish {
            self.datapath.note(index, |ledger| ledger.deadline_at = now);
            finish(&mut self.deployments[at], format!("drain ended by {}", who.name));
            self.step_drains().map_err(internal)?;
        }
        self.drain_result(at)
    }

    fn history(&self, name: &str, _limit: usize) -> Answer {
        let at = self.at(name)?;
        let deployment = self.deployments[at].installed.name.clone();
        Ok(Response::History(types::HistoryResult { deployment, entries: Vec::new() }))
    }

    fn drain_result(&self, at: usize) -> Answer {
        let status = self.deployment_status(at).map_err(internal)?;
        Ok(Response::Drain(types::DrainResult {
            deployment: status.name,
            state: status.state,
            generation: status.generation,
            live: status.live,
            drain: status.drain,
            last: status.last,
        }))
    }
}

fn refused(refusal: Refusal) -> types::Error {
    types::Error {
        code: if refusal.guard == "force" { Code::BadRequest } else { Code::Guard },
        guard: Some(refusal.guard.to_owned()),
        message: refusal.message,
        next: Some(refusal.next),
        retry_after_s: refusal.retry_after.map(|after| after.as_secs() + 1),
    }
}

fn error(code: Code, message: String, next: String) -> types::Error {
    types::Error { code, guard: None, message, next: Some(next), retry_after_s: None }
}

impl types::Error {
    fn with_guard(mut self, guard: &str) -> Self {
        self.guard = Some(guard.to_owned());
        self
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn internal(source: Error) -> types::Error {
    error(
        Code::Internal,
        format!("the kernel refused: {source}"),
        "traffic goes on as it is; the agent's log says more".to_owned(),
    )
}
