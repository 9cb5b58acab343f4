//! The streams on the ground: opened now and then, and held to their promise.

use super::ground::Ground;
use crate::lab::agent::PATIENCE;
use crate::lab::clock::eventually;
use crate::lab::{Environment, other, word};
use crate::streamer::load::Load;
use anyhow::{Result, ensure};

/// Streams of one load.
pub(super) const STREAMS: u32 = 4;

impl Ground {
    /// New streams now: all of them reach this environment.
    pub fn open_streams(&mut self, wanted: Environment) -> Result<()> {
        let load = self.stage.load(STREAMS, false)?;
        let reached = load.tally().open(wanted);
        self.loads.push(load);
        ensure!(
            reached == u64::from(STREAMS),
            "{reached} of {STREAMS} new connections reached {}",
            word(wanted)
        );
        self.all_whole()
    }

    /// No stream has failed, and all go on.
    pub fn all_whole(&self) -> Result<()> {
        let answered: Vec<_> = self.streams().map(|load| load.tally().answered()).collect();
        let go_on = eventually(PATIENCE, || {
            self.streams().zip(&answered).all(|(load, answered)| {
                let tally = load.tally();
                tally.answered() >= answered + u64::from(STREAMS) || tally.failed() > 0
            })
        });
        for load in self.streams() {
            let tally = load.tally();
            ensure!(tally.failed() == 0, "a stream failed: {:?}", tally.failures());
        }
        ensure!(go_on, "streams stand still");
        Ok(())
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Load> {
        self.churn.iter().chain(&self.loads)
    }

    /// Ends the streams of an environment by FINs both ways.
    pub(super) fn end_streams(&mut self, environment: Environment) -> Result<()> {
        for load in self.streams() {
            load.order(|orders| match environment {
                Environment::Blue => orders.end_blue = true,
                Environment::Green => orders.end_green = true,
            });
        }
        let ended = eventually(PATIENCE, || self.streams().all(|load| load.tally().open(environment) == 0));
        ensure!(ended, "streams of {} do not end", word(environment));
        // Short ones go on to come and go, wherever new connections go.
        for load in self.streams() {
            load.order(|orders| (orders.end_blue, orders.end_green) = (false, false));
        }
        let over = |load: &mut Load| load.tally().open(other(environment)) == 0;
        let over: Vec<_> = self.loads.extract_if(.., over).collect();
        over.into_iter().try_for_each(end)
    }

    /// Ends all streams, and holds them to their promise.
    pub fn end_all_streams(&mut self) -> Result<()> {
        self.churn.take().into_iter().chain(std::mem::take(&mut self.loads)).try_for_each(end)
    }
}

/// Ends a load, and holds it to its promise.
fn end(load: Load) -> Result<()> {
    let tally = load.stop()?;
    ensure!(tally.failed() == 0, "a stream failed: {:?}", tally.failures());
    ensure!(tally.fates().kept == tally.fates().opened, "{:?}", tally.fates());
    Ok(())
}
