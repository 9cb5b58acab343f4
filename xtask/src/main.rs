//! The commands of a developer: `cargo xtask setup`, `build`, `test`, `kernels`, `fuzz`, `model`, `demo`, `soak`
//! and `bench`. Each one makes the machine ready first when something is missing.
#![forbid(unsafe_code)]

mod apt;
mod build;
mod fuzz;
mod kernels;
mod machine;
mod packages;
mod plan;
mod program;
mod run;
mod setup;
mod tally;
mod test;
mod toolchain;
mod unpack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::plan::Goal;

/// Work on bluegreen: make a machine ready, build, test, watch the demo.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine ready: install what is missing, and say why.
    Setup {
        /// Only say what is missing; exit 1 if anything is.
        #[arg(long)]
        dry_run: bool,
    },
    /// Build the release binaries, bgd and bgctl.
    Build,
    /// Run every check and test; the kernel tests need root.
    Test(test::Options),
    /// Run the packet cases, a flip under traffic and an agent's death in other kernels, in virtual machines.
    Kernels(kernels::Options),
    /// Look for a packet that breaks a rule, on the host, or that host and kernel disagree on.
    Fuzz(fuzz::Options),
    /// Search the model of the promise as deep as one likes, with progress: `--depth N`, `--threads N`.
    Model(program::Options),
    /// Flip real traffic in namespaces of its own, and watch; `--json` ends with a summary for programs.
    Demo(program::Options),
    /// Switch under many connections and much trouble, at random, for as long as asked; `--json` as above.
    Soak(program::Options),
    /// Measure what a packet costs, beside a program that does nothing; `--json` prints it for programs.
    Bench(program::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = run::catch_signals().and_then(|()| match arguments.command {
        Command::Setup { dry_run: true } => setup::dry_run(),
        Command::Setup { dry_run: false } => setup::aloud().map(|()| 0),
        Command::Build => build::command(),
        Command::Test(options) => test::command(&options),
        Command::Kernels(options) => kernels::command(&options),
        Command::Fuzz(options) => fuzz::command(&options),
        Command::Model(options) => program::command("model", Goal::Build, &options),
        Command::Demo(options) => program::command("demo", Goal::Run, &options),
        Command::Soak(options) => program::command("soak", Goal::Run, &options),
        Command::Bench(options) => program::command("bench", Goal::Run, &options),
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if let Some(signal) = run::stopped_by() {
                eprintln!("\ninterrupted");
                return ExitCode::from(run::code_of_signal(signal));
            }
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
