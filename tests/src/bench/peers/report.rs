//! What a comparison found out: rows for programs, and two tables for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::contender::Contender;
use super::http::{Sample, Traffic};
use crate::bench::Machine;
use crate::bench::report::{median, round};

/// One contender under one kind of traffic: medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct HttpRow {
    /// Who.
    pub contender: Contender,
    /// How clients use connections.
    pub traffic: Traffic,
    /// Rounds.
    pub rounds: u32,
    /// Requests that were answered in a second.
    pub requests_per_s: f64,
    /// Connections that were opened in a second.
    pub connections_per_s: f64,
    /// 99 of 100 requests were answered within so many microseconds.
    pub p99_us: f64,
    /// Processor time of the whole machine for a request, client, servers and interrupts included: microseconds.
    pub cpu_us_per_request: f64,
    /// Requests without a right answer, of all rounds.
    pub failed: u64,
    /// `requests_per_s`, as a part of what routing does in the same round.
    pub ratio_to_routing: f64,
}

/// The switches of one contender in one way.
#[derive(Clone, Debug, Serialize)]
pub struct SwitchRow {
    /// Who.
    pub contender: Contender,
    /// By which command.
    pub how: &'static str,
    /// How often.
    pub switches: u32,
    /// Requests that were answered, before and after.
    pub requests: u64,
    /// Connections that broke, could not be opened, or answered wrongly, as clients saw it.
    pub broken_connections: u64,
    /// Connections that kernels at the ends reset, and RSTs that they sent.
    pub resets: u64,
    /// How long the command took, milliseconds; the median.
    pub took_ms: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct PeersReport {
    /// Where it was measured, and what.
    pub machine: Machine,
    /// The others' versions, as they say themselves.
    pub versions: Vec<String>,
    /// Seconds of each run.
    pub seconds: u32,
    /// Connections at a time.
    pub connections: u32,
    /// Requests.
    pub http: Vec<HttpRow>,
    /// Switches.
    pub switches: Vec<SwitchRow>,
}

impl HttpRow {
    /// From one sample of each round, and what routing did in the same rounds.
    pub(super) fn new(
        contender: Contender,
        traffic: Traffic,
        samples: &[Sample],
        routing: &[Sample],
    ) -> Self {
        let middle = |of: fn(&Sample) -> f64| round(median(samples.iter().map(of)));
        let ratios = samples.iter().zip(routing).map(|(one, base)| one.requests_per_s / base.requests_per_s);
        Self {
            contender,
            traffic,
            rounds: samples.len() as u32,
            requests_per_s: middle(|sample| sample.requests_per_s),
            connections_per_s: middle(|sample| sample.connections_per_s),
            p99_us: middle(|sample| sample.p99_us),
            cpu_us_per_request: middle(|sample| sample.cpu_us_per_request),
            failed: samples.iter().map(|sample| sample.failed).sum(),
            ratio_to_routing: round(median(ratios)),
        }
    }
}

impl SwitchRow {
    /// The same way, several times.
    pub(super) fn sum(rows: &[Self]) -> Option<Self> {
        let first = rows.first()?;
        Some(Self {
            switches: rows.len() as u32,
            requests: rows.iter().map(|row| row.requests).sum(),
            broken_connections: rows.iter().map(|row| row.broken_connections).sum(),
            resets: rows.iter().map(|row| row.resets).sum(),
            took_ms: round(median(rows.iter().map(|row| row.took_ms))),
            ..first.clone()
        })
    }
}

impl PeersReport {
    /// For people.
    ///
    /// # Panics
    /// Never: a string takes everything.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}\n", self.machine.text(), self.versions.join("; "));
        let rounds = self.http.first().map_or(0, |row| row.rounds);
        writeln!(
            text,
            "{rounds} rounds of {} s, {} connections at a time; medians\n\n\
             contender  traffic     requests/s  connect./s   p99 us  CPU us/req  failed  of routing",
            self.seconds, self.connections
        )
        .expect("a string takes everything");
        for row in &self.http {
            writeln!(
                text,
                "{:<10} {:<11} {:>10.0} {:>11.0} {:>8.0} {:>11.1} {:>7} {:>11.2}",
                row.contender.name(),
                row.traffic.name(),
                row.requests_per_s,
                row.connections_per_s,
                row.p99_us,
                row.cpu_us_per_request,
                row.failed,
                row.ratio_to_routing
            )
            .expect("a string takes everything");
        }
        text.push_str("\ncontender  switch by     switches  requests  broken connections  resets  took ms\n");
        for row in &self.switches {
            writeln!(
                text,
                "{:<10} {:<12} {:>9} {:>9} {:>19} {:>7} {:>8.1}",
                row.contender.name(),
                row.how,
                row.switches,
                row.requests,
                row.broken_connections,
                row.resets,
                row.took_ms
            )
            .expect("a string takes everything");
        }
        text.push_str("routing    has no switch: its clients know the backend's address\n");
        text
    }
}
