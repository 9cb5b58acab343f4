//! Two processors that do something at the same moment, again and again: one leads, the other follows, and
//! how far apart they begin is drawn by lot.

use std::hint::spin_loop;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use super::random::Random;

/// What the follower is to do, and what came of it.
#[derive(Debug)]
pub(super) struct Course<J, R> {
    job: Mutex<Option<J>>,
    result: Mutex<Option<R>>,
    /// Number of the round that is set up, taken up, started, finished.
    set: AtomicU64,
    taken: AtomicU64,
    started: AtomicU64,
    finished: AtomicU64,
}

/// The round after which the follower goes home.
const END: u64 = u64::MAX;
/// Turns of a loop of waiting that one side may be late by; a run of the program takes as long as some hundred
/// of them.
const SPREAD: u32 = 400;

impl<J, R> Course<J, R> {
    pub(super) const fn new() -> Self {
        Self {
            job: Mutex::new(None),
            result: Mutex::new(None),
            set: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// The leader's side of a round: `act` here while the follower does `job`. Returns what both had to say.
    pub(super) fn lead<T>(&self, job: J, random: &mut Random, act: impl FnOnce() -> T) -> (T, R) {
        let round = self.set.load(SeqCst) + 1;
        *self.job.lock().expect("nobody panicked") = Some(job);
        self.set.store(round, SeqCst);
        wait(|| self.taken.load(SeqCst) == round);
        let late = random.below(SPREAD);
        self.started.store(round, SeqCst);
        (0..late).for_each(|_| spin_loop());
        let mine = act();
        wait(|| self.finished.load(SeqCst) == round);
        let theirs = self.result.lock().expect("nobody panicked").take();
        (mine, theirs.expect("the follower left a result"))
    }

    /// Lets the follower go home.
    pub(super) fn end(&self) {
        self.set.store(END, SeqCst);
    }

    /// The follower's side of all rounds.
    pub(super) fn follow(&self, seed: u64, mut act: impl FnMut(J) -> R) {
        let mut random = Random::new(seed);
        let mut round = 0;
        loop {
            wait(|| self.set.load(SeqCst) != round);
            round = self.set.load(SeqCst);
            if round == END {
                return;
            }
            let job = self.job.lock().expect("nobody panicked").take().expect("a job is set up");
            let late = random.below(SPREAD);
            self.taken.store(round, SeqCst);
            wait(|| self.started.load(SeqCst) == round);
            (0..late).for_each(|_| spin_loop());
            let result = act(job);
            *self.result.lock().expect("nobody panicked") = Some(result);
            self.finished.store(round, SeqCst);
        }
    }
}

/// Waits without letting go of the processor, unless it takes longer than a round does: then somebody else has
/// to run first.
fn wait(until: impl Fn() -> bool) {
    let mut turns = 0_u32;
    while !until() {
        turns += 1;
        if turns.is_multiple_of(20_000) {
            std::thread::yield_now();
        }
        spin_loop();
    }
}
