//! The agent under test in the node's namespace, and its command line.

use super::binaries::binary;
use super::clock::eventually;
use super::config::DEPLOYMENT;
use super::process::Process;
use super::topology::Topology;
use super::{Environment, word};
use anyhow::{Context, Result, bail, ensure};
use bg_userspace::api::types::{DeploymentStatus, State, Status, SwitchResult};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Time enough for anything on a busy machine; no verdict hangs on it.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// What `bgctl` said.
#[derive(Debug)]
pub struct Reply {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// The one JSON document on its standard output.
    pub json: Value,
    /// What it said to people.
    pub stderr: String,
}

impl Reply {
    /// The document as a type of the API; anything but exit code 0 is an error.
    pub fn done<T: DeserializeOwned>(self) -> Result<T> {
        ensure!(self.code == 0, "bgctl failed: {self:?}");
        let text = self.json.to_string();
        serde_json::from_value(self.json).with_context(|| format!("read bgctl's answer {text}"))
    }
}

/// A running agent. Dropping it kills it, which leaves traffic alone.
pub struct Agent {
    process: Process,
    socket: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Starts `bgd` in the node with this configuration file, and waits until it serves.
    pub fn start(topology: &Topology, config: &Path, socket: &Path) -> Result<Self> {
        let mut agent = Self::launch(Command::new(binary("bgd")?), topology, config, socket)?;
        agent.wait_until_serving()?;
        Ok(agent)
    }

    /// The same by a shell command in which `"$@"` stands for it.
    pub fn start_within(topology: &Topology, shell: &str, config: &Path, socket: &Path) -> Result<Self> {
        let mut agent = Self::launch(within(shell)?, topology, config, socket)?;
        agent.wait_until_serving()?;
        Ok(agent)
    }

    /// Starts another program than the ordinary `bgd` as the agent, and does not wait.
    pub fn launch(program: Command, topology: &Topology, config: &Path, socket: &Path) -> Result<Self> {
        let log = log_of(topology, config);
        let process = launch_with(program, topology, config)?;
        Ok(Self { process, socket: socket.to_owned(), log })
    }

    /// Waits until it serves.
    pub fn wait_until_serving(&mut self) -> Result<()> {
        let serving = self.serves_or_is_dead();
        ensure!(serving, "bgd does not serve; it said:\n{}", self.log());
        Ok(())
    }

    /// Waits until it serves or has ended. `true`: it serves.
    pub fn serves_or_is_dead(&mut self) -> bool {
        let mut serving = false;
        eventually(PATIENCE, || {
            serving = UnixStream::connect(&self.socket).is_ok();
            serving || !self.process.running()
        });
        serving
    }

    /// Waits until it has ended by itself, and says how.
    pub fn ended(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        self.process.wait(patience)
    }

    /// Everything that it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// SIGTERM; it leaves everything pinned.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.end(Signal::TERM, PATIENCE)?;
        ensure!(status.success(), "bgd ended with {status} on SIGTERM:\n{}", self.log());
        Ok(())
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// Runs `bgctl -o json ARGS`.
    pub fn bgctl(&self, args: &[&str]) -> Result<Reply> {
        bgctl(&self.socket, args)
    }

    /// What `bgctl status` says.
    pub fn status(&self) -> Result<Status> {
        self.bgctl(&["status"])?.done()
    }

    /// What it says of the one deployment.
    pub fn deployment(&self) -> Result<DeploymentStatus> {
        let status = self.status()?;
        let mut deployments = status.deployments.into_iter();
        let found = deployments.find(|deployment| deployment.name == DEPLOYMENT);
        found.with_context(|| format!("no deployment {DEPLOYMENT}"))
    }

    /// Waits until every backend is seen as healthy.
    pub fn wait_until_healthy(&self) -> Result<()> {
        self.wait_for("every backend to be healthy", |deployment| {
            let mut environments = deployment.environments.iter();
            environments.all(|environment| environment.healthy == environment.backends)
        })
    }

    /// Waits until the drain is over and nothing goes on.
    pub fn wait_until_idle(&self) -> Result<()> {
        self.wait_for("the drain to end", |deployment| deployment.state == State::Idle)
    }

    /// Waits until the deployment is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&DeploymentStatus) -> bool) -> Result<()> {
        let mut last = None;
        let reached = eventually(PATIENCE, || {
            last = Some(self.deployment());
            matches!(&last, Some(Ok(deployment)) if wanted(deployment))
        });
        if !reached {
            bail!("waited in vain for {what}; last seen: {last:?}; bgd said:\n{}", self.log());
        }
        Ok(())
    }

    /// Flips to `to`. The SYN memory's guard is overridden: it keeps the first 128 s (here: the
    /// configured lifetime) after the first load, for connections that opened before it. Every
    /// caller starts the agent before any client, so there are none.
    pub fn flip(&self, to: Environment) -> Result<SwitchResult> {
        self.bgctl(&["flip", DEPLOYMENT, "--to", word(to), "--force", "syn-memory"])?.done()
    }

    /// Goes back to base.
    pub fn rollback(&self) -> Result<SwitchResult> {
        self.bgctl(&["rollback", DEPLOYMENT])?.done()
    }
}

/// Runs `bgctl -o json ARGS` on this socket.
pub fn bgctl(socket: &Path, args: &[&str]) -> Result<Reply> {
    let mut command = Command::new(binary("bgctl")?);
    command.args(["-o", "json"]).args(args).env("BGCTL_SOCKET", socket).stdin(Stdio::null());
    let output = command.output().context("run bgctl")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_str(&stdout)
        .with_context(|| format!("bgctl printed no JSON: {stdout:?}, {stderr:?}"))?;
    Ok(Reply { code: output.status.code().unwrap_or(-1), json, stderr })
}

/// How an agent that should refuse to start ended: its exit code, and what it said.
pub fn refusal(topology: &Topology, config: &Path) -> Result<(i32, String)> {
    refused(topology, config, launch(topology, config)?)
}

/// The same for an agent that is started by nobody in particular, user 65534.
pub fn refusal_without_root(topology: &Topology, config: &Path) -> Result<(i32, String)> {
    // A copy, because the original may lie where only root can go.
    let copy = topology.workdir.join("bgd");
    std::fs::copy(binary("bgd")?, &copy).context("copy bgd")?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(copy);
    refused(topology, config, launch_with(command, topology, config)?)
}

/// The same for an agent that is started by a shell command in which `"$@"` stands for it, as root and
/// in the node.
pub fn refusal_within(topology: &Topology, shell: &str, config: &Path) -> Result<(i32, String)> {
    refused(topology, config, launch_with(within(shell)?, topology, config)?)
}

fn within(shell: &str) -> Result<Command> {
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(binary("bgd")?);
    Ok(command)
}

fn refused(topology: &Topology, config: &Path, mut process: Process) -> Result<(i32, String)> {
    let status = process.wait(PATIENCE)?;
    let said = std::fs::read_to_string(log_of(topology, config)).context("read bgd's log")?;
    let status = status.with_context(|| format!("bgd runs on; it said:\n{said}"))?;
    Ok((status.code().unwrap_or(-1), said))
}

/// Starts `bgd` in the node with this configuration file, and waits for nothing.
pub fn launch(topology: &Topology, config: &Path) -> Result<Process> {
    launch_with(Command::new(binary("bgd")?), topology, config)
}

fn launch_with(mut command: Command, topology: &Topology, config: &Path) -> Result<Process> {
    let log = log_of(topology, config);
    command
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stderr(topology.workdir.log(&log.to_string_lossy())?);
    Process::spawn("bgd", command, Some(&topology.node))
}

/// Each configuration file has its agent's log beside it.
fn log_of(topology: &Topology, config: &Path) -> PathBuf {
    let name = config.file_name().unwrap_or_default();
    topology.workdir.join(name).with_extension("log")
}
