//! The load of the demo: two wrks, dated requests, and streams. Started twice, for the control run
//! and for the run that is switched, so that the two can be compared.

use super::wrk::{Manner, Outcome, Wrk};
use crate::lab::agent::PATIENCE;
use crate::lab::clock::eventually;
use crate::lab::config::{STREAM, WEB};
use crate::lab::topology::{CLIENTS, Topology};
use crate::streamer::load::{Clients, Http, Load, Orders, Streams};
use crate::streamer::tally::{Fates, Tally};
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::time::Duration;

const LONG_LIVED: u32 = 30;
const KEEP_ALIVE: Manner =
    Manner { name: "wrk-keep-alive", connections: 8, pause_ms: (1, 5), closing: false };
const CLOSING: Manner = Manner { name: "wrk-closing", connections: 4, pause_ms: (5, 15), closing: true };

/// Everything that clients do at one time.
pub(super) struct Traffic {
    wrks: Vec<Wrk>,
    http: Load,
    streams: Vec<Load>,
}

/// What it came to.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) wrk: Outcome,
    pub(super) http: Arc<Tally>,
    pub(super) streams: Vec<Arc<Tally>>,
}

impl Traffic {
    /// Starts all of it, and waits until the long-lived connections are open.
    pub(super) fn start(topology: &Topology) -> Result<Self> {
        let streams = start_streams(topology, true)?;
        let http = Http { target: WEB.into(), keep_alive: 4, closing: 2, pace: Duration::from_millis(20) };
        let clients = Clients { sources: sources(), streams: None, http: Some(http) };
        Ok(Self {
            wrks: vec![Wrk::start(topology, WEB, KEEP_ALIVE)?, Wrk::start(topology, WEB, CLOSING)?],
            http: Load::start(&topology.client, clients),
            streams: vec![streams],
        })
    }

    /// Opens another lot of long-lived connections.
    pub(super) fn more_streams(&mut self, topology: &Topology) -> Result<()> {
        self.streams.push(start_streams(topology, false)?);
        Ok(())
    }

    /// Tells all stream clients something.
    pub(super) fn order(&self, change: impl Fn(&mut Orders)) {
        for load in &self.streams {
            load.order(&change);
        }
    }

    /// The counters of streams and of dated requests, live.
    pub(super) fn tallies(&self) -> (Vec<Arc<Tally>>, Arc<Tally>) {
        (self.streams.iter().map(Load::tally).collect(), self.http.tally())
    }

    /// Dated requests and stream blocks that were answered so far.
    pub(super) fn answered(&self) -> u64 {
        let (streams, http) = self.tallies();
        http.answered() + streams.iter().map(|tally| tally.answered()).sum::<u64>()
    }

    /// Sentences on failures so far, a few of them.
    pub(super) fn complaints(&self) -> Vec<String> {
        let (mut tallies, http) = self.tallies();
        tallies.push(http);
        complaints(tallies.iter().map(|tally| &**tally))
    }

    /// Stops everything, the gentle ones first.
    pub(super) fn stop(self) -> Result<Totals> {
        let mut totals = Totals { http: self.http.stop()?, ..Totals::default() };
        for load in self.streams {
            totals.streams.push(load.stop()?);
        }
        for wrk in self.wrks {
            totals.wrk += wrk.stop()?;
        }
        Ok(totals)
    }
}

impl Totals {
    /// Fates of all streams.
    pub(super) fn fates(&self) -> Fates {
        let mut sum = Fates::default();
        for fates in self.streams.iter().map(|tally| tally.fates()) {
            sum.opened += fates.opened;
            sum.kept += fates.kept;
            sum.moved += fates.moved;
            sum.broken += fates.broken;
        }
        sum
    }

    /// Requests and blocks that were answered.
    pub(super) fn requests(&self) -> u64 {
        self.wrk.requests + self.dated().map(Tally::answered).sum::<u64>()
    }

    /// Requests and blocks that were not answered, or wrongly.
    pub(super) fn failed(&self) -> u64 {
        self.wrk.failed() + self.dated().map(Tally::failed).sum::<u64>()
    }

    /// Connections that broke or could not be opened.
    pub(super) fn broken(&self) -> u64 {
        self.wrk.broken() + self.dated().map(Tally::failed).sum::<u64>()
    }

    /// Failures that overlap this span. wrk does not date its failures, so all of them count.
    pub(super) fn failed_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let dated = self.dated().map(|tally| tally.failed_between(from_ns, to_ns));
        self.wrk.failed() + dated.sum::<u64>()
    }

    /// Sentences on failures, a few of them.
    pub(super) fn complaints(&self) -> Vec<String> {
        complaints(self.dated())
    }

    fn dated(&self) -> impl Iterator<Item = &Tally> {
        std::iter::once(&*self.http).chain(self.streams.iter().map(|tally| &**tally))
    }
}

fn complaints<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Vec<String> {
    let failures = tallies.flat_map(Tally::failures).take(10);
    failures.map(|failure| failure.what).collect()
}

fn start_streams(topology: &Topology, churn: bool) -> Result<Load> {
    let long_lived = if churn { LONG_LIVED } else { LONG_LIVED / 3 };
    let streams = Streams {
        target: STREAM.into(),
        long_lived,
        silent_third: true,
        pace: Duration::from_millis(100),
        churn: churn.then(|| Duration::from_millis(100)),
    };
    let clients = Clients { sources: sources(), streams: Some(streams), http: None };
    let load = Load::start(&topology.client, clients);
    let tally = load.tally();
    let opened = eventually(PATIENCE, || tally.fates().opened >= u64::from(long_lived) || tally.failed() > 0);
    ensure!(opened && tally.failed() == 0, "the stream clients cannot connect: {:?}", tally.failures());
    Ok(load)
}

/// wrk has the first address to itself: it opens the most connections.
fn sources() -> Vec<std::net::IpAddr> {
    CLIENTS[1..].iter().map(|address| (*address).into()).collect()
}
