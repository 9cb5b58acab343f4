//! A switch from one environment to the other under requests, and what clients and kernels saw of it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::contender::{Contender, Ground};
use super::report::SwitchRow;
use crate::lab::agent::PATIENCE;
use crate::lab::clock::eventually;
use crate::lab::topology::CLIENTS;
use crate::lab::witness::Resets;
use crate::lab::{other, word};
use crate::streamer::load::{Clients, Http, Load};

/// A way to switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Flip,
    Map,
    Runtime,
    Reload,
}

impl How {
    /// The ways of a contender. Routing has none: its clients know the backend's address.
    pub(super) const fn of(contender: Contender) -> &'static [Self] {
        match contender {
            Contender::Routing => &[],
            Contender::Bluegreen => &[Self::Flip],
            Contender::Nftables => &[Self::Map],
            Contender::Haproxy => &[Self::Runtime, Self::Reload],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Flip => "bgctl flip",
            Self::Map => "nft -f",
            Self::Runtime => "runtime API",
            Self::Reload => "reload",
        }
    }
}

/// Clients that keep their connection for a hundred requests, and that open one for each.
const KEEP_ALIVE: u32 = 8;
const SHORT: u32 = 4;
/// Between two requests of one client: none of them is to starve.
const PACE: Duration = Duration::from_millis(2);
/// Answers before the switch.
const BEFORE: u64 = 500;

/// Switches, and lets the load run for a while after it.
pub(super) fn measure(
    ground: &mut Ground,
    contender: Contender,
    how: How,
    seconds: u32,
) -> Result<SwitchRow> {
    let from = ground.live(contender)?;
    let to = other(from);
    let before = Resets::at_the_ends(ground.topology())?;
    let http =
        Http { target: ground.target(contender)?.into(), keep_alive: KEEP_ALIVE, closing: SHORT, pace: PACE };
    let sources = CLIENTS[1..].iter().map(|address| (*address).into()).collect();
    let load = Load::start(&ground.topology().client, Clients { sources, streams: None, http: Some(http) });
    let tally = load.tally();
    let under_way = eventually(PATIENCE, || tally.answered() > BEFORE || tally.failed() > 0);
    ensure!(under_way && tally.failed() == 0, "no switch yet, and requests fail: {:?}", tally.failures());
    ensure!(tally.answers(to) == 0, "{} answers, and is not live yet", word(to));

    let began = Instant::now();
    match how {
        How::Reload => ground.reload_haproxy(to)?,
        _ => ground.switch(contender, to)?,
    }
    let took = began.elapsed();
    sleep(Duration::from_secs(seconds.into()));
    let resets = Resets::at_the_ends(ground.topology())? - before;
    let tally = load.stop()?;
    ensure!(tally.answers(to) > 0, "{} was switched to, and answers nothing", word(to));
    Ok(SwitchRow {
        contender,
        how: how.name(),
        switches: 1,
        requests: tally.answered(),
        broken_connections: tally.failed(),
        resets: resets.estab_resets + resets.out_rsts,
        took_ms: took.as_secs_f64() * 1e3,
    })
}
