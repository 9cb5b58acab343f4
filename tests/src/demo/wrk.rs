//! wrk, the load generator that is not ours. It does not know environments, and sums up only at
//! its end; that makes it an honest witness for failures and a poor one for their time.

use crate::lab::process::Process;
use crate::lab::topology::Topology;
use anyhow::{Context, Result};
use rustix::process::Signal;
use serde::Deserialize;
use std::io::Read;
use std::net::SocketAddrV4;
use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What one wrk counted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Outcome {
    pub(super) requests: u64,
    pub(super) connect: u64,
    pub(super) read: u64,
    pub(super) write: u64,
    pub(super) timeout: u64,
    pub(super) status: u64,
}

impl Outcome {
    /// Connections that could not be opened, or broke.
    pub(super) fn broken(self) -> u64 {
        self.connect + self.read + self.write
    }

    /// Requests without a right answer.
    pub(super) fn failed(self) -> u64 {
        self.broken() + self.timeout + self.status
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.connect += other.connect;
        self.read += other.read;
        self.write += other.write;
        self.timeout += other.timeout;
        self.status += other.status;
    }
}

/// How one wrk behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// For its script's name.
    pub(super) name: &'static str,
    /// How many connections at a time.
    pub(super) connections: u32,
    /// Milliseconds between two requests of a connection, from and to.
    pub(super) pause_ms: (u32, u32),
    /// A connection for every request.
    pub(super) closing: bool,
}

/// A wrk that is running.
pub(super) struct Wrk(Process);

impl Wrk {
    /// Starts one in the client's namespace. It runs until it is told to stop.
    pub(super) fn start(topology: &Topology, target: SocketAddrV4, manner: Manner) -> Result<Self> {
        let name = manner.name;
        let script = topology.workdir.write(&format!("{name}.lua"), &script(manner))?;
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "1", "--duration", "1h", "--timeout", "10s"])
            .args(["--connections", &manner.connections.to_string()])
            .arg("--script")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(topology.workdir.log(&format!("{name}.err"))?);
        if manner.closing {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("http://{target}/"));
        let process = Process::spawn(name, command, Some(&topology.client))?;
        Ok(Self(process))
    }

    /// Interrupts it and reads its sums. It does not end its connections gently: witnesses must be
    /// read before.
    pub(super) fn stop(mut self) -> Result<Outcome> {
        self.0.end(Signal::INT, Duration::from_secs(15))?;
        let mut text = String::new();
        let mut stdout = self.0.take_stdout().context("wrk has no output")?;
        stdout.read_to_string(&mut text).context("read what wrk said")?;
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("wrk said: {text}"))
    }
}

/// Pauses between requests leave processor time for the rest of the machine, and keep the short
/// connections from using up the ports; the sums are printed as JSON.
fn script(manner: Manner) -> String {
    let (low, high) = manner.pause_ms;
    format!(
        "function delay() return math.random({low}, {high}) end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{{\"requests\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d,\"status\":%d}}\\n',
    summary.requests, e.connect, e.read, e.write, e.timeout, e.status))
end
"
    )
}
