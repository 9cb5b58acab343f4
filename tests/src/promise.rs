//! The beginning and the end of the programs that watch the promise, `demo` and `soak`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

/// Runs a program as root, and gives its exit code: 1 when it fails, with a sentence that says why.
pub fn watch(program: &str, run: impl FnOnce() -> Result<()>) -> ExitCode {
    match require_root().and_then(|()| run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("it makes network namespaces and loads XDP programs: run it as root")
}

/// Prints the summary, as JSON if that is wanted and as `table` otherwise. An error names the promises that
/// were broken, and `again`, what to do about it.
pub fn conclude(
    json: bool,
    summary: &impl Serialize,
    table: &str,
    broken: &[String],
    again: &str,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(summary)?)?;
    } else {
        writeln!(out, "\n{table}")?;
    }
    if broken.is_empty() {
        eprintln!("every promise was kept");
        return Ok(());
    }
    bail!("a promise was broken: {}{again}", broken.join("; "))
}
