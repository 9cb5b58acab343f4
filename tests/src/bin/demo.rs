//! `demo`: a release that nobody notices, watched live. Exit code 1 when a promise was broken.

use anyhow::{Result, bail};
use bg_tests::demo::{Options, run};
use clap::Parser;
use std::io::Write;
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
    match demo(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(cli: &Cli) -> Result<()> {
    if !(0.2..=20.0).contains(&cli.seconds_scale) {
        bail!("--seconds-scale {} is not between 0.2 and 20", cli.seconds_scale);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the demo makes network namespaces and loads XDP programs: run it as root");
    }
    let summary = run(Options { scale: cli.seconds_scale })?;
    let mut out = std::io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    } else {
        writeln!(out, "\n{}", summary.table())?;
    }
    let broken = summary.broken_promises();
    if broken.is_empty() {
        eprintln!("every promise was kept");
        return Ok(());
    }
    bail!("a promise was broken: {}", broken.join("; "))
}
