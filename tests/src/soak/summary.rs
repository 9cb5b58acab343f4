//! What a soak found out: the numbers, the verdict on each promise, and the table for people.

use super::conductor;
use super::judge;
use super::options::Options;
use crate::lab::topology::has_ipv6;
use bg_common::control::Phase;
use serde::Serialize;
use std::fmt::Write;

/// The share of connections opened after a flip that must reach the new environment.
const REACHED: f64 = 0.999;
/// The same after a flood: its SYNs may have filled the memory.
const REACHED_AFTER_FLOOD: f64 = 0.99;
/// The share of silent connections opened in a drain is a third, less those that waited for one in vain.
const SILENT: f64 = 0.28;
/// The share of connections over IPv6 is a half, where the kernel has it.
const OVER_IPV6: f64 = 0.4;

/// How often each phase was entered.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Phases {
    pub(super) steady: u64,
    pub(super) drain: u64,
    pub(super) seal: u64,
    /// base := current
    pub(super) concluded: u64,
}

impl Phases {
    pub(super) fn count(&mut self, phase: Phase) {
        match phase {
            Phase::Off => {}
            Phase::Steady => self.steady += 1,
            Phase::Drain => self.drain += 1,
            Phase::Seal => self.seal += 1,
        }
    }
}

/// The last line of `soak --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Connections that clients began.
    pub(super) connections: u64,
    /// Of those, over IPv6.
    pub(super) connections_ipv6: u64,
    /// Connections that ended otherwise than their client or the death of their backend would have it.
    pub(super) broken: u64,
    /// Connections that were answered by another server than at first.
    pub(super) moved: u64,
    /// Connections that reached a backend which neither base nor current named for them.
    pub(super) misrouted: u64,
    /// Share of the connections opened after a flip that reached the new environment.
    pub(super) reached_current: f64,
    /// Bare RSTs that were swallowed to try the other environment. There is no such thing yet.
    pub(super) second_chances: u64,
    pub(super) flips: u64,
    pub(super) duration_s: f64,
    /// Where every choice came from.
    pub seed: u64,
    /// Growth of `TcpEstabResets` at the ends beyond what clients and killed servers asked for.
    pub(super) tcp_estab_resets: u64,
    /// RST segments captured at the client that nobody asked for.
    pub(super) captured_rst: u64,
    pub(super) rollbacks: u64,
    pub(super) phases: Phases,
    /// Words that the kernel went by, one after the other.
    pub(super) words: u64,
    /// What happened to agent and backends.
    pub(super) acts: conductor::Counts,
    /// What stands behind the numbers above.
    pub(super) details: judge::Counts,
    /// SYNs that were sent by nobody's client.
    pub(super) strange_syns: u64,
    /// Packets that were forged.
    pub(super) forged: u64,
    /// Without room for pins: why no new connection reaches the new environment, as `status` says it.
    pub(super) why: Option<String>,
    /// What was asked for.
    pub(super) options: Options,
}

impl Summary {
    /// The promises that were broken, a sentence each; empty when all were kept.
    pub fn broken_promises(&self) -> Vec<String> {
        let zeros = [
            (self.broken, "connections broke"),
            (self.moved, "connections were answered by another server"),
            (self.misrouted, "connections reached a backend that no ring named for them"),
            (self.second_chances, "second chances hid what happened"),
            (self.captured_rst, "RST segments were captured that nobody asked for"),
            (self.tcp_estab_resets, "established connections were reset that nobody gave up"),
            (if self.options.is_clean() { self.details.unopened } else { 0 }, "SYNs led to no connection"),
        ];
        let found = zeros.iter().filter(|(count, _)| *count > 0);
        let mut broken: Vec<String> = found.map(|(count, what)| format!("{count} {what}")).collect();
        broken.extend(self.reached());
        broken.extend(self.load());
        broken
    }

    fn reached(&self) -> Option<String> {
        let counts = &self.details;
        let share = self.reached_current;
        if self.options.pins == Some(0) {
            return match &self.why {
                _ if share > 0.0 => Some(format!("{share:.4} of new connections were moved without a pin")),
                None => Some("without room for pins, `status` did not say why nothing moves".to_owned()),
                Some(_) => None,
            };
        }
        let least = if self.options.flood { REACHED_AFTER_FLOOD } else { REACHED };
        (share < least).then(|| {
            format!(
                "{} of {} connections opened after a flip reached the new environment, {:.2} % instead of {:.1} %",
                counts.reached_current,
                counts.opened_after_flip,
                share * 100.0,
                least * 100.0
            )
        })
    }

    /// What was asked for was really done.
    fn load(&self) -> Option<String> {
        #[expect(clippy::cast_precision_loss, reason = "counts of connections, far below 2^52")]
        let share = |count: u64| count as f64 / self.connections.max(1) as f64;
        let (silent, over_ipv6) = (share(self.details.silent_in_a_drain), share(self.connections_ipv6));
        if self.connections < self.options.connections || self.flips < self.options.flips {
            Some(format!("only {} connections and {} flips came about", self.connections, self.flips))
        } else if silent < SILENT {
            Some(format!("only {:.0} % of the connections were silent ones in a drain", silent * 100.0))
        } else if over_ipv6 < OVER_IPV6 && has_ipv6() {
            Some(format!("only {:.0} % of the connections were over IPv6", over_ipv6 * 100.0))
        } else if self.details.opened_after_flip == 0 {
            Some("no connection was opened after a flip, so nothing was shown".to_owned())
        } else {
            None
        }
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let (acts, counts) = (&self.acts, &self.details);
        let mut row = |kept: Option<bool>, name: &str, value: String| {
            let tick = match kept {
                Some(true) => "✓",
                Some(false) => "✗",
                None => " ",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {tick} {name:<38} {value}");
        };
        row(
            Some(self.broken + self.moved == 0),
            "connections, every byte verified",
            format!("{} begun, {} broken, {} moved", self.connections, self.broken, self.moved),
        );
        row(None, "of those, over IPv6", self.connections_ipv6.to_string());
        row(Some(self.misrouted == 0), "misrouted", self.misrouted.to_string());
        row(
            Some(self.reached().is_none()),
            "opened after a flip, reached the new one",
            format!("{} of {}", counts.reached_current, counts.opened_after_flip),
        );
        row(
            Some(self.captured_rst == 0),
            "RSTs that nobody asked for",
            format!("{}, beside {} that somebody did", self.captured_rst, counts.expected_rst),
        );
        row(
            Some(self.tcp_estab_resets == 0),
            "kernels' counters of resets at both ends",
            format!("{}, beside {} expected", self.tcp_estab_resets, counts.expected_estab_resets),
        );
        row(
            None,
            "switches",
            format!("{} flips, {} rollbacks, {} canary steps", self.flips, self.rollbacks, acts.canary_steps),
        );
        row(
            None,
            "the agent",
            format!("killed {} times, stopped {} times", acts.agent_kills, acts.agent_stops),
        );
        row(
            None,
            "backends",
            format!(
                "{} times ill, {} frozen, {} killed, {} connections with them",
                acts.backends_ill, acts.backends_frozen, acts.backends_lost, counts.lost_with_backends
            ),
        );
        let Phases { steady, drain, seal, concluded } = self.phases;
        row(
            None,
            "phases entered",
            format!("{steady} steady, {drain} drain, {seal} seal; base moved {concluded} times"),
        );
        if let Some(why) = &self.why {
            row(None, "status says", why.clone());
        }
        row(None, "seed, duration", format!("{}, {:.0} s", self.seed, self.duration_s));
        out
    }
}
