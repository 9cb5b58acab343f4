//! What the demo found out: the numbers, the verdict on each promise, and the table for people.

use crate::streamer::tally::Fates;
use serde::Serialize;
use std::fmt::Write;

/// Connections that the old environment accepted although they were opened after a switch: at most
/// this share (the SYN memory errs towards the old environment, never away from it).
const OLD_AFTER_FLIP: f64 = 0.001;

/// The last line of `demo --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Requests and stream blocks that were answered.
    pub requests: u64,
    /// Requests and stream blocks that were not, or wrongly.
    pub failed: u64,
    /// Connections that broke or could not be opened.
    pub connections_broken: u64,
    /// Streams.
    pub long_lived: Fates,
    /// Flips, without the rollback.
    pub flips: u64,
    /// The longest of the stores that switched, nanoseconds.
    pub flip_store_ns: u64,
    /// Share of the connections opened after a switch that the environment which was left accepted.
    pub old_after_flip: f64,
    /// Failures that overlap the time in which the agent was down.
    pub agent_down_failed: u64,
    /// Growth of `TcpEstabResets` at the ends beyond the control run's.
    pub tcp_estab_resets: u64,
    /// Growth of `TcpOutRsts` at the ends beyond the control run's.
    pub tcp_out_rsts: u64,
    /// RST segments seen at the client beyond the control run's.
    pub captured_rst: u64,
    /// What stands behind those numbers.
    pub details: Details,
}

/// What stands behind the numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    /// Rollbacks.
    pub rollbacks: u64,
    /// The stores of all switches in their order, nanoseconds.
    pub stores_ns: Vec<u64>,
    /// Connections whose first SYN left the client after a switch.
    pub opened_after_flip: u64,
    /// Those of them that the environment which was left accepted.
    pub accepted_by_old: u64,
    /// Requests that wrk made.
    pub wrk_requests: u64,
    /// How long the load ran before it was told to stop, seconds.
    pub seconds: f64,
    /// Dated requests and stream blocks that were answered while the agent was down; wrk's, which
    /// has no dates, are many more.
    pub agent_down_answered: u64,
    /// How long the agent was down, seconds.
    pub agent_down_s: f64,
    /// From the last flip to the end of the drain, seconds.
    pub drain_s: f64,
    /// The same load without any switch.
    pub control: Control,
    /// The same counters in the switched run, before the control run's were taken off.
    pub switched: Control,
}

/// A run and its witnesses.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Control {
    /// How long, seconds.
    pub seconds: f64,
    /// Growth of `TcpEstabResets` at the ends.
    pub tcp_estab_resets: u64,
    /// Growth of `TcpOutRsts` at the ends.
    pub tcp_out_rsts: u64,
    /// RST segments seen at the client.
    pub captured_rst: u64,
}

impl Summary {
    /// The promises that were broken, a sentence each; empty when all were kept.
    pub fn broken_promises(&self) -> Vec<String> {
        let zeros = [
            (self.failed, "requests failed"),
            (self.connections_broken, "connections broke"),
            (self.long_lived.broken, "streams broke"),
            (self.long_lived.moved, "streams were answered by another server"),
            (self.agent_down_failed, "requests failed while the agent was down"),
            (self.tcp_estab_resets, "established connections were reset, beyond the control run"),
            (self.tcp_out_rsts, "RST segments were sent, beyond the control run"),
            (self.captured_rst, "RST segments were captured, beyond the control run"),
        ];
        let mut broken: Vec<String> = zeros
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let open =
            self.long_lived.opened - self.long_lived.kept - self.long_lived.moved - self.long_lived.broken;
        if open > 0 {
            broken.push(format!("{open} streams did not end"));
        }
        if self.old_after_flip > OLD_AFTER_FLIP {
            broken.push(format!(
                "{} of {} connections opened after a switch reached the environment that was left",
                self.details.accepted_by_old, self.details.opened_after_flip
            ));
        }
        let shown = [self.requests, self.details.opened_after_flip, self.details.agent_down_answered];
        if shown.contains(&0) {
            broken.push("there was no load, so nothing was shown".to_owned());
        }
        broken
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let details = &self.details;
        let fates = self.long_lived;
        let mut row = |kept: bool, name: &str, value: String| {
            let tick = if kept { "✓" } else { "✗" };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {tick} {name:<34} {value}");
        };
        row(self.requests > 0, "requests answered", self.requests.to_string());
        row(self.failed == 0, "requests failed", self.failed.to_string());
        row(self.connections_broken == 0, "connections broken", self.connections_broken.to_string());
        row(
            fates.moved + fates.broken == 0 && fates.kept == fates.opened,
            "streams, every byte verified",
            format!(
                "{} opened, {} kept, {} moved, {} broken",
                fates.opened, fates.kept, fates.moved, fates.broken
            ),
        );
        row(
            self.flips > 0,
            "switches, one 64-bit store each",
            format!(
                "{} flips, {} rollback; the longest store took {} ns",
                self.flips, details.rollbacks, self.flip_store_ns
            ),
        );
        row(
            self.old_after_flip <= OLD_AFTER_FLIP,
            "opened after a switch, sent to old",
            format!("{} of {}", details.accepted_by_old, details.opened_after_flip),
        );
        row(
            self.agent_down_failed == 0,
            "failed while bgd was down",
            format!("{} in {:.1} s", self.agent_down_failed, details.agent_down_s),
        );
        row(
            self.tcp_estab_resets + self.tcp_out_rsts == 0,
            "kernels' counters at both ends",
            format!(
                "{} connections reset, {} RSTs sent, beyond the control run's {} and {}",
                self.tcp_estab_resets,
                self.tcp_out_rsts,
                details.control.tcp_estab_resets,
                details.control.tcp_out_rsts
            ),
        );
        row(
            self.captured_rst == 0,
            "capture at the client",
            format!("{} RSTs, beyond the control run's {}", self.captured_rst, details.control.captured_rst),
        );
        row(true, "drained to the end in", format!("{:.1} s", details.drain_s));
        out
    }
}
