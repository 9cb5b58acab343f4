//! Which environment accepted the connections that were opened after a switch: the client's capture
//! says when, the servers' logs say where.

use crate::lab::Environment;
use crate::lab::capture::Captured;
use crate::lab::fleet::Accepted;

/// The time in which one switch was the latest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reign {
    /// When its store had returned, nanoseconds since 1970.
    pub(super) from_ns: u64,
    /// When the next switch was asked for, or the load was told to stop.
    pub(super) to_ns: u64,
    /// The environment that was left.
    pub(super) old: Environment,
}

/// Connections whose first SYN left after a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// How many were opened.
    pub(super) opened: u64,
    /// How many of them the old environment accepted.
    pub(super) accepted_by_old: u64,
}

impl Arrivals {
    pub(super) fn count(reigns: &[Reign], captured: &Captured, accepted: &[Accepted]) -> Self {
        let mut arrivals = Self::default();
        for reign in reigns {
            let span = reign.from_ns..reign.to_ns;
            arrivals.opened += captured.opened_between(span.start, span.end) as u64;
            let astray = accepted.iter().filter(|one| {
                let opening = captured.opening(one.client, one.at_ns);
                one.environment == reign.old && opening.is_some_and(|opening| span.contains(&opening.at_ns))
            });
            arrivals.accepted_by_old += astray.count() as u64;
        }
        arrivals
    }

    /// The share of those opened that the old environment accepted.
    #[expect(clippy::cast_precision_loss, reason = "counts of connections, far below 2^52")]
    pub(super) fn share(self) -> f64 {
        if self.opened == 0 {
            return 0.0;
        }
        self.accepted_by_old as f64 / self.opened as f64
    }
}
