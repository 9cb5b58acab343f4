//! `demo`: a release that nobody notices, watched live. Exit code 1 when a promise was broken.

use anyhow::{Result, bail};
use bg_tests::demo::{Options, run};
use bg_tests::promise;
use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Flip real traffic between blue and green, and count what broke")]
struct Cli {
    /// Print the summary as one JSON object, the last line of standard output.
    #[arg(long)]
    json: bool,
    /// Stretch the times between the acts.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    seconds_scale: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    promise::watch("demo", || demo(&cli))
}

fn demo(cli: &Cli) -> Result<()> {
    if !(0.2..=20.0).contains(&cli.seconds_scale) {
        bail!("--seconds-scale {} is not between 0.2 and 20", cli.seconds_scale);
    }
    let summary = run(Options { scale: cli.seconds_scale })?;
    promise::conclude(cli.json, &summary, &summary.table(), &summary.broken_promises(), "")
}
