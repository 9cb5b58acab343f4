//! The whole benchmark, from an empty namespace to the report.

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cases::{CASES, Case, Load};
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
    let bench = Bench { options, size, namespace: &namespace, rows: Vec::new(), growth: Vec::new() };
    let Bench { rows, growth, .. } = namespace.inside(|| bench.measure(&cases))??;
    Ok(Report { machine, rounds: options.rounds, size, rows, growth })
}

/// A benchmark under way.
struct Bench<'b> {
    options: &'b Options,
    size: Size,
    namespace: &'b Namespace,
    rows: Vec<Row>,
    growth: Vec<Row>,
}

impl Bench<'_> {
    fn measure(mut self, cases: &[&Case]) -> Result<Self> {
        stay_on_one_processor()?;
        eprintln!("{HEADER}");
        for version in [Version::V4, Version::V6] {
            let cases: Vec<_> = cases.iter().filter(|case| case.version == version).collect();
            if cases.is_empty() {
                continue;
            }
            let mut ground = Ground::new(version, self.size, self.namespace)?;
            let mut front = Front::load(ground.interface)?;
            for case in cases {
                let mut flows: Vec<_> =
                    case.flows.iter().map(|&flows| flows.min(self.options.flows)).collect();
                flows.dedup();
                for &flows in &flows {
                    let row = self.row(&mut ground, &mut front, case, Load { flows, services: 1 })?;
                    self.rows.push(row);
                }
                let most = flows.last().copied().unwrap_or(1);
                for services in case.grows.iter().copied().filter(|&many| many <= self.size.services) {
                    let row = self.row(&mut ground, &mut front, case, Load { flows: most, services })?;
                    self.growth.push(row);
                }
            }
        }
        Ok(self)
    }

    fn row(&self, ground: &mut Ground, front: &mut Front, case: &Case, load: Load) -> Result<Row> {
        let effort = Effort { rounds: self.options.rounds, packets: self.options.packets };
        let row = measure(ground, front, case, load, effort)
            .with_context(|| format!("measure {} with {} flows", case.name, load.flows))?;
        eprintln!("{}", row.line());
        Ok(row)
    }
}

/// The caches of this thread are those of one processor, the last one: the first has the interrupts.
fn stay_on_one_processor() -> Result<()> {
    let allowed = sched_getaffinity(None).context("ask for the processors")?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no processor")?;
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).context("stay on a processor")
}
