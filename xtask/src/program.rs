//! `cargo xtask model`, `demo`, `soak` and `bench`: each builds a program of the tests, and hands the terminal to it.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::plan::Goal;
use crate::{build, run, setup};

/// Everything that follows is the program's own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Options of the program; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs a program to its end, and gives its exit code; standard output is the program's alone. One that
/// runs in this kernel finds the agent, and what else it starts, built.
pub(crate) fn command(program: &str, goal: Goal, options: &Options) -> Result<u8> {
    setup::if_needed(goal)?;
    if goal == Goal::Run {
        build::binaries(&["--release", "--package", "bg-userspace", "--package", "bg-tests"])?;
    }
    let mut cargo = build::cargo();
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "bg-tests", "--bin", program]);
    cargo.arg("--").args(&options.arguments);
    Ok(run::code(run::passed_through(&mut cargo)?))
}
