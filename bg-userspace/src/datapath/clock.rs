//! `CLOCK_MONOTONIC`, the clock that the kernel program stamps with.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment near boot.
pub fn monotonic() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Milliseconds since 1970, for people and for what must survive a reboot.
pub fn wall() -> u64 {
    realtime() / 1_000_000
}

/// A moment of [`monotonic`] as one of [`wall`]; 0, which is never, stays 0.
pub fn to_wall(moment: u64) -> u64 {
    let (now, here) = (wall(), monotonic());
    match moment {
        0 => 0,
        past if past <= here => now.saturating_sub((here - past) / 1_000_000),
        coming => now.saturating_add((coming - here) / 1_000_000),
    }
}

/// A moment of [`wall`] as one of [`monotonic`]; 0 stays 0. What lies before this boot is 1, long over.
pub fn to_monotonic(moment: u64) -> u64 {
    let (now, here) = (wall(), monotonic());
    match moment {
        0 => 0,
        past if past <= now => here.saturating_sub((now - past).saturating_mul(1_000_000)).max(1),
        coming => here.saturating_add((coming - now).saturating_mul(1_000_000)),
    }
}

/// Nanoseconds since 1970.
pub(super) fn realtime() -> u64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_change_of_clocks() {
        let here = monotonic();
        for moment in [here.saturating_sub(1_000_000_000), here, here + 3_600_000_000_000] {
            assert!(to_monotonic(to_wall(moment)).abs_diff(moment) < 100_000_000);
        }
        assert_eq!((to_wall(0), to_monotonic(0)), (0, 0));
        assert_eq!(to_monotonic(1), 1);
    }
}
