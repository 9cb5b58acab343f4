//! `bgctl drain`: how the drain goes, its deadline, its end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    args::{self, DrainAct},
    exit::{Exit, Failure},
    output::Output,
    text::{self, clean},
};
use crate::api::{
    client::{Client, ClientError},
    types::{DrainRequest, DrainResult, DrainStatus, State},
};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// An agent that is restarted or replaced in the middle of a drain goes on with it; it has so long
/// to come back.
const ABSENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(output: &Output, client: &Client, args: args::Drain) -> Result<Exit, Failure> {
    let name = &args.deployment;
    let mut request = DrainRequest { reason: args.reason, ..DrainRequest::default() };
    let first = match args.act {
        None | Some(DrainAct::Status) => client.drain_status(name).await?,
        Some(DrainAct::Extend { by }) => {
            request.extend_s = Some(by.as_secs());
            client.drain(name, &request).await?
        }
        Some(DrainAct::Finish) => {
            request.finish = true;
            client.drain(name, &request).await?
        }
    };
    let (last, exit) = if args.wait || args.timeout.is_some() {
        wait(output, client, first, args.timeout).await?
    } else {
        (first, Exit::Done)
    };
    output.answer(&last, || show(output, &last, exit))?;
    Ok(exit)
}

/// Looks until the drain is over, or something else has come.
async fn wait(
    output: &Output,
    client: &Client,
    first: DrainResult,
    timeout: Option<Duration>,
) -> Result<(DrainResult, Exit), Failure> {
    let begin = Instant::now();
    let mut seen = Instant::now();
    let mut now = first.clone();
    loop {
        if let Some(exit) = judge(&first, &now) {
            output.progress_end();
            return Ok((now, exit));
        }
        let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(begin.elapsed()));
        if left.is_zero() {
            output.progress_end();
            return Ok((now, Exit::WaitEnded));
        }
        output.progress(&progress(&now, begin.elapsed()));
        sleep(LOOK.min(left)).await;
        match client.drain_status(&first.deployment).await {
            Ok(answer) => {
                seen = Instant::now();
                now = answer;
            }
            Err(error @ (ClientError::NoAgent { .. } | ClientError::Broken { .. })) => {
                if seen.elapsed() > ABSENCE {
                    output.progress_end();
                    return Err(error.into());
                }
            }
            Err(error) => {
                output.progress_end();
                return Err(error.into());
            }
        }
    }
}

/// How the wait ended, if it did. A wait is for the drain that was there when it began.
fn judge(first: &DrainResult, now: &DrainResult) -> Option<Exit> {
    let drain = first.drain.as_ref();
    let Some(leaving) = drain.map(|drain| drain.leaving) else {
        return Some(Exit::Done);
    };
    match &now.drain {
        // It was left, and is live: whoever went back to it was quicker than the look.
        _ if now.live == leaving && first.state == State::Draining => Some(Exit::RolledBack),
        None => Some(Exit::Done),
        Some(drain) if drain.leaving == leaving => None,
        Some(_) => Some(Exit::OutRun),
    }
}

fn progress(now: &DrainResult, waited: Duration) -> String {
    let (name, waited) = (&now.deployment, text::duration(waited));
    now.drain.as_ref().map_or_else(
        || format!("{name}: waited {waited}"),
        |drain| {
            let leaving = text::name(drain.leaving);
            let flows = text::counted(drain.flows, "flow");
            let waiting_for = clean(&drain.waiting_for);
            format!("{name}: {leaving} drains, {flows} left, waited {waited}: {waiting_for}")
        },
    )
}

fn show(output: &Output, result: &DrainResult, exit: Exit) -> String {
    let paint = output.paint();
    let name = &result.deployment;
    let live = paint.environment(result.live, text::name(result.live));
    let mut lines = Vec::new();
    let next = match &result.drain {
        None => {
            let how = match exit {
                Exit::RolledBack => "it was rolled back",
                _ => "nothing drains",
            };
            lines.push(format!("{name}: {how}, {live} is live"));
            format!("bgctl status {name} | bgctl flip {name}")
        }
        Some(drain) => {
            let how = match exit {
                Exit::RolledBack => "it was rolled back: ",
                Exit::OutRun => "somebody else switched: ",
                Exit::WaitEnded => "the wait is over, the drain is not: ",
                _ => "",
            };
            let leaving = paint.environment(drain.leaving, text::name(drain.leaving));
            let age = text::seconds(drain.age_s);
            lines.push(format!("{name}: {how}{live} is live, {leaving} drains for {age}"));
            lines.extend(details(drain));
            let back = match result.state {
                State::Draining => format!(" | bgctl rollback {name}"),
                State::Idle | State::Shifting | State::RollingBack => String::new(),
            };
            format!("bgctl drain {name} --wait | bgctl drain {name} extend 10m{back}")
        }
    };
    if let Some(last) = &result.last {
        lines.push(paint.faint(&format!("last: {}", clean(last))));
    }
    lines.push(format!("next: {next}"));
    lines.join("\n  ")
}

/// What is known of a drain, line by line; the status screen shows the same.
pub(super) fn details(drain: &DrainStatus) -> Vec<String> {
    let leaving = text::name(drain.leaving);
    let seen = text::count(drain.seen);
    let mut first = format!("{} of {seen} seen", text::counted(drain.flows, "flow"));
    if let Some(age) = drain.last_seen_s {
        first = format!("{first}, last packet {} ago", text::seconds(age));
    }
    first = match drain.deadline_s {
        Some(deadline) => format!("{first}, closes in {}", text::seconds(deadline)),
        None => format!("{first}, no deadline"),
    };
    let pins = text::counted(drain.pins, "pin");
    let horizon = text::seconds(drain.idle_horizon_s);
    let mut lines = vec![first, format!("{pins}, gone counts who is silent for {horizon}")];
    if drain.overflow > 0 {
        let connections = text::counted(drain.overflow, "connection");
        lines.push(format!("{connections} went to {leaving} after the switch, and are safe there"));
    }
    lines.push(format!("waits for: {}", clean(&drain.waiting_for)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Environment::{self, Blue, Green};

    fn result(state: State, live: Environment, leaving: Option<Environment>) -> DrainResult {
        DrainResult {
            deployment: "shop".to_owned(),
            state,
            generation: 7,
            live,
            drain: leaving.map(|leaving| DrainStatus {
                leaving,
                age_s: 252,
                flows: 12,
                seen: 1_204,
                last_seen_s: Some(3),
                pins: 340,
                overflow: 0,
                idle_horizon_s: 600,
                deadline_s: None,
                waiting_for: "12 flows".to_owned(),
            }),
            last: None,
        }
    }

    #[test]
    fn wait_goes_on_while_the_same_environment_drains() {
        let first = result(State::Draining, Green, Some(Blue));
        assert_eq!(judge(&first, &first), None);
        let first = result(State::RollingBack, Blue, Some(Green));
        assert_eq!(judge(&first, &first), None);
    }

    #[test]
    fn wait_is_over_when_nothing_drains() {
        let first = result(State::Draining, Green, Some(Blue));
        assert_eq!(judge(&first, &result(State::Idle, Green, None)), Some(Exit::Done));
        let first = result(State::Idle, Green, None);
        assert_eq!(judge(&first, &first), Some(Exit::Done));
        let first = result(State::RollingBack, Blue, Some(Green));
        assert_eq!(judge(&first, &result(State::Idle, Blue, None)), Some(Exit::Done));
    }

    #[test]
    fn rollback_in_the_middle_is_told_even_if_it_is_over() {
        let first = result(State::Draining, Green, Some(Blue));
        let going = result(State::RollingBack, Blue, Some(Green));
        assert_eq!(judge(&first, &going), Some(Exit::RolledBack));
        assert_eq!(judge(&first, &result(State::Idle, Blue, None)), Some(Exit::RolledBack));
    }

    #[test]
    fn another_switch_in_the_middle_is_told() {
        let first = result(State::RollingBack, Blue, Some(Green));
        let now = result(State::Draining, Green, Some(Blue));
        assert_eq!(judge(&first, &now), Some(Exit::OutRun));
    }
}
