//! The whole benchmark, from an empty namespace to the report.

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cases::{CASES, Case};
use super::front::Front;
use super::ground::{Ground, Size};
use super::machine::Machine;
use super::place::{self, Version};
use super::report::{HEADER, Report, Row};
use super::rounds::{Effort, measure};
use crate::lab::namespace::Namespace;

/// What to measure, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Measured rounds of every case.
    pub rounds: u32,
    /// Packets of a round, at least.
    pub packets: u32,
    /// The most flows; a case that wants more is measured with so many.
    pub flows: u32,
    /// Services.
    pub services: u16,
    /// Backends, over all services.
    pub backends: u16,
    /// Only cases whose name contains this.
    pub filter: Option<String>,
}

/// Measures, and says on standard error what has been measured.
pub fn run(options: &Options) -> Result<Report> {
    let machine = Machine::look()?;
    let chosen = |case: &&Case| options.filter.as_ref().is_none_or(|part| case.name.contains(part));
    let cases: Vec<_> = CASES.iter().filter(chosen).collect();
    ensure!(!cases.is_empty(), "no case has such a name");
    ensure!(options.rounds > 0 && options.packets > 0, "nothing to measure");
    ensure!(options.flows.is_power_of_two(), "the number of flows has to be a power of two");
    ensure!(
        options.services > 0 && options.backends / options.services >= 2,
        "every service needs two backends, one of each environment"
    );
    let size = Size { services: options.services, backends: options.backends, flows: options.flows };
    let namespace = Namespace::create("bench")?;
    place::build(&namespace)?;
    let rows = namespace.inside(|| rows(&cases, options, size, &namespace))??;
    Ok(Report { machine, rounds: options.rounds, size, rows })
}

fn rows(cases: &[&Case], options: &Options, size: Size, namespace: &Namespace) -> Result<Vec<Row>> {
    stay_on_one_processor()?;
    let effort = Effort { rounds: options.rounds, packets: options.packets };
    let mut rows = Vec::new();
    eprintln!("{HEADER}");
    for version in [Version::V4, Version::V6] {
        let cases: Vec<_> = cases.iter().filter(|case| case.version == version).collect();
        if cases.is_empty() {
            continue;
        }
        let mut ground = Ground::new(version, size, namespace)?;
        let mut front = Front::load(ground.interface)?;
        for case in cases {
            let mut flows: Vec<_> = case.flows.iter().map(|&flows| flows.min(options.flows)).collect();
            flows.dedup();
            for flows in flows {
                let row = measure(&mut ground, &mut front, case, flows, effort)
                    .with_context(|| format!("measure {} with {flows} flows", case.name))?;
                eprintln!("{}", row.line());
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// The caches of this thread are those of one processor, the last one: the first has the interrupts.
fn stay_on_one_processor() -> Result<()> {
    let allowed = sched_getaffinity(None).context("ask for the processors")?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no processor")?;
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).context("stay on a processor")
}
