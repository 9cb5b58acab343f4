//! The model, as deep as one likes: `cargo xtask model`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use bg_common::mutant::Mutant;
use bg_tests::model::{Finding, Limits, Setup, cases, check, shortened};
use clap::Parser;

/// Searches every configuration of the model, and refutes every mutant.
#[derive(Parser)]
#[command(bin_name = "cargo xtask model", version)]
struct Options {
    /// Steps to search; to the end without it.
    #[arg(long)]
    depth: Option<usize>,
    /// Threads; with one, what is found is certainly as short as can be.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds for each configuration; as long as it takes without it.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only configurations and mutants whose name contains this.
    filter: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let chosen = |setup: &&Setup| options.filter.as_ref().is_none_or(|part| setup.name.contains(part));
    let mut code = ExitCode::SUCCESS;
    let mutants: Vec<_> = Mutant::ALL.iter().map(|&mutant| cases::refuting(mutant)).collect();
    for setup in cases::HOLD.iter().chain(cases::DEEP).chain(cases::MEET).chain(&mutants).filter(chosen) {
        let threads = if setup.mutant.is_some() { 1 } else { options.threads };
        let time = options.seconds.map(Duration::from_secs);
        let limits = Limits { depth: options.depth, threads, time };
        let found = check(*setup, limits, |states, depth, took| {
            eprint!("\r{:<34} {states:>11} states, {depth:>3} steps, {:>5} s", setup.name, took.as_secs());
        });
        eprintln!("\r{}", line(setup, &found));
        if let Some((_, actions)) = &found.violation {
            shortened(*setup, actions).1.iter().for_each(|action| eprintln!("      {action:?}"));
        }
        if found.violation.is_some() != setup.mutant.is_some() {
            eprintln!("      unexpected");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn line(setup: &Setup, found: &Finding) -> String {
    let what = match &found.violation {
        Some((fault, actions)) => format!("violated in {} steps: {}", actions.len(), fault.text()),
        None if found.complete => "holds, to the end".to_owned(),
        None => "holds as far as was searched".to_owned(),
    };
    let took = found.took.as_secs_f64();
    format!("{:<34} {:>11} states, {:>3} steps, {took:>7.1} s: {what}", setup.name, found.states, found.depth)
}
