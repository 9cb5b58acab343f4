//! Whether replies come back this way. A backend that is sent SYNs and never answers one through this node,
//! though its checks say that it is well, answers by another way: its clients see replies from an address
//! that they did not ask, and reset them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bg_common::abi::{BackendCounter, BackendId};

/// SYNs without any answer that are too many for chance.
const SYNS: u64 = 20;

/// What is known of the return paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: HashMap<BackendId, Path>,
}

#[derive(Debug)]
struct Path {
    /// The counters when the backend last proved its path, or was first seen.
    proved: BackendCounter,
    /// Since when there have been too many SYNs without an answer.
    silent_since: Option<Instant>,
    bypasses: bool,
}

impl Paths {
    /// Takes a look at a backend: what was counted, whether its checks say that it is well, and how long they
    /// take to notice when it is not. Returns whether its state is another now.
    pub(super) fn look(
        &mut self,
        backend: BackendId,
        counted: BackendCounter,
        healthy: bool,
        notice: Duration,
        now: Instant,
    ) -> bool {
        let path = self.known.entry(backend).or_insert(Path {
            proved: counted,
            silent_since: None,
            bypasses: false,
        });
        if counted.syn_acks > path.proved.syn_acks {
            path.proved = counted;
            path.silent_since = None;
            return std::mem::take(&mut path.bypasses);
        }
        if !healthy {
            // It says nothing at all; that is for the health checks to tell.
            path.proved.syns = counted.syns;
            path.silent_since = None;
            return false;
        }
        if counted.syns.saturating_sub(path.proved.syns) <= SYNS || path.bypasses {
            return false;
        }
        let since = *path.silent_since.get_or_insert(now);
        path.bypasses = now.duration_since(since) > notice;
        path.bypasses
    }

    /// Whether its replies do not pass this node.
    pub(super) fn bypasses(&self, backend: BackendId) -> bool {
        self.known.get(&backend).is_some_and(|path| path.bypasses)
    }

    /// Forgets a backend that is gone.
    pub(super) fn forget(&mut self, backend: BackendId) {
        self.known.remove(&backend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: Duration = Duration::from_secs(4);

    struct Watch(Paths, Instant);

    impl Watch {
        fn look(&mut self, seconds: u64, syns: u64, syn_acks: u64, healthy: bool) -> bool {
            let now = self.1 + Duration::from_secs(seconds);
            self.0.look(1, BackendCounter { syns, syn_acks }, healthy, NOTICE, now)
        }
    }

    fn watch() -> Watch {
        let mut watch = Watch(Paths::default(), Instant::now());
        watch.look(0, 1000, 0, true);
        watch
    }

    #[test]
    fn silence_after_more_than_twenty_syns_is_another_path() {
        let mut watch = watch();
        assert!(!watch.look(9, 1020, 0, true));
        assert!(!watch.look(10, 1021, 0, true), "its checks may be about to fail");
        assert!(watch.look(15, 1022, 0, true) && watch.0.bypasses(1));
        assert!(!watch.look(16, 1030, 0, true) && watch.0.bypasses(1), "told once");
        assert!(watch.look(17, 1031, 1, true) && !watch.0.bypasses(1), "one answer proves the path");
    }

    #[test]
    fn a_backend_that_answers_some_is_on_the_path() {
        let mut watch = watch();
        for round in 1..100 {
            assert!(!watch.look(10 * round, 1000 + round * 20, round, true));
        }
    }

    #[test]
    fn one_that_fails_its_checks_is_not_accused() {
        let mut watch = watch();
        assert!(!watch.look(1, 1500, 0, true));
        assert!(!watch.look(3, 1600, 0, false));
        assert!(!watch.look(100, 1610, 0, true) && !watch.0.bypasses(1));
    }
}
