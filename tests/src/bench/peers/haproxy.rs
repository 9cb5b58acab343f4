//! `HAProxy` in TCP mode. Its management guide knows two ways to switch: the runtime API, by which the new server
//! becomes ready and the old one drains; and a reload, in which a new process takes over the listening sockets (`-x`)
//! and tells the old one to finish (`-sf`).

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::contender::Ground;
use crate::lab::clock::eventually;
use crate::lab::config::WEB;
use crate::lab::nginx::HTTP_PORT;
use crate::lab::process::Process;
use crate::lab::{Environment, other, word};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running `HAProxy`.
pub(super) struct Proxy {
    process: Process,
    socket: PathBuf,
}

/// Starts one that leads to an environment.
pub(super) fn start(ground: &Ground, live: Environment) -> Result<Proxy> {
    spawn(ground, live, None)
}

/// Starts one that takes over from another.
pub(super) fn take_over(ground: &Ground, live: Environment, old: &Proxy) -> Result<Proxy> {
    spawn(ground, live, Some(old))
}

fn spawn(ground: &Ground, live: Environment, old: Option<&Proxy>) -> Result<Proxy> {
    let workdir = &ground.topology().workdir;
    let generation = if old.is_some() { "reloaded" } else { "first" };
    let socket = workdir.join(format!("haproxy-{generation}.sock"));
    // One of an earlier round.
    if let Err(error) = std::fs::remove_file(&socket) {
        ensure!(error.kind() == std::io::ErrorKind::NotFound, "cannot remove {}: {error}", socket.display());
    }
    let file = workdir.write(&format!("haproxy-{generation}.cfg"), &configuration(ground, live, &socket)?)?;
    let mut command = Command::new("haproxy");
    // In the foreground, so that it dies when it is told to.
    command.arg("-db").arg("-f").arg(file).stdin(Stdio::null());
    let log = format!("haproxy-{generation}.err");
    command.stdout(workdir.log(&log)?).stderr(workdir.log(&log)?);
    if let Some(old) = old {
        command.arg("-x").arg(&old.socket).args(["-sf", &old.process.pid().to_string()]);
    }
    let mut process = Process::spawn("haproxy", command, Some(&ground.topology().node))
        .context("is haproxy installed? `cargo xtask setup` does it")?;
    let ready = eventually(PATIENCE, || UnixStream::connect(&socket).is_ok() || !process.running());
    let said = || std::fs::read_to_string(workdir.join(&log)).unwrap_or_default();
    ensure!(ready && process.running(), "haproxy does not serve; it said:\n{}", said());
    Ok(Proxy { process, socket })
}

fn configuration(ground: &Ground, live: Environment, socket: &std::path::Path) -> Result<String> {
    let server = |environment, state| -> Result<String> {
        let address = ground.backend(environment)?.address;
        Ok(format!("    server {} {address}:{HTTP_PORT} check{state}\n", word(environment)))
    };
    Ok(format!(
        "global
    stats socket {socket} mode 600 level admin expose-fd listeners
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend web
    bind {WEB}
    default_backend web
backend web
{}{}",
        server(live, "")?,
        server(other(live), " disabled")?,
        socket = socket.display(),
    ))
}

impl Proxy {
    /// Gives the runtime API a command that answers nothing when it is done.
    pub(super) fn tell(&self, command: &str) -> Result<()> {
        let mut stream = UnixStream::connect(&self.socket).context("connect to HAProxy's runtime API")?;
        stream.write_all(format!("{command}\n").as_bytes()).context("speak to HAProxy's runtime API")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).context("hear HAProxy's runtime API")?;
        ensure!(said.trim().is_empty(), "HAProxy answers {command:?} with {:?}", said.trim());
        Ok(())
    }
}
