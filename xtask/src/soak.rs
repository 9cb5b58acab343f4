//! `cargo xtask soak`: builds what the soak runs, and hands the terminal to it.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::demo;

/// Everything after `soak` is the soak's own.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Options of the soak; `--help` lists them, `--json` ends with a summary for programs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs to the soak's end, and gives its exit code. Standard output is the soak's alone.
pub(crate) fn command(options: &Options) -> Result<u8> {
    demo::hand_over_to("soak", &options.arguments)
}
