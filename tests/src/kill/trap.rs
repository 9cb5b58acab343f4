//! The test's side of a watched agent: what it has passed, and where it shall end.

use super::watch::{KILL_AT, KILL_FILE, LOG};
use crate::lab::binaries::binary;
use crate::lab::workdir::Workdir;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A boundary of an act: how often its name has come before in the same act, counted from 1, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Counted from 1.
    pub count: u32,
    /// What has just happened there.
    pub name: String,
}

impl std::fmt::Display for Boundary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.count, self.name)
    }
}

/// A name that comes more often in one act is a step for each of many: some of them stand for all.
const MANY: usize = 5;

/// The boundaries of an act that are worth a death each.
pub fn worth_dying(all: &[Boundary]) -> Vec<Boundary> {
    let often = |name: &str| all.iter().filter(|boundary| boundary.name == name).count();
    let stands = |boundary: &&Boundary| {
        let (count, often) = (boundary.count as usize, often(&boundary.name));
        often <= MANY || [1, often / 2].contains(&count)
    };
    all.iter().filter(stands).cloned().collect()
}

/// Where an agent writes down what it passes, and reads where it shall end.
pub struct Trap {
    log: PathBuf,
    order: PathBuf,
}

impl Trap {
    /// One for all agents of a run.
    pub fn new(workdir: &Workdir) -> Self {
        Self { log: workdir.join("boundaries.log"), order: workdir.join("boundaries.order") }
    }

    /// A `bgd` that is watched. With a number it ends at that boundary, counted from its start.
    pub fn bgd(&self, kill_at: Option<u32>) -> Result<Command> {
        let mut command = Command::new(binary("bgd-boundaries")?);
        command.env(LOG, &self.log).env(KILL_FILE, &self.order);
        if let Some(number) = kill_at {
            command.env(KILL_AT, number.to_string());
        }
        Ok(command)
    }

    /// The agent shall end at this boundary of its next act.
    pub fn set(&self, boundary: &Boundary) -> Result<()> {
        // As a whole, for the agent may read it at any moment.
        let fresh = self.order.with_extension("new");
        fs::write(&fresh, boundary.to_string()).context("write an order")?;
        fs::rename(&fresh, &self.order).context("give an order")
    }

    /// It shall live.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_file(&self.order) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("take back an order")
            }
            _ => Ok(()),
        }
    }

    /// How many boundaries were passed so far, by all agents.
    pub fn passed(&self) -> Result<usize> {
        Ok(self.names()?.len())
    }

    /// Those that were passed since there were so many, in order.
    pub fn since(&self, mark: usize) -> Result<Vec<Boundary>> {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let names = self.names()?.into_iter().skip(mark);
        Ok(names
            .map(|name| {
                let count = counts.entry(name.clone()).or_default();
                *count += 1;
                Boundary { count: *count, name }
            })
            .collect())
    }

    /// The one that was passed last.
    pub fn last(&self) -> Result<String> {
        self.names()?.pop().context("nothing was passed")
    }

    fn names(&self) -> Result<Vec<String>> {
        match fs::read_to_string(&self.log) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context("read the boundaries"),
        }
    }
}
