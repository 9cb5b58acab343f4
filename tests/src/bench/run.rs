//! The whole benchmark, from an empty namespace to the report.

use anyhow::{Context, Result, ensure};

use super::cases::{CASES, Case, Load};
use super::control::{self, Control};
use super::front::Front;
use super::ground::{Ground, Size};
use super::machine::Machine;
use super::memory::Memory;
use super::place;
use super::processor;
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
    /// Flips under packets.
    pub flips: u32,
    /// Only cases whose name contains this; what a switch costs is called `switch`.
    pub filter: Option<String>,
}

/// The name of what is measured beside the cases.
const SWITCH: &str = "switch";

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|part| name.contains(part))
    }
}

/// Measures, and says on standard error what has been measured.
pub fn run(options: &Options) -> Result<Report> {
    let machine = Machine::look()?;
    let cases: Vec<_> = CASES.iter().filter(|case| options.wants(case.name)).collect();
    ensure!(!cases.is_empty() || options.wants(SWITCH), "no case has such a name");
    ensure!(options.rounds > 0 && options.packets > 0 && options.flips > 0, "nothing to measure");
    ensure!(options.flows.is_power_of_two(), "the number of flows has to be a power of two");
    ensure!(
        options.services > 0 && options.backends / options.services >= 2,
        "every service needs two backends, one of each environment"
    );
    let size = Size { services: options.services, backends: options.backends, flows: options.flows };
    let namespace = Namespace::create("bench")?;
    place::build(&namespace, options.backends)?;
    let (rows, growth, memory, control) = (Vec::new(), Vec::new(), None, None);
    let bench = Bench { options, size, namespace: &namespace, rows, growth, memory, control };
    let Bench { rows, growth, memory, control, .. } = namespace.inside(|| bench.measure(&cases))??;
    Ok(Report { machine, rounds: options.rounds, size, rows, growth, memory, control })
}

/// A benchmark under way.
struct Bench<'b> {
    options: &'b Options,
    size: Size,
    namespace: &'b Namespace,
    rows: Vec<Row>,
    growth: Vec<Row>,
    memory: Option<Memory>,
    control: Option<Control>,
}

impl Bench<'_> {
    fn measure(mut self, cases: &[&Case]) -> Result<Self> {
        processor::stay_on(0)?;
        eprintln!("{HEADER}");
        for cases in cases.chunk_by(|a, b| a.kind == b.kind) {
            let mut ground = Ground::new(cases[0].kind, self.size, self.namespace)?;
            // Before another map is opened.
            self.memory = Some(Memory::look(&self.size.limits(), processor::count()?)?);
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
        if self.options.wants(SWITCH) {
            self.control = Some(control::measure(self.options.flips, self.namespace)?);
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
