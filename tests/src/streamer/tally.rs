//! What a load counts while it runs, for whoever watches and for the verdict.

use crate::lab::{Environment, clock::realtime_ns};
use serde::Serialize;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Fates of long-lived connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fates {
    /// Connections whose banner was read.
    pub opened: u64,
    /// Ended because the client wanted so, every byte of them right, all from one server.
    pub kept: u64,
    /// Answered by another server than the one that they were opened with.
    pub moved: u64,
    /// Reset, closed by the other side, silent for too long, or with a wrong byte.
    pub broken: u64,
}

/// A failed request or a broken connection.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// When what failed began, `CLOCK_REALTIME`, nanoseconds since 1970: the request, or what came
    /// after the last answer of a connection.
    pub since_ns: u64,
    /// When it was seen to have failed.
    pub at_ns: u64,
    /// What the client saw.
    pub what: String,
}

/// Counters of one environment.
#[derive(Debug, Default)]
struct Side {
    answers: AtomicU64,
    open: AtomicI64,
}

/// The counters of one load. Shared between its clients and whoever watches.
#[derive(Debug, Default)]
pub struct Tally {
    opened: AtomicU64,
    kept: AtomicU64,
    moved: AtomicU64,
    broken: AtomicU64,
    sides: [Side; 2],
    failed: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

impl Tally {
    /// The long-lived connections so far.
    pub fn fates(&self) -> Fates {
        Fates {
            opened: self.opened.load(Relaxed),
            kept: self.kept.load(Relaxed),
            moved: self.moved.load(Relaxed),
            broken: self.broken.load(Relaxed),
        }
    }

    /// Requests or blocks that were answered rightly by this environment.
    pub fn answers(&self, environment: Environment) -> u64 {
        self.side(environment).answers.load(Relaxed)
    }

    /// Requests or blocks answered rightly, in all.
    pub fn answered(&self) -> u64 {
        self.answers(Environment::Blue) + self.answers(Environment::Green)
    }

    /// Requests or blocks without a right answer, connections that never opened included.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Connections that are open to this environment now.
    pub fn open(&self, environment: Environment) -> u64 {
        let open = self.side(environment).open.load(Relaxed);
        u64::try_from(open).unwrap_or(0)
    }

    /// Every failure, with its time.
    pub fn failures(&self) -> Vec<Failure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.clone()
    }

    /// How many failures overlap this span: what began in it may fail later, by silence.
    pub fn failed_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let failures = self.failures();
        let failed = failures.iter().filter(|failure| failure.at_ns >= from_ns && failure.since_ns < to_ns);
        failed.count() as u64
    }

    pub(super) fn answer(&self, environment: Environment) {
        self.side(environment).answers.fetch_add(1, Relaxed);
    }

    pub(super) fn fail(&self, since_ns: u64, what: String) {
        self.failed.fetch_add(1, Relaxed);
        let at_ns = realtime_ns();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(Failure { since_ns, at_ns, what });
    }

    pub(super) fn open_one(&self, environment: Environment) {
        self.opened.fetch_add(1, Relaxed);
        self.side(environment).open.fetch_add(1, Relaxed);
    }

    pub(super) fn close_one(&self, environment: Environment, since_ns: u64, end: &End) {
        self.side(environment).open.fetch_sub(1, Relaxed);
        let counter = match end {
            End::Kept => &self.kept,
            End::Moved(_) => &self.moved,
            End::Broken(_) => &self.broken,
        };
        counter.fetch_add(1, Relaxed);
        if let End::Moved(what) | End::Broken(what) = end {
            self.fail(since_ns, what.clone());
        }
    }

    fn side(&self, environment: Environment) -> &Side {
        match environment {
            Environment::Blue => &self.sides[0],
            Environment::Green => &self.sides[1],
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Kept,
    Moved(String),
    Broken(String),
}
