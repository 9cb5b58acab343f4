//! `cargo xtask model`: builds the model checker, and hands the terminal to it.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::plan::Goal;
use crate::{build, run, setup};

/// Everything after `model` is the model's own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Options of the model; `--help` lists them, among them `--depth N` and `--threads N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Searches to the end, and gives the model's exit code.
pub(crate) fn command(options: &Options) -> Result<u8> {
    setup::if_needed(Goal::Build)?;
    let mut model = build::cargo();
    model.args(["run", "--quiet", "--locked", "--release", "--package", "bg-tests", "--bin", "model"]);
    model.arg("--").args(&options.arguments);
    Ok(run::code(run::passed_through(&mut model)?))
}
