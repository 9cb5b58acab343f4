//! The demo as a whole: sets up, has the acts performed, and asks the witnesses.

use super::acts::{Show, Switch};
use super::arrivals::{Arrivals, Reign};
use super::events::{Events, seconds};
use super::screen::Screen;
use super::summary::{Control, Details, Summary};
use super::watch::Watch;
use crate::lab::capture::Capture;
use crate::lab::config::Settings;
use crate::lab::fleet::Fleet;
use crate::lab::other;
use crate::lab::stage::Stage;
use crate::lab::witness::excess;
use anyhow::Result;
use std::time::Duration;

/// How to run it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Stretches the times between acts.
    pub scale: f64,
}

/// Runs the demo. An error means that it could not be shown; whether the promises held is in the
/// summary.
pub fn run(options: Options) -> Result<Summary> {
    let screen = Screen::open();
    let events = Events::new(screen.is_none());
    if screen.is_some() {
        eprintln!(" building the network: a client, a node, two blue and two green backends ...");
    } else {
        events.note("building the network: a client, a node, two blue and two green backends");
    }
    let settings =
        Settings { web: true, syn_lifetime: "5s".into(), idle_horizon: "6s".into(), ..Settings::default() };
    // The agent is up before any client is: no connection is older than its memory, so the flips
    // below may override the guard that waits for the memory to be complete.
    let stage = Stage::new(2, 2, &settings)?;
    let capture = Capture::start(&stage.topology)?;
    let watch = Watch::start(&stage.topology, events.clone(), screen);
    watch.tell(|now| "up".clone_into(&mut now.agent));
    let mut show = Show { stage, events, watch, scale: options.scale, switches: Vec::new() };

    let control = show.control()?;
    let (acts, switched, totals) = show.switched()?;
    // Servers write their logs five times a second.
    std::thread::sleep(Duration::from_millis(500));
    let captured = capture.finish()?;
    let mut accepted = Fleet::accepted(&show.stage.topology)?;
    let (web, refused) = show.watch.finish()?;
    accepted.extend(web);
    let arrivals = Arrivals::count(&reigns(&show.switches, switched.end_ns), &captured, &accepted);
    for complaint in totals.complaints() {
        eprintln!("failure: {complaint}");
    }
    for reset in captured.resets(switched.start_ns, switched.end_ns).take(10) {
        eprintln!("RST from {} to {} at {} ns", reset.from, reset.to, reset.at_ns);
    }
    let fates = totals.fates();
    let (control, switched) = (control.judge(&captured), switched.judge(&captured));
    let beyond =
        |of: fn(&Control) -> u64| excess(of(&switched), switched.seconds, of(&control), control.seconds);
    let stores: Vec<u64> = show.switches.iter().map(|one| one.result.store_ns).collect();
    Ok(Summary {
        requests: totals.requests(),
        failed: totals.failed() + refused,
        connections_broken: totals.broken(),
        long_lived: fates,
        flips: acts.flips,
        flip_store_ns: stores.iter().copied().max().unwrap_or(0),
        old_after_flip: arrivals.share(),
        agent_down_failed: totals.failed_between(acts.down_ns, acts.up_ns),
        tcp_estab_resets: beyond(|run| run.tcp_estab_resets),
        tcp_out_rsts: beyond(|run| run.tcp_out_rsts),
        captured_rst: beyond(|run| run.captured_rst),
        details: Details {
            rollbacks: acts.rollbacks,
            stores_ns: stores,
            opened_after_flip: arrivals.opened,
            accepted_by_old: arrivals.accepted_by_old,
            wrk_requests: totals.wrk.requests,
            seconds: switched.seconds,
            agent_down_answered: acts.down_answered,
            agent_down_s: seconds(acts.up_ns - acts.down_ns),
            drain_s: seconds(acts.drained_ns - acts.flipped_ns),
            control,
            switched,
        },
    })
}

/// From each switch to the moment when the next was asked for.
fn reigns(switches: &[Switch], end_ns: u64) -> Vec<Reign> {
    let next = switches.iter().skip(1).map(|switch| switch.asked_ns);
    let ends = next.chain([end_ns]);
    let pairs = switches.iter().zip(ends);
    pairs
        .map(|(switch, to_ns)| Reign {
            from_ns: switch.result.stored_at_ns,
            to_ns,
            old: other(switch.result.to),
        })
        .collect()
}
