//! Holds every connection against where the kernel could have sent it, and counts what went wrong.

use super::options::{IDLE_TIMEOUT, Options};
use super::outages::{Outage, lost, stood};
use super::ports::Ports;
use super::record::{End, Manner, Record};
use super::resets::Explanations;
use super::stranger::Forged;
use super::timeline::{Moment, Timeline, environment_of};
use super::told::around;
use crate::lab::capture::Captured;
use crate::lab::pcap::{ACK, Segment};
use crate::lab::witness::Resets;
use serde::Serialize;

/// Pins that a flood has made are swept every five seconds, once they are over.
const SWEEP_NS: u64 = 6_000_000_000;
/// Complaints that are printed.
const SHOWN: usize = 20;

/// All that was seen of a run.
pub(super) struct Evidence<'a> {
    pub(super) options: &'a Options,
    pub(super) records: &'a [Record],
    pub(super) timeline: &'a Timeline,
    pub(super) outages: &'a [Outage],
    pub(super) floods: &'a [(u64, u64)],
    pub(super) forged: &'a [Forged],
    pub(super) captured: &'a Captured,
    /// From and to, nanoseconds since 1970.
    pub(super) span: (u64, u64),
    /// Growth at the client, at all backends together, and at the node.
    pub(super) resets: [Resets; 3],
}

/// What came of the connections.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Whose handshake was complete.
    pub(super) opened: u64,
    pub(super) kept: u64,
    pub(super) aborted: u64,
    pub(super) abandoned: u64,
    pub(super) silent_in_a_drain: u64,
    /// On ports that were used before.
    pub(super) ports_used_again: u64,
    /// With a backend that was killed.
    pub(super) lost_with_backends: u64,
    /// SYNs that led to nothing until the client gave up.
    pub(super) unopened: u64,
    /// SYNs that led to no connection, because their port was held for an older one that never came about, or
    /// because the server whose turn it was stood still.
    pub(super) waited: u64,
    pub(super) broken: u64,
    pub(super) moved: u64,
    pub(super) misrouted: u64,
    /// While the control word changed too fast to be followed; not judged.
    pub(super) unwatched: u64,
    pub(super) opened_after_flip: u64,
    pub(super) reached_current: u64,
    /// The same in a flood and until its half pins are gone.
    pub(super) opened_in_flood: u64,
    pub(super) reached_in_flood: u64,
    /// Blocks that were answered rightly.
    pub(super) blocks: u64,
    pub(super) captured_rst: u64,
    /// RSTs that clients, killed servers or strangers brought about.
    pub(super) expected_rst: u64,
    pub(super) tcp_estab_resets: u64,
    /// All that the kernels counted.
    pub(super) expected_estab_resets: u64,
}

impl Evidence<'_> {
    /// The counts, and sentences on what went wrong.
    pub(super) fn judge(&self) -> (Counts, Vec<String>) {
        let mut counts = Counts::default();
        let mut complaints = Vec::new();
        let lost: Vec<bool> =
            self.records.iter().map(|record| lost(self.outages, record, self.timeline)).collect();
        let pairs = self.records.iter().zip(lost.iter().copied());
        let ports = Ports::new(pairs.clone());
        for (record, lost) in pairs.clone() {
            if let Some(complaint) = self.count(record, lost, &ports, &mut counts) {
                complaints.push(complaint);
            }
        }
        complaints.truncate(SHOWN);
        let explanations = Explanations::new(pairs, self.forged, self.options.loss > 0);
        for reset in self.captured.resets(self.span.0, self.span.1) {
            if explanations.explain(reset) || self.was_refused(reset) {
                counts.expected_rst += 1;
            } else {
                counts.captured_rst += 1;
                if counts.captured_rst <= SHOWN as u64 {
                    complaints.push(explanations.describe(reset));
                }
            }
        }
        let asked_for = counts.aborted + counts.abandoned + counts.lost_with_backends;
        let [client, servers, node] = self.resets;
        // Whatever RSTs the node's own kernel sends end health checks: of an agent that was killed, or of
        // a server that answered too late.
        let seen = [(client.estab_resets, asked_for), (servers.estab_resets, asked_for + node.out_rsts)];
        counts.tcp_estab_resets = seen.iter().map(|(seen, most)| seen.saturating_sub(*most)).sum();
        counts.expected_estab_resets = client.estab_resets + servers.estab_resets - counts.tcp_estab_resets;
        (counts, complaints)
    }

    /// Counts one connection; a sentence if it should not have gone so.
    fn count(&self, record: &Record, lost: bool, ports: &Ports, counts: &mut Counts) -> Option<String> {
        let held = (self.options.syn_lifetime() + IDLE_TIMEOUT).as_nanos() as u64 + SWEEP_NS;
        let waited = matches!(record.end, End::Unopened(_))
            && (ports.were_held(record, held) || stood(self.outages, record, self.timeline));
        counts.opened += u64::from(record.opened_ns.is_some());
        counts.blocks += record.blocks;
        counts.ports_used_again += u64::from(record.manner == Manner::Again);
        counts.silent_in_a_drain += u64::from(record.manner == Manner::Silent);
        let counter = match &record.end {
            End::Kept => &mut counts.kept,
            End::Aborted => &mut counts.aborted,
            End::Abandoned => &mut counts.abandoned,
            _ if lost => &mut counts.lost_with_backends,
            End::Moved(_) => &mut counts.moved,
            End::Broken(_) => &mut counts.broken,
            End::Unopened(_) if waited => &mut counts.waited,
            End::Unopened(_) => &mut counts.unopened,
        };
        *counter += 1;
        let forgiven = matches!(record.end, End::Unopened(_)) && (waited || !self.options.is_clean());
        let well = matches!(record.end, End::Kept | End::Aborted | End::Abandoned) || lost || forgiven;
        let astray = self.astray(record, counts);
        if well { astray } else { Some(record.describe() + &around(record, self.timeline, self.outages)) }
    }

    /// Whether a killed server refused a SYN: the client may never have heard of it, and gone on to another one.
    fn was_refused(&self, reset: &Segment) -> bool {
        if reset.flags & ACK == 0 || reset.sequence != 0 {
            return false;
        }
        let since = reset.at_ns.saturating_sub(self.options.syn_lifetime().as_nanos() as u64);
        let moments = self.timeline.during(since, reset.at_ns);
        let place = self.timeline.place(reset.to, reset.from);
        let hosts = place.and_then(|place| self.timeline.hosts(place, moments));
        let gone =
            |outage: &&Outage| !outage.stands && outage.from_ns <= reset.at_ns && reset.at_ns <= outage.to_ns;
        hosts.is_some_and(|hosts| {
            self.outages.iter().filter(gone).any(|one| hosts.contains(one.host.as_str()))
        })
    }

    /// Looks at where a connection ended up; a sentence if it should not have been there.
    fn astray(&self, record: &Record, counts: &mut Counts) -> Option<String> {
        let (host, opened_ns) = (record.host.as_ref()?, record.opened_ns?);
        let moments = self.timeline.during(record.began_ns, opened_ns);
        let place = self.timeline.place(record.client, record.vip)?;
        let Some(hosts) = self.timeline.hosts(place, moments) else {
            counts.unwatched += 1;
            return None;
        };
        self.arrived(record, host, moments, counts);
        if hosts.contains(host.as_str()) {
            return None;
        }
        counts.misrouted += 1;
        Some(format!("misrouted, neither base nor current led there but to {hosts:?}: {}", record.describe()))
    }

    /// Whether a connection that was opened after a flip reached the environment that it led to. One that
    /// was under way while something changed proves nothing, nor does one with a canary's mixed rings.
    fn arrived(&self, record: &Record, host: &str, moments: &[Moment], counts: &mut Counts) {
        let Some(to) = moments.first().and_then(|first| first.flipped_to) else { return };
        let same = |moment: &Moment| moment.flipped_to == Some(to) && moment.leads_to == Some(to);
        if !moments.iter().all(same) {
            return;
        }
        let reached = u64::from(environment_of(host) == to);
        if self.in_flood(record.began_ns) {
            counts.opened_in_flood += 1;
            counts.reached_in_flood += reached;
        } else {
            counts.opened_after_flip += 1;
            counts.reached_current += reached;
        }
    }

    /// From a flood's begin until two rotations after its end: then its half pins are gone, and its SYNs
    /// are forgotten.
    fn in_flood(&self, at_ns: u64) -> bool {
        let after = 2 * self.options.syn_lifetime().as_nanos() as u64 + SWEEP_NS;
        self.floods.iter().any(|(from, to)| *from <= at_ns && at_ns < to.saturating_add(after))
    }
}

impl Counts {
    /// The share of the connections opened after a flip that reached the environment that it led to.
    #[expect(clippy::cast_precision_loss, reason = "counts of connections, far below 2^52")]
    pub(super) fn share(self) -> f64 {
        if self.opened_after_flip == 0 {
            return 0.0;
        }
        self.reached_current as f64 / self.opened_after_flip as f64
    }
}
