//! `bgctl flip` and `bgctl rollback`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    args,
    exit::{Exit, Failure},
    output::Output,
    text,
};
use crate::api::{
    client::{Client, ClientError},
    types::{self, Code, FlipRequest, RollbackRequest, SwitchResult},
};

/// The guard that time alone satisfies, after the first load.
const PATIENT_GUARD: &str = "syn-memory";

pub(super) async fn flip(output: &Output, client: &Client, flip: args::Flip) -> Result<Exit, Failure> {
    // "The idle one" is the one that was idle when the operator asked: if somebody else flips first, this
    // flip must not undo theirs.
    let seen = match flip.to {
        Some(_) => None,
        None => Some(client.deployment(&flip.deployment).await?),
    };
    let request = FlipRequest {
        to: flip.to.or(seen.as_ref().map(|seen| text::other(seen.live))),
        share: flip.share,
        force: flip.force,
        reason: flip.reason,
        dry_run: flip.dry_run,
        if_generation: seen.map(|seen| seen.generation),
    };
    let patience = match (flip.no_wait || flip.dry_run, flip.timeout) {
        (true, _) => Some(Duration::ZERO),
        (false, timeout) => timeout,
    };
    let flipped = patiently(output, client, &flip.deployment, &request, patience).await;
    let switch = flipped?;
    output.answer(&switch, || show_flip(output, &switch, request.dry_run))?;
    Ok(Exit::Done)
}

/// Flips; waits and tries again as long as nothing but time is missing.
async fn patiently(
    output: &Output,
    client: &Client,
    name: &str,
    request: &FlipRequest,
    patience: Option<Duration>,
) -> Result<SwitchResult, ClientError> {
    let begin = Instant::now();
    loop {
        let error = match client.flip(name, request).await {
            Err(ClientError::Refused(error)) => error,
            answer => return answer,
        };
        let left = patience.map(|patience| patience.saturating_sub(begin.elapsed()));
        let Some(wait) = wait_for(&error, left) else {
            return Err(error.into());
        };
        show_wait(output, name, wait).await;
    }
}

/// How long to wait before the next try, if it makes sense and there is time left.
fn wait_for(error: &types::Error, left: Option<Duration>) -> Option<Duration> {
    let patient = error.code == Code::Guard && error.guard.as_deref() == Some(PATIENT_GUARD);
    let needed = Duration::from_secs(error.retry_after_s.filter(|_| patient)?);
    let needed = needed.max(Duration::from_millis(200));
    match left {
        Some(Duration::ZERO) => None,
        Some(left) => Some(needed.min(left)),
        None => Some(needed),
    }
}

async fn show_wait(output: &Output, name: &str, wait: Duration) {
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let shown = text::duration(left);
        output.progress(&format!("{name}: the SYN memory is incomplete, next try in {shown}"));
        sleep(left.min(Duration::from_secs(1))).await;
    }
    output.progress_end();
}

pub(super) async fn rollback(
    output: &Output,
    client: &Client,
    rollback: args::Rollback,
) -> Result<Exit, Failure> {
    let request = RollbackRequest { force: rollback.force, reason: rollback.reason };
    let switch = client.rollback(&rollback.deployment, &request).await?;
    output.answer(&switch, || show_rollback(output, &switch))?;
    Ok(Exit::Done)
}

fn show_flip(output: &Output, switch: &SwitchResult, dry_run: bool) -> String {
    let SwitchResult { deployment, to, .. } = switch;
    if dry_run && switch.from != switch.to {
        let to = text::name(*to);
        let share = switch.share.map_or_else(String::new, |share| format!(" --share {share}"));
        return format!(
            "{deployment}: no guard refuses a flip to {to}; nothing was changed\n  \
             next: bgctl flip {deployment} --to {to}{share}"
        );
    }
    if let Some(share) = switch.share.filter(|_| switch.changed) {
        return show_share(output, switch, share);
    }
    let way_back = if switch.rollback_possible { "rollback" } else { "status" };
    let next = format!("bgctl drain {deployment} --wait | bgctl {way_back} {deployment}");
    show(output, switch, "", &next)
}

/// A step of a flip that gives the other environment a share of the new connections.
fn show_share(output: &Output, switch: &SwitchResult, share: u8) -> String {
    let SwitchResult { deployment, from, to, generation, .. } = switch;
    let to = output.paint().environment(*to, text::name(*to));
    let from = text::name(*from);
    format!(
        "{deployment}: {to} gets {share} % of new connections, {from} the rest   generation {generation}\n  \
         {}\n  next: bgctl status {deployment} | bgctl flip {deployment} | bgctl rollback {deployment}",
        cost(switch),
    )
}

fn show_rollback(output: &Output, switch: &SwitchResult) -> String {
    let next = format!("bgctl drain {0} --wait | bgctl status {0}", switch.deployment);
    show(output, switch, "rolled back, ", &next)
}

fn show(output: &Output, switch: &SwitchResult, how: &str, next: &str) -> String {
    let paint = output.paint();
    let SwitchResult { deployment, from, to, generation, .. } = switch;
    let live = paint.environment(*to, text::name(*to));
    if !switch.changed {
        return format!(
            "{deployment}: {live} is live already; nothing was changed\n  \
             next: bgctl status {deployment}"
        );
    }
    let from = text::name(*from);
    format!(
        "{deployment}: {how}{live} is live, {from} keeps its connections   generation {generation}\n  \
         {}\n  next: {next}",
        cost(switch),
    )
}

fn cost(switch: &SwitchResult) -> String {
    let SwitchResult { store_ns, grace_ms, .. } = switch;
    format!("one store of {} ns, seen by every processor after {grace_ms:.1} ms", text::count(*store_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(guard: &str, retry_after_s: Option<u64>) -> types::Error {
        types::Error {
            code: Code::Guard,
            guard: Some(guard.to_owned()),
            message: "not yet".to_owned(),
            next: None,
            retry_after_s,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_for_the_syn_memory_and_for_nothing_else() {
        assert_eq!(wait_for(&refusal("syn-memory", Some(7)), None), Some(7 * SECOND));
        assert_eq!(wait_for(&refusal("health", Some(7)), None), None);
    }

    #[test]
    fn does_not_wait_for_what_time_does_not_mend() {
        assert_eq!(wait_for(&refusal("syn-memory", None), None), None);
    }

    #[test]
    fn waits_no_longer_than_it_may() {
        let error = refusal("syn-memory", Some(7));
        assert_eq!(wait_for(&error, Some(3 * SECOND)), Some(3 * SECOND));
        assert_eq!(wait_for(&error, Some(Duration::ZERO)), None);
    }

    #[test]
    fn does_not_hammer_an_agent_that_says_at_once() {
        let wait = wait_for(&refusal("syn-memory", Some(0)), None).unwrap();
        assert!(wait >= Duration::from_millis(100));
    }
}
