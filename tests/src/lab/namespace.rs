//! A network namespace with a name, removed when the guard goes; and the removal of those that an
//! earlier run had to leave behind because it was killed.

use super::cleanup::{self, Ticket};
use super::{enter, process};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "bg";

/// A named network namespace. Dropping it deletes the name; it vanishes with its last process.
pub struct Namespace {
    name: String,
    handle: Arc<OwnedFd>,
    _ticket: Ticket,
}

impl Namespace {
    /// Makes `bg<pid>-<role>`.
    pub fn create(role: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{role}", std::process::id());
        process::run("ip", &["netns", "add", &name], None)?;
        let doomed = name.clone();
        let ticket = cleanup::register(move || {
            if let Err(error) = delete(&doomed) {
                eprintln!("cannot remove a namespace: {error:#}");
            }
        });
        let path = Path::new(DIRECTORY).join(&name);
        let handle =
            File::open(&path).with_context(|| format!("open the namespace {}", path.display()))?.into();
        Ok(Self { name, handle: Arc::new(handle), _ticket: ticket })
    }

    /// Its name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.handle)
    }

    /// Runs `act` on a thread inside, and returns what it returns. A child that `act` starts dies
    /// with that thread, so start children with [`process::Process::spawn`] instead.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter::enter(self.handle.as_fd())
                    .with_context(|| format!("enter the namespace {}", self.name))?;
                Ok(act())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a thread inside that may outlive the caller.
    pub fn thread<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<Result<T>> {
        let handle = self.handle();
        let name = self.name.clone();
        std::thread::spawn(move || {
            enter::enter(handle.as_fd()).with_context(|| format!("enter the namespace {name}"))?;
            Ok(act())
        })
    }

    /// Writes a sysctl inside, `net/ipv4/ip_forward` for instance.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.inside(|| std::fs::write(Path::new("/proc/sys").join(key), value))?
            .with_context(|| format!("set {key} to {value} in {}", self.name))
    }

    /// Runs `ip` on this namespace.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend(args);
        process::run("ip", &all, None)
    }

    /// Runs `ip` on this namespace once for many commands, one after the other, and stops at one that fails.
    pub fn ip_all(&self, commands: &[String]) -> Result<()> {
        let mut file = tempfile::tempfile().context("make a temporary file")?;
        file.write_all(commands.join("\n").as_bytes()).context("write commands for ip")?;
        file.rewind().context("go to the beginning of a temporary file")?;
        let mut command = Command::new("ip");
        let output =
            command.args(["-n", &self.name, "-batch", "-"]).stdin(file).output().context("run ip")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip failed ({}): {}", output.status, said.trim());
        Ok(())
    }
}

fn delete(name: &str) -> Result<()> {
    process::run("ip", &["netns", "del", name], None).map(drop)
}

/// Deletes the namespaces of our prefix whose maker is dead, and no others.
pub(super) fn reap() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        return Ok(()); // no namespace was ever made here
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.strip_prefix(PREFIX).is_some_and(maker_is_dead) {
            delete(name)?;
        }
    }
    Ok(())
}

/// Whether what follows the prefix starts with the number of a process that is gone, then a dash. Our
/// own number counts too: whoever asks has made nothing yet, so a namesake did, which is gone.
pub(super) fn maker_is_dead(rest: &str) -> bool {
    let number = rest.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
    number.is_some_and(|number| {
        number == std::process::id() || !Path::new("/proc").join(number.to_string()).exists()
    })
}
