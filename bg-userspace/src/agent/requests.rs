//! Requests, answered.

use std::time::Duration;

use bg_common::control::{Environment, Phase};
use tracing::{info, warn};

use super::commit::Done;
use super::members::Refused;
use super::rings::Aim;
use super::switch::{Switch, environment};
use super::{Agent, finish};
use crate::api::types::{self, Code};
use crate::api::{Call, Request, Response, Who};
use crate::config;
use crate::datapath::{self, Error, clock};
use crate::journal::Outcome;
use crate::rollout::{self, JOURNAL, Motive, Refusal};

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
            Request::Reload { body } => self.reload(Some(who), body.reason.as_deref()),
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
        let percent = body.share.unwrap_or(100);
        if !(1..=100).contains(&percent) {
            return Err(error(
                Code::BadRequest,
                format!("a share of {percent} % makes no sense"),
                "1 to 100, in percent of the new connections".to_owned(),
            ));
        }
        let facts = self.facts(at, to, &body.force);
        let agreed =
            if percent == 100 { rollout::flip(&facts, to) } else { rollout::shift(&facts, to, percent) };
        if !agreed.map_err(refused)? || body.dry_run {
            return Ok(Response::Switch(types::SwitchResult {
                deployment: name.to_owned(),
                changed: false,
                from: environment(from),
                to: environment(to),
                share: Some(facts.share).filter(|share| *share > 0),
                generation: control.epoch(),
                rollback_possible: rollout::can_roll_back(control, facts.share),
                store_ns: 0,
                stored_at_ns: 0,
                grace_ms: 0.0,
            }));
        }
        // Back to where base leads is a rollback to the kernel, whatever it is called.
        let back = control.phase() != Phase::Steady && control.base().environment == to;
        let (aim, motive, what) = if percent < 100 {
            let what = format!("flip to {}, {percent} % of the new connections", to.name());
            (Aim { live: from, share: percent }, Motive::Canary, what)
        } else {
            let motive = if back { Motive::Rollback } else { Motive::Flip };
            (Aim { live: to, share: 0 }, motive, format!("flip to {}", to.name()))
        };
        let reason = body.reason.as_deref();
        self.perform(at, to, &Switch { aim, motive, who, what, reason, force: &body.force })
    }

    fn rollback(&mut self, who: &Who, name: &str, body: &types::RollbackRequest) -> Answer {
        let at = self.at(name)?;
        let base = self.datapath.control(self.deployments[at].installed.index).base().environment;
        let facts = self.facts(at, base, &body.force);
        let to = rollout::rollback(&facts).map_err(refused)?;
        let switch = Switch {
            aim: Aim { live: to, share: 0 },
            motive: Motive::Rollback,
            who,
            what: format!("rollback to {}", to.name()),
            reason: body.reason.as_deref(),
            force: &body.force,
        };
        self.perform(at, to, &switch)
    }

    fn perform(&mut self, at: usize, to: Environment, switch: &Switch<'_>) -> Answer {
        let from = self.datapath.control(self.deployments[at].installed.index).current().environment;
        let Done { stored, grace, control } = self.switch(at, switch).map_err(unwritten)?;
        let deployment = &mut self.deployments[at];
        let reason = switch.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        finish(deployment, format!("{} by {}{reason}", switch.what, switch.who.name));
        Ok(Response::Switch(types::SwitchResult {
            deployment: deployment.installed.name.clone(),
            changed: true,
            from: environment(from),
            to: environment(to),
            share: Some(switch.aim.share).filter(|share| *share > 0),
            generation: control.epoch(),
            rollback_possible: rollout::can_roll_back(control, switch.aim.share),
            store_ns: stored.took.as_nanos() as u64,
            stored_at_ns: stored.at,
            grace_ms: grace.as_secs_f64() * 1000.0,
        }))
    }

    fn steer_drain(&mut self, who: &Who, name: &str, body: &types::DrainRequest) -> Answer {
        let at = self.at(name)?;
        let index = self.deployments[at].installed.index;
        if !matches!(self.state(at), rollout::State::Draining | rollout::State::RollingBack) {
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
            self.noted(at, Some(who), &format!("deadline moved by {extend} s"), body.reason.as_deref());
        }
        if body.finish {
            self.datapath.note(index, |ledger| ledger.deadline_at = now);
            self.noted(at, Some(who), "drain ended", body.reason.as_deref());
            self.step_drains().map_err(internal)?;
        }
        self.drain_result(at)
    }

    /// Something that was done at once and is over.
    fn noted(&mut self, at: usize, who: Option<&Who>, what: &str, reason: Option<&str>) {
        let name = self.deployments[at].installed.name.clone();
        let generation = self.datapath.control(self.deployments[at].installed.index).epoch();
        let entry = self.book.begin(&name, who, what, reason, generation);
        self.end_entry(entry, Outcome::Done, "");
        let by = who.map(|who| format!(" by {}", who.name)).unwrap_or_default();
        finish(&mut self.deployments[at], format!("{what}{by}"));
    }

    fn history(&self, name: &str, limit: usize) -> Answer {
        self.at(name)?;
        let entries = self.book.history(name, limit).into_iter().map(Into::into).collect();
        Ok(Response::History(types::HistoryResult { deployment: name.to_owned(), entries }))
    }

    /// Reads the configuration again.
    fn reload(&mut self, who: Option<&Who>, reason: Option<&str>) -> Answer {
        let refuse =
            |message: String, next: &str| error(Code::Guard, message, next.to_owned()).with_guard("config");
        let config = config::load(&self.file).map_err(|mistakes| {
            refuse(mistakes.to_string(), "nothing was changed; mend the file and reload again")
        })?;
        datapath::require_on_link(&config).map_err(|error| match error {
            Error::BehindRouter { .. } => refuse(error.to_string(), "nothing was changed"),
            other => internal(other),
        })?;
        let changes = self.take_over(config).map_err(|why| match why {
            Refused::Restart(text) => refuse(text, "nothing was changed"),
            Refused::Kernel(source) => internal(source),
        })?;
        for (at, change) in &changes {
            self.noted(*at, who, change, reason);
        }
        let sentences = changes.into_iter().map(|(_, change)| change).collect();
        Ok(Response::Reload(types::ReloadResult { changed: sentences }))
    }

    /// The same, when nobody waits for an answer.
    pub(super) fn reload_by_signal(&mut self) {
        match self.reload(None, Some("SIGHUP")) {
            Ok(_) => info!("the configuration was read again"),
            Err(error) => warn!("the configuration was not taken over: {}", error.message),
        }
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

/// A switch that did not happen.
fn unwritten(source: Error) -> types::Error {
    let Error::Journal(source) = source else { return internal(source) };
    error(
        Code::Guard,
        format!("the journal cannot be written, so nothing was changed: {source}"),
        format!("mend that, `df` and the agent's log say more; or --force {JOURNAL}, and a reboot may then move connections"),
    )
    .with_guard(JOURNAL)
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
