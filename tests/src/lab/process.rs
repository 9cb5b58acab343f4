//! Child processes that cannot be lost: started in a namespace, ended by their own process handle.

use super::cleanup::{self, Ticket};
use super::enter;
use super::namespace::Namespace;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    handle: Arc<OwnedFd>,
    _ticket: Ticket,
}

impl Process {
    /// Starts `command` in `namespace` (ours if absent). It dies with the calling thread.
    pub fn spawn(name: &str, mut command: Command, namespace: Option<&Namespace>) -> Result<Self> {
        enter::prepare(&mut command, namespace.map(Namespace::handle));
        // An interrupt from the terminal is for us; we end the children in our own order.
        command.process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        let handle = open_handle(&mut child, name)?;
        let target = Arc::clone(&handle);
        let ticket = cleanup::register(move || {
            // It has ended already if this fails.
            pidfd_send_signal(&*target, Signal::KILL).ok();
        });
        Ok(Self { name: name.to_owned(), child, handle, _ticket: ticket })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&*self.handle, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))
    }

    /// How it ended, if it ended within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let mut status = None;
        super::clock::eventually(patience, || match self.child.try_wait() {
            Ok(found) => {
                status = found;
                found.is_some()
            }
            Err(_) => true,
        });
        Ok(status)
    }

    /// Sends `signal` and waits; a process that does not end within `patience` is an error.
    pub fn end(&mut self, signal: Signal, patience: Duration) -> Result<ExitStatus> {
        if self.running() {
            self.signal(signal)?;
        }
        self.wait(patience)?.with_context(|| format!("{} did not end on {signal:?}", self.name))
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its standard output, if that was made a pipe; only once.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only when it has ended and been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn open_handle(child: &mut Child, name: &str) -> Result<Arc<OwnedFd>> {
    let opened = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("its process id is out of range")
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    if opened.is_err() {
        // Not to be lost on this path either.
        child.kill().ok();
        child.wait().ok();
    }
    opened.map(Arc::new).with_context(|| format!("open a handle on {name}"))
}

/// Runs a program to its end in `namespace`, and returns what it printed, whatever its exit status.
pub fn output(program: &str, args: &[&str], namespace: Option<&Namespace>) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    enter::prepare(&mut command, namespace.map(Namespace::handle));
    command.output().with_context(|| format!("run {program}; is it installed?"))
}

/// Runs a program to its end in `namespace`; anything but success is an error with what it said.
pub fn run(program: &str, args: &[&str], namespace: Option<&Namespace>) -> Result<String> {
    let output = output(program, args, namespace)?;
    ensure!(
        output.status.success(),
        "{program} {} failed ({}): {}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
