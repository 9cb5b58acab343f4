//! Answers of both environments over time, in buckets of a tenth of a second.

use crate::lab::Environment;
use std::collections::BTreeMap;

/// Width of a bucket, milliseconds.
pub(super) const BUCKET_MS: u64 = 100;

/// How many answers blue and green gave in each bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    buckets: BTreeMap<u64, [u64; 2]>,
}

/// Mean answers per second of blue and green in one column of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) blue: f64,
    pub(super) green: f64,
}

impl Rates {
    pub(super) fn sum(self) -> f64 {
        self.blue + self.green
    }
}

impl History {
    pub(super) fn add(&mut self, environment: Environment, at_ms: u64, answers: u64) {
        let bucket = self.buckets.entry(at_ms / BUCKET_MS).or_default();
        bucket[usize::from(environment == Environment::Green)] += answers;
    }

    /// The mean rates from one moment to another, milliseconds since 1970.
    pub(super) fn rates(&self, from_ms: u64, to_ms: u64) -> Rates {
        let span = from_ms / BUCKET_MS..(to_ms / BUCKET_MS).max(from_ms / BUCKET_MS + 1);
        #[expect(clippy::cast_precision_loss, reason = "a picture shows three digits")]
        let seconds = ((span.end - span.start) * BUCKET_MS) as f64 / 1000.0;
        let mut sum = [0_u64; 2];
        for [blue, green] in self.buckets.range(span).map(|(_, counts)| counts) {
            sum[0] += blue;
            sum[1] += green;
        }
        #[expect(clippy::cast_precision_loss, reason = "a picture shows three digits")]
        let [blue, green] = sum.map(|count| count as f64 / seconds);
        Rates { blue, green }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_asked_span() {
        let mut history = History::default();
        history.add(Environment::Blue, 1000, 10);
        history.add(Environment::Green, 1150, 30);
        let rates = history.rates(1000, 1200);
        assert!((rates.blue - 50.0).abs() < 1e-9 && (rates.green - 150.0).abs() < 1e-9);
        assert_eq!(history.rates(5000, 5100), Rates::default());
    }
}
