//! The whole comparison. Each round has everybody once, and begins with another one.

use anyhow::{Context, Result, ensure};

use super::contender::{Contender, Ground};
use super::http::{self, Sample, Traffic};
use super::report::{HttpRow, PeersReport, SwitchRow};
use super::switch::{self, How};
use crate::bench::Machine;
use crate::lab::process;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct PeersOptions {
    /// Rounds, of which the median counts.
    pub rounds: u32,
    /// Seconds of each run.
    pub seconds: u32,
    /// Connections at a time.
    pub connections: u32,
}

/// Programs that say their version when they are asked like this; nginx says it on standard error.
const VERSIONS: [(&str, &str); 4] = [("haproxy", "-v"), ("nft", "--version"), ("nginx", "-v"), ("wrk", "-v")];

/// Measures, and says on standard error what has been measured.
pub fn run(options: PeersOptions) -> Result<PeersReport> {
    ensure!(options.rounds > 0 && options.seconds > 0 && options.connections > 0, "nothing to measure");
    let machine = Machine::look()?;
    let versions = VERSIONS.map(|(program, argument)| version(program, argument));
    let versions = versions.into_iter().collect::<Result<Vec<_>>>()?;
    let mut ground = Ground::new()?;
    let mut samples: Vec<(Contender, Traffic, Vec<Sample>)> = Contender::ALL
        .iter()
        .flat_map(|&contender| Traffic::ALL.map(|traffic| (contender, traffic, Vec::new())))
        .collect();
    let ways = Contender::ALL
        .iter()
        .flat_map(|&contender| How::of(contender).iter().map(move |&how| (contender, how)));
    let mut switches: Vec<(Contender, How, Vec<SwitchRow>)> =
        ways.map(|(contender, how)| (contender, how, Vec::new())).collect();
    for round in 0..options.rounds {
        let first = round as usize % Contender::ALL.len();
        for contender in Contender::ALL.into_iter().cycle().skip(first).take(Contender::ALL.len()) {
            let of_contender = samples.iter_mut().filter(|(other, ..)| *other == contender);
            ground.enter(contender).with_context(|| format!("set up {}", contender.name()))?;
            for (_, traffic, samples) in of_contender {
                let target = ground.target(contender)?;
                let sample =
                    http::measure(ground.topology(), target, *traffic, options.seconds, options.connections)
                        .with_context(|| format!("measure {}", contender.name()))?;
                eprintln!(
                    "round {}: {:<10} {:<10} {:>8.0} requests/s, {} failed",
                    round + 1,
                    contender.name(),
                    traffic.name(),
                    sample.requests_per_s,
                    sample.failed
                );
                samples.push(sample);
            }
            ground.leave(contender).with_context(|| format!("take {} away", contender.name()))?;
            for (_, how, rows) in switches.iter_mut().filter(|(other, ..)| *other == contender) {
                ground.enter(contender)?;
                let row = switch::measure(&mut ground, contender, *how, options.seconds)
                    .with_context(|| format!("switch {}", contender.name()))?;
                eprintln!(
                    "round {}: {:<10} switched by {}: {} requests, {} broken connections",
                    round + 1,
                    contender.name(),
                    row.how,
                    row.requests,
                    row.broken_connections
                );
                rows.push(row);
                ground.leave(contender)?;
            }
        }
    }
    let routing = |traffic: Traffic| {
        let found = samples.iter().find(|row| (row.0, row.1) == (Contender::Routing, traffic));
        found.map_or(&[][..], |row| &row.2)
    };
    let http = samples
        .iter()
        .map(|(contender, traffic, samples)| HttpRow::new(*contender, *traffic, samples, routing(*traffic)));
    Ok(PeersReport {
        machine,
        versions,
        seconds: options.seconds,
        connections: options.connections,
        http: http.collect(),
        switches: switches.iter().filter_map(|(.., rows)| SwitchRow::sum(rows)).collect(),
    })
}

/// The first line of what a program says of itself, whatever its exit code.
fn version(program: &str, argument: &str) -> Result<String> {
    let output = process::output(program, &[argument], None)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().map(str::to_owned).with_context(|| format!("{program} says nothing of its version"))
}
