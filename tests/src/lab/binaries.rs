//! Where the programs under test are: built by cargo, once per process, in the profile of the
//! program that asks.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a directory with ready-made binaries, for runs on machines without cargo.
pub const DIRECTORY: &str = "BLUEGREEN_BIN_DIR";

/// The path of `bgd`, `bgctl`, `streamer` or `demo`.
pub fn binary(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let directory = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match directory {
        Ok(directory) => {
            let path = directory.join(name);
            ensure!(path.is_file(), "there is no {name} in {}", directory.display());
            Ok(path)
        }
        Err(message) => bail!("no binaries to test: {message}"),
    }
}

fn build() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Ok(directory.into());
    }
    let own = std::env::current_exe().context("find the running program")?;
    let mut profile = own.parent().context("the running program lies nowhere")?;
    if profile.ends_with("deps") {
        profile = profile.parent().context("deps lies nowhere")?;
    }
    let target = profile.parent().context("the profile lies nowhere")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "-p", "bg-userspace", "-p", "bg-tests", "--bins"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output =
        command.output().with_context(|| format!("run cargo; set {DIRECTORY} where there is none"))?;
    ensure!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(profile.to_owned())
}
