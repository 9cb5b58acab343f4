//! The one clock on which captures, server logs and the agent's answers are compared.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// `CLOCK_REALTIME` in nanoseconds since 1970: the clock of capture timestamps and of `stored_at_ns`.
pub fn realtime_ns() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Asks again and again until `condition` holds or `patience` ends; says whether it held. For
/// waiting on the world in tests: patience is generous, because time is noisy and no verdict
/// hangs on it.
pub fn eventually(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
