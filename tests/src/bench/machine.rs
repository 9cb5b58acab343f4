//! The machine that was measured: without it no figure means anything.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::lab::process;

/// A machine, and what is on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The commit, with a `+` if files were changed since.
    pub commit: String,
    /// Load average over a minute, when the benchmark began: whatever else ran.
    pub load: f64,
}

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let names = info.lines().filter(|line| line.starts_with("model name"));
        let names: Vec<_> = names.filter_map(|line| line.split_once(": ")).map(|(_, name)| name).collect();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("read osrelease")?;
        let load = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
        Ok(Self {
            cpu: names.first().unwrap_or(&"unknown").trim().to_owned(),
            cpus: names.len(),
            kernel: release.trim().to_owned(),
            commit: commit(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).context("no load average")?,
        })
    }

    pub(super) fn text(&self) -> String {
        let Self { cpu, cpus, kernel, commit, load } = self;
        format!("{cpus} x {cpu}, Linux {kernel}, commit {commit}, load {load}")
    }
}

/// The commit of the sources, if they are still where this was built, and git is there.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let here = ["-C", env!("CARGO_MANIFEST_DIR")];
        process::run("git", &[&here, arguments].concat(), None)
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain"]).map_or(true, |files| !files.trim().is_empty());
    format!("{}{}", commit.trim(), if changed { "+" } else { "" })
}
