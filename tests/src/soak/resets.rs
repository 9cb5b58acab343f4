//! Every RST in the capture is held against what clients, killed servers and strangers did. What is left
//! is a RST that nobody asked for.

use super::record::{End, Record};
use super::stranger::Forged;
use crate::lab::pcap::{ACK, Segment};
use crate::lab::topology::is_client;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// How long a forged packet may have consequences: retransmitted answers to it among them.
const CONSEQUENCES_NS: u64 = 15_000_000_000;
/// Clocks of the capture and of the clients are one, but are read at different times.
const SLACK_NS: u64 = 2_000_000;

type Tuple = (SocketAddr, SocketAddr);

/// What is known of every client's tuple.
pub(super) struct Explanations<'a> {
    connections: HashMap<Tuple, Vec<(&'a Record, bool)>>,
    forged: HashMap<Tuple, Vec<&'a Forged>>,
    numbers: HashSet<(Tuple, u32)>,
    loss: bool,
}

impl<'a> Explanations<'a> {
    /// `records` come with whether they were lost with their backend.
    pub(super) fn new(
        records: impl Iterator<Item = (&'a Record, bool)>,
        forged: &'a [Forged],
        loss: bool,
    ) -> Self {
        let mut all =
            Self { connections: HashMap::new(), forged: HashMap::new(), numbers: HashSet::new(), loss };
        for (record, lost) in records {
            all.connections.entry((record.client, record.vip)).or_default().push((record, lost));
        }
        for connections in all.connections.values_mut() {
            connections.sort_by_key(|(record, _)| record.began_ns);
        }
        for one in forged {
            let tuple = (one.client.into(), one.vip.into());
            all.forged.entry(tuple).or_default().push(one);
            all.numbers.extend([
                // A client without that connection answers the answer.
                (tuple, one.sequence.wrapping_add(1)),
                // A server without that connection answers with the number that it was told.
                (tuple, one.acknowledgement),
            ]);
        }
        all
    }

    /// Whether somebody asked for this RST.
    pub(super) fn explain(&self, reset: &Segment) -> bool {
        let sent_by_client = is_client(reset.from.ip());
        let tuple = if sent_by_client { (reset.from, reset.to) } else { (reset.to, reset.from) };
        let number = if reset.flags & ACK == 0 { reset.sequence } else { reset.acknowledgement };
        if self.numbers.contains(&(tuple, number)) {
            return true;
        }
        let connections = self.connections.get(&tuple).map(Vec::as_slice).unwrap_or_default();
        let begun = connections.partition_point(|(one, _)| one.began_ns <= reset.at_ns + SLACK_NS);
        let mut latest = connections[..begun].iter().rev();
        let Some(&(record, lost)) = latest.next() else { return false };
        if lost || record.ended_rudely() && reset.at_ns + SLACK_NS >= rude_from(record) {
            return true;
        }
        let ended =
            record.end == End::Kept && record.cut_ns.is_some_and(|cut_ns| cut_ns <= reset.at_ns + SLACK_NS);
        if ended && self.was_forged(tuple, reset.at_ns) {
            // Nobody had this connection any more.
            return true;
        }
        if ended && self.loss {
            // An older server on this port, which has missed its end, still repeats itself; the client, whose
            // connection is over, answers for that, and is told so. It hurts nobody.
            return true;
        }
        if sent_by_client && record.opened_ns.is_none_or(|opened| reset.at_ns <= opened + SLACK_NS) {
            // A client that is just opening tells a server that it holds something older (RFC 9293, 3.5.1).
            return true;
        }
        latest.next().is_some_and(|&(before, lost)| {
            // The one before on this port may have ended just now.
            let just_now = record.began_ns + SLACK_NS >= reset.at_ns && before.ended_rudely();
            // Where packets get lost, a server may have missed its end, and be told about it when the
            // client uses the port again.
            just_now || self.loss && (lost || before.end != End::Kept || sent_by_client)
        })
    }

    /// For people: who sent it, to whom, and which connection that was.
    pub(super) fn describe(&self, reset: &Segment) -> String {
        let Segment { at_ns, from, to, sequence, acknowledgement, flags } = reset;
        let ends = [(*from, *to), (*to, *from)].map(|tuple| self.connections.get(&tuple));
        let connections = ends.into_iter().flatten().next().map(Vec::as_slice).unwrap_or_default();
        let begun = connections.partition_point(|(one, _)| one.began_ns <= at_ns + SLACK_NS);
        let record = connections[..begun].last().map_or_else(String::new, |(record, _)| record.describe());
        format!(
            "RST from {from} to {to}, seq {sequence} ack {acknowledgement} flags {flags:#04x}, at {at_ns}; {record}"
        )
    }

    fn was_forged(&self, tuple: Tuple, at_ns: u64) -> bool {
        let forged = self.forged.get(&tuple).map(Vec::as_slice).unwrap_or_default();
        forged.iter().any(|one| one.at_ns <= at_ns && at_ns - one.at_ns < CONSEQUENCES_NS)
    }
}

/// When a rude client's RSTs can begin.
fn rude_from(record: &Record) -> u64 {
    record.cut_ns.unwrap_or(record.began_ns)
}
