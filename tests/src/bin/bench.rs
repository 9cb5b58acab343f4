//! `bench`: what a packet costs, `cargo xtask bench`; and HTTP beside others, `cargo xtask bench --peers`.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use bg_tests::bench::peers::{self, PeersOptions};
use bg_tests::bench::{Options, run};
use bg_tests::promise;
use clap::Parser;
use serde::Serialize;

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask bench",
    about = "Measure what a packet costs, beside a program that does nothing, in the cases of the budget"
)]
struct Cli {
    /// HTTP instead, beside plain routing and other load balancers.
    #[arg(long, conflicts_with_all = ["packets", "flows", "services", "backends", "flips", "filter"])]
    peers: bool,
    /// Measured rounds of every case, of which the median counts: 15, or with `--peers` 5.
    #[arg(long)]
    rounds: Option<u32>,
    /// With `--peers`: seconds of each run.
    #[arg(long, default_value_t = 5, requires = "peers")]
    seconds: u32,
    /// With `--peers`: connections at a time.
    #[arg(long, default_value_t = 32, requires = "peers")]
    connections: u32,
    /// Packets of a round, at least; every flow sends equally many.
    #[arg(long, default_value_t = 1 << 18)]
    packets: u32,
    /// The most flows, a power of two.
    #[arg(long, default_value_t = 1 << 20)]
    flows: u32,
    /// Services. One of them is busy, but where it is said that more are.
    #[arg(long, default_value_t = 1000)]
    services: u16,
    /// Backends, half of them blue; every service has equally many.
    #[arg(long, default_value_t = 10_000)]
    backends: u16,
    /// Flips under packets.
    #[arg(long, default_value_t = 500)]
    flips: u32,
    /// Print one JSON object to standard output, and no table.
    #[arg(long)]
    json: bool,
    /// Only cases whose name contains this; `switch` is what a switch costs.
    filter: Option<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    promise::watch("bench", || bench(&cli))
}

fn bench(cli: &Cli) -> Result<()> {
    if cli.peers {
        let (seconds, connections) = (cli.seconds, cli.connections);
        let report = peers::run(PeersOptions { rounds: cli.rounds.unwrap_or(5), seconds, connections })?;
        return print(cli.json, &report, || report.table());
    }
    let report = run(&Options {
        rounds: cli.rounds.unwrap_or(15),
        packets: cli.packets,
        flows: cli.flows,
        services: cli.services,
        backends: cli.backends,
        flips: cli.flips,
        filter: cli.filter.clone(),
    })?;
    print(cli.json, &report, || report.table())
}

fn print(json: bool, report: &impl Serialize, table: impl FnOnce() -> String) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else {
        writeln!(out, "\n{}", table())?;
    }
    Ok(())
}
