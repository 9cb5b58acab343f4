//! A soak as a whole: sets up, lets everything happen, and asks the witnesses.

use super::conductor::{self, Conductor};
use super::crowd::Crowd;
use super::dice::Dice;
use super::judge::Evidence;
use super::loss;
use super::maps::Maps;
use super::options::Options;
use super::progress::Progress;
use super::stranger::Stranger;
use super::summary::{Phases, Summary};
use super::timeline::{Timeline, Watch};
use crate::lab::capture::Capture;
use crate::lab::clock::{eventually, realtime_ns};
use crate::lab::stage::Stage;
use crate::lab::topology::Topology;
use crate::lab::witness::Resets;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Backends in each environment.
const BACKENDS: u8 = 3;

/// Runs a soak. An error means that it could not be run; whether the promises held is in the summary.
pub fn run(options: &Options) -> Result<Summary> {
    let stage = stage(options)?;
    let capture = Capture::start(&stage.topology)?;
    let watch = Watch::start(Maps::open(&stage.topology)?)?;
    let stranger = stage.topology.stranger.as_ref().context("nobody admitted the stranger")?;
    let victims = if options.spoof { Some(capture.tail()?) } else { None };
    let stranger = Stranger::start(stranger, options.seed, victims);
    if options.loss > 0 {
        loss::lose(&stage.topology, options.loss)?;
    }

    let before = resets(&stage.topology)?;
    let began_ns = realtime_ns();
    let crowd = Crowd::start(&stage.topology.client, options.seed, options.rate(), Arc::clone(&watch.live));
    let mut conductor = Conductor {
        wipe: if options.wipe_pins { Some(Maps::open(&stage.topology)?) } else { None },
        stage,
        crowd,
        stranger,
        live: Arc::clone(&watch.live),
        options: options.clone(),
        dice: Dice::new(options.seed),
        counts: conductor::Counts::default(),
        progress: Progress::new(options.acts),
        troubles: Vec::new(),
        outages: Vec::new(),
        floods: Vec::new(),
        flood_ends: None,
        why: None,
    };
    conductor.perform()?;
    conductor.wind_up()?;
    let Conductor { stage, crowd, stranger, outages, floods, counts, progress, why, .. } = conductor;
    let connections = crowd.board.begun.load(Relaxed);
    let records = crowd.stop()?;
    let duration_s = progress.seconds();
    let strange_syns = stranger.wishes.sent.load(Relaxed);
    let forged = stranger.finish()?;
    let after = resets(&stage.topology)?;
    let ended_ns = realtime_ns();
    let timeline = watch.finish()?;
    let captured = capture.finish()?;
    drop(progress);
    stage.agent().wait_until_idle().context("the last drain")?;

    let evidence = Evidence {
        options,
        records: &records,
        timeline: &timeline,
        outages: &outages,
        floods: &floods,
        forged: &forged,
        captured: &captured,
        span: (began_ns, ended_ns),
        resets: std::array::from_fn(|at| after[at] - before[at]),
    };
    let (details, complaints) = evidence.judge();
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    let (flips, rollbacks, phases) = tell(&timeline);
    Ok(Summary {
        connections,
        connections_ipv6: records.iter().filter(|record| record.vip.is_ipv6()).count() as u64,
        broken: details.broken,
        moved: details.moved,
        misrouted: details.misrouted,
        reached_current: details.share(),
        second_chances: 0,
        flips,
        duration_s,
        seed: options.seed,
        tcp_estab_resets: details.tcp_estab_resets,
        captured_rst: details.captured_rst,
        rollbacks,
        phases,
        words: timeline.moments.len() as u64,
        acts: counts,
        details,
        strange_syns,
        forged: forged.len() as u64,
        why,
        options: options.clone(),
    })
}

/// The network, its servers and the agent; ready when a flip needs no patience any more.
fn stage(options: &Options) -> Result<Stage> {
    let mut topology = Topology::new(BACKENDS, BACKENDS)?;
    topology.admit_stranger()?;
    // A port in TIME_WAIT may be used again after a second, and not only on loopback.
    topology.client.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
    // SYNs at 0, 1 and 3 s, with loss at 7 s too: the life of a SYN is shortened like the memory of it.
    let linear = "net/ipv4/tcp_syn_linear_timeouts";
    if Path::new("/proc/sys").join(linear).exists() {
        topology.client.sysctl(linear, "0")?;
    }
    topology.client.sysctl("net/ipv4/tcp_syn_retries", if options.loss > 0 { "3" } else { "2" })?;
    // Where the kernel has it, nobody pauses for longer than two seconds between two repetitions: a longer
    // silence would have to be covered by the idle horizon.
    let pause = "net/ipv4/tcp_rto_max_ms";
    if options.loss > 0 && Path::new("/proc/sys").join(pause).exists() {
        topology.ends().try_for_each(|end| end.sysctl(pause, "2000"))?;
        // A server that has closed gives up when its pause is the longest, unless it is told to try on
        // (`tcp_orphan_retries` in `net/ipv4/tcp_timer.c`), and then has no answer but a RST.
        topology.ends().try_for_each(|end| end.sysctl("net/ipv4/tcp_orphan_retries", "15"))?;
    }
    if options.loss > 0 {
        // One probe in five remains without an answer, and of a million some series is nine long.
        topology.client.sysctl("net/ipv4/tcp_keepalive_probes", "40")?;
    }
    for backend in &topology.backends {
        backend.namespace.sysctl("net/ipv4/tcp_synack_retries", "2")?;
        backend.namespace.sysctl("net/ipv4/tcp_syncookies", "1")?;
    }
    let stage = Stage::on(topology, &options.settings())?;
    let mut complete = Ok(false);
    eventually(Duration::from_mins(1), || {
        complete = stage.agent().deployment().map(|one| one.syn_memory.complete_in_s == 0);
        !matches!(complete, Ok(false))
    });
    ensure!(complete?, "the SYN memory does not become complete");
    Ok(stage)
}

/// At the client, at all backends together, and at the node.
fn resets(topology: &Topology) -> Result<[Resets; 3]> {
    let mut servers = Resets::default();
    for backend in &topology.backends {
        servers += Resets::of(&backend.namespace)?;
    }
    Ok([Resets::of(&topology.client)?, servers, Resets::of(&topology.node)?])
}

/// Flips, rollbacks and phases, as the kernel's word tells them.
fn tell(timeline: &Timeline) -> (u64, u64, Phases) {
    let (mut flips, mut rollbacks, mut phases) = (0, 0, Phases::default());
    for pair in timeline.moments.windows(2) {
        let (was, is) = (pair[0].word, pair[1].word);
        if was == is {
            continue;
        }
        if was.phase() != is.phase() {
            phases.count(is.phase());
        }
        if was.current().environment != is.current().environment {
            let flip = is.current().environment != is.base().environment;
            *(if flip { &mut flips } else { &mut rollbacks }) += 1;
        }
        phases.concluded += u64::from(was.base() != is.base());
    }
    (flips, rollbacks, phases)
}
