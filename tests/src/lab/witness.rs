//! Witnesses that are not ours: what the kernels at the ends of the connections counted.

use super::namespace::Namespace;
use super::topology::Topology;
use anyhow::{Context, Result};
use std::ops::{AddAssign, Sub};

/// Counters of /proc/net/snmp that grow when a connection is broken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resets {
    /// `TcpEstabResets`: established connections that went straight to closed.
    pub estab_resets: u64,
    /// `TcpOutRsts`: segments sent with the RST flag.
    pub out_rsts: u64,
    /// RSTs by which the node's kernel ended probes of the agent, one that was killed perhaps: each may have
    /// ended a connection at a backend.
    pub of_probes: u64,
}

impl AddAssign for Resets {
    fn add_assign(&mut self, other: Self) {
        self.estab_resets += other.estab_resets;
        self.out_rsts += other.out_rsts;
        self.of_probes += other.of_probes;
    }
}

impl Sub for Resets {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        let of_probes = self.of_probes.saturating_sub(earlier.of_probes);
        let estab_resets = self.estab_resets.saturating_sub(earlier.estab_resets);
        Self {
            estab_resets: estab_resets.saturating_sub(of_probes),
            out_rsts: self.out_rsts.saturating_sub(earlier.out_rsts),
            of_probes: 0,
        }
    }
}

impl Resets {
    /// The sum over the client and all backends. The node's own connections are the agent's health checks: what
    /// they reset is taken off the difference of two such sums.
    pub fn at_the_ends(topology: &Topology) -> Result<Self> {
        let of_probes = Self::of(&topology.node)?.out_rsts;
        let mut sum = Self { of_probes, ..Self::default() };
        for namespace in topology.ends() {
            sum += Self::of(namespace)?;
        }
        Ok(sum)
    }

    /// What one namespace counted.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        // The namespace of /proc/net is that of the process; this thread is elsewhere.
        let text = namespace
            .inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))?
            .with_context(|| format!("read the counters of {}", namespace.name()))?;
        Self::parse(&text).context("read TcpEstabResets and TcpOutRsts")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let names = lines.next()?.split_whitespace();
        let values = lines.next()?.split_whitespace();
        let find = |wanted: &str| {
            let mut pairs = names.clone().zip(values.clone());
            pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
        };
        Some(Self { estab_resets: find("EstabResets")?, out_rsts: find("OutRsts")?, of_probes: 0 })
    }
}

/// Growth beyond what a control run of the same load would have shown in the same time, rounded up:
/// a fraction of an event still counts as one.
pub fn excess(growth: u64, seconds: f64, control_growth: u64, control_seconds: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of events, far below 2^52")]
    let expected = control_growth as f64 * seconds / control_seconds.max(f64::EPSILON);
    #[expect(clippy::cast_precision_loss, reason = "counts of events, far below 2^52")]
    let beyond = (growth as f64 - expected).max(0.0).ceil();
    #[expect(clippy::cast_sign_loss, reason = "not negative: one line above")]
    let beyond = beyond as u64;
    beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: RtoMin EstabResets OutRsts\nTcp: 200 7 9\n";
        let expected = Resets { estab_resets: 7, out_rsts: 9, of_probes: 0 };
        assert_eq!(Resets::parse(text), Some(expected));
    }

    #[test]
    fn what_ended_probes_is_no_reset_of_a_connection() {
        let resets = |estab_resets, of_probes| Resets { estab_resets, of_probes, ..Resets::default() };
        assert_eq!(resets(5, 12) - resets(2, 10), resets(1, 0));
        assert_eq!(resets(5, 12) - resets(4, 10), resets(0, 0));
    }

    #[test]
    fn what_the_control_run_shows_too_is_no_excess() {
        assert_eq!(excess(10, 20.0, 5, 10.0), 0);
        assert_eq!(excess(11, 20.0, 5, 10.0), 1);
        assert_eq!(excess(1, 30.0, 0, 10.0), 1);
        assert_eq!(excess(0, 30.0, 4, 10.0), 0);
    }
}
