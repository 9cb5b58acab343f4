//! `soak`: many connections, many switches, much trouble, for as long as one likes. Exit code 1 when a
//! promise was broken.

use anyhow::Result;
use bg_tests::promise;
use bg_tests::soak::{Options, run};
use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Switch under load and trouble, at random, and hold every connection to the promise")]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line, each on its own")]
struct Cli {
    /// At least so many flips; one takes about seven seconds with everything around it.
    #[arg(long, default_value_t = 50)]
    flips: u64,
    /// At least so many connections.
    #[arg(long, default_value_t = 20_000)]
    connections: u64,
    /// Room for so many pins. With 0 nothing may break either, and nothing new can move.
    #[arg(long)]
    pins: Option<u32>,
    /// SYN floods that fill the pin table; they come over IPv4.
    #[arg(long)]
    flood: bool,
    /// Forged SYNs, ACKs and RSTs of the clients' own connections over IPv4.
    #[arg(long)]
    spoof: bool,
    /// Lose so many of a hundred packets at each end and each way.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=30))]
    loss: u8,
    /// Where every choice comes from; a new one each time if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the summary as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// Tell every act on standard error.
    #[arg(long)]
    acts: bool,
    /// Wipe the pin table after every flip, which breaks connections: to see that a soak notices.
    #[arg(long)]
    wipe_pins: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    promise::watch("soak", || soak(&cli))
}

fn soak(cli: &Cli) -> Result<()> {
    // Every connection is a descriptor, here and in the servers, which inherit this.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let options = Options {
        flips: cli.flips,
        connections: cli.connections,
        pins: cli.pins,
        flood: cli.flood,
        spoof: cli.spoof,
        loss: cli.loss,
        seed: cli.seed.unwrap_or_else(|| bg_tests::lab::clock::realtime_ns() % 1_000_000),
        wipe_pins: cli.wipe_pins,
        acts: cli.acts,
    };
    let summary = run(&options)?;
    let again = format!("; try again with --seed {}", summary.seed);
    promise::conclude(cli.json, &summary, &summary.table(), &summary.broken_promises(), &again)
}
