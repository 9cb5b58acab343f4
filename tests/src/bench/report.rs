//! What a benchmark found out: rows for programs, and a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::cases::{Case, Load};
use super::control::Control;
use super::ground::Size;
use super::machine::Machine;
use super::memory::Memory;

/// A case with a number of flows.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The case.
    pub case: &'static str,
    /// Flows that its packets were spread over.
    pub flows: u32,
    /// Services that they went to, or came from the backends of.
    pub services: u16,
    /// Packets of one round.
    pub packets: u32,
    /// One packet, front included: nanoseconds, median of the rounds.
    pub ns_median: f64,
    /// The same, least of the rounds.
    pub ns_min: f64,
    /// The floor: the same front before a program that only returns `XDP_TX`; median.
    pub floor_ns_median: f64,
    /// That program without the front; median.
    pub bare_ns_median: f64,
    /// `ns / floor_ns` of each round; median.
    pub ratio_to_floor: f64,
    /// `(ns - front) / bare_ns` of each round, where the front is `floor_ns - bare_ns`; median.
    pub ratio_without_front: f64,
    /// What is kept for one flow afterwards, bytes.
    pub bytes_per_flow: f64,
    /// What `ratio_to_floor` is to be at most.
    pub budget: Option<f64>,
    /// Whether it is.
    pub met: Option<bool>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured, and what.
    pub machine: Machine,
    /// Measured rounds of every row.
    pub rounds: u32,
    /// How large the node was.
    pub size: Size,
    /// The cases.
    pub rows: Vec<Row>,
    /// Steady packets to more and more services.
    pub growth: Vec<Row>,
    /// What its maps take.
    pub memory: Option<Memory>,
    /// What a switch costs.
    pub control: Option<Control>,
}

impl Row {
    pub(super) fn new(
        case: &Case,
        load: Load,
        packets: u32,
        state: f64,
        [ns, floor, bare]: [&[f64]; 3],
    ) -> Self {
        let rounds = || ns.iter().zip(floor).zip(bare).map(|((ns, floor), bare)| (ns, floor, bare));
        let ratio = median(rounds().map(|(ns, floor, _)| ns / floor));
        let harder = median(rounds().map(|(ns, floor, bare)| (ns - (floor - bare)) / bare));
        let Load { flows, services } = load;
        let budget = case.budget(load);
        Self {
            case: case.name,
            flows,
            services,
            packets,
            ns_median: round(median(ns.iter().copied())),
            ns_min: round(ns.iter().copied().fold(f64::INFINITY, f64::min)),
            floor_ns_median: round(median(floor.iter().copied())),
            bare_ns_median: round(median(bare.iter().copied())),
            ratio_to_floor: round(ratio),
            ratio_without_front: round(harder),
            bytes_per_flow: round(state),
            budget,
            met: budget.map(|budget| round(ratio) <= budget),
        }
    }

    /// As a line of the table.
    pub(super) fn line(&self) -> String {
        let budget = self.budget.map_or(String::new(), |budget| format!("{budget:.1}"));
        let met = match self.met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        format!(
            "{:<18} {:>9} {:>5} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>7.2} {:>7.2} {budget:>7} {met}",
            self.case,
            self.flows,
            self.services,
            self.ns_median,
            self.ns_min,
            self.floor_ns_median,
            self.bare_ns_median,
            self.ratio_to_floor,
            self.ratio_without_front,
        )
    }
}

/// What the columns of [`Row::line`] are.
pub(super) const HEADER: &str = "\
case                   flows  svcs    ns     least    floor     bare   ratio  bare r.  budget";

impl Report {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.machine.text());
        let Size { services, backends, .. } = self.size;
        writeln!(text, "{services} services, {backends} backends, {} rounds\n\n{HEADER}", self.rounds)
            .expect("a string takes everything");
        for row in self.rows.iter().chain(&self.growth) {
            text.push_str(&row.line());
            text.push('\n');
        }
        if let Some(memory) = &self.memory {
            writeln!(text, "\n{}", memory.text()).expect("a string takes everything");
        }
        if let Some(control) = &self.control {
            writeln!(text, "\n{}", control.text()).expect("a string takes everything");
        }
        text
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// To two digits.
pub(super) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median([9.0, 1.0, 3.0].into_iter()) - 3.0).abs() < 1e-9);
        assert!((median([9.0, 1.0, 3.0, 4.0].into_iter()) - 3.5).abs() < 1e-9);
    }
}
