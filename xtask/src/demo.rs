//! `cargo xtask demo`: builds what the demo runs, and hands the terminal to it.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::plan::Goal;
use crate::{build, run, setup};

/// Everything after `demo` is the demo's own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Options of the demo; `--help` lists them, `--json` ends with a summary for programs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs to the demo's end, and gives its exit code. Standard output is the demo's alone.
pub(crate) fn command(options: &Options) -> Result<u8> {
    hand_over_to("demo", &options.arguments)
}

/// Builds everything that a program of the tests runs, and runs that program to its end.
pub(crate) fn hand_over_to(program: &str, arguments: &[OsString]) -> Result<u8> {
    setup::if_needed(Goal::Run)?;
    build::binaries(&["--release", "--package", "bg-userspace", "--package", "bg-tests"])?;
    let mut cargo = build::cargo();
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "bg-tests", "--bin", program]);
    cargo.arg("--").args(arguments);
    Ok(run::code(run::passed_through(&mut cargo)?))
}
