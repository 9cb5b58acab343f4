//! The task of one target: probe, report, say goodbye, wait for the next turn.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use super::{Report, Target, filter::Filter, goodbye, probe};

/// Probes a target until nobody wants to know any more.
pub(super) async fn run(target: Target, out: mpsc::Sender<Report>, mut stopped: watch::Receiver<()>) {
    let check = &target.check;
    let mut filter = Filter::new(check.rise, check.fall);
    let first = time::Instant::now() + jitter(check.interval, target.key);
    let mut turns = time::interval_at(first, check.interval);
    // A goodbye may take as long as its probe: the next turn is late then, and none is made up for.
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Nothing is ever sent: this ends when the checker is dropped.
            _ = stopped.changed() => return,
            () = out.closed() => return,
            _ = turns.tick() => {}
        }
        let outcome = probe::probe(&target).await;
        let report =
            filter.see(outcome.result).map(|verdict| Report { key: target.key, verdict, at: Instant::now() });
        let mut farewells = JoinSet::new();
        for stream in outcome.streams {
            farewells.spawn(goodbye::close(stream, check.timeout));
        }
        let wanted = match report {
            Some(report) => tokio::select! {
                _ = stopped.changed() => false,
                sent = out.send(report) => sent.is_ok(),
            },
            None => true,
        };
        farewells.join_all().await;
        if !wanted {
            return;
        }
    }
}

/// A random part of the interval, so that a thousand targets are not probed in the same instant.
fn jitter(interval: Duration, key: u32) -> Duration {
    let random = RandomState::new().hash_one(key);
    interval.mul_f64(f64::from(random as u32) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_the_interval_and_spreads() {
        let interval = Duration::from_secs(1);
        let starts: Vec<_> = (0..200).map(|key| jitter(interval, key)).collect();
        assert!(starts.iter().all(|start| *start <= interval));
        let early = starts.iter().filter(|start| **start < interval / 2).count();
        assert!((50..150).contains(&early), "{early} of 200 in the first half");
    }
}
