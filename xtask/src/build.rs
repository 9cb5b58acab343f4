//! Building the binaries, with cargo's own progress on standard error.

use std::process::Command;

use anyhow::{Result, bail};

use crate::plan::Goal;
use crate::toolchain::{Linker, with_first};
use crate::{run, setup};

/// `cargo xtask build`.
pub(crate) fn command() -> Result<u8> {
    setup::if_needed(Goal::Build)?;
    binaries(&["--release", "--package", "bg-userspace"])?;
    eprintln!("built: bgd and bgctl, in the target folder's release/");
    Ok(0)
}

/// Build the binaries of some packages.
pub(crate) fn binaries(arguments: &[&str]) -> Result<()> {
    let status = run::on_stderr(cargo().args(["build", "--locked", "--bins"]).args(arguments))?;
    if !status.success() {
        bail!("the build failed: see the compiler's messages above");
    }
    Ok(())
}

/// cargo, which finds the bpf-linker that setup found.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    if let Some(folder) = Linker::find().as_ref().and_then(|linker| linker.program.parent()) {
        command.env("PATH", with_first(folder));
    }
    command
}
