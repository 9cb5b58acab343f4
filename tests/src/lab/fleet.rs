//! The servers of a laboratory: one streamer for each backend, and what they logged.

use super::binaries::binary;
use super::process::Process;
use super::topology::{Backend, Topology, has_ipv6, is_client};
use super::{Environment, word};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

/// Where every streamer serves.
pub const STREAM_PORT: u16 = 9000;
/// Where it serves the same once more, for a service without a health page.
pub const PLAIN_PORT: u16 = 9002;
/// Where it answers health checks.
pub const HEALTH_PORT: u16 = 9001;

/// Where it answers datagrams.
pub const ECHO_PORT: u16 = 9003;
/// Where it does once more, for a service without flow affinity.
pub const LOOSE_PORT: u16 = 9004;

/// Where it answers datagrams to the VIPs that it has itself, in their name.
pub const DIRECT_ECHO_PORT: u16 = 9005;

/// A connection that a server accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When, `CLOCK_REALTIME`, nanoseconds since 1970. A log may round it up, never down.
    pub at_ns: u64,
    /// Whose.
    pub client: SocketAddr,
    /// By which environment.
    pub environment: Environment,
}

/// One streamer for each backend of a topology, in its order.
pub struct Fleet {
    servers: Vec<Process>,
}

impl Fleet {
    /// Starts them: blue says that it runs v1, green v2.
    pub fn start(topology: &Topology) -> Result<Self> {
        let servers =
            topology.backends.iter().map(|backend| start(topology, backend)).collect::<Result<Vec<_>>>()?;
        Ok(Self { servers })
    }

    /// The server of the backend with this place in the topology.
    pub fn server(&mut self, place: usize) -> Result<&mut Process> {
        self.servers.get_mut(place).context("no such server")
    }

    /// Starts the server of this place again after it was killed; its log goes on.
    pub fn revive(&mut self, topology: &Topology, place: usize) -> Result<()> {
        let backend = topology.backends.get(place).context("no such backend")?;
        *self.server(place)? = start(topology, backend)?;
        Ok(())
    }

    /// Turns the health page of a whole environment over.
    pub fn toggle_health(&self, topology: &Topology, environment: Environment) -> Result<()> {
        for (backend, server) in topology.backends.iter().zip(&self.servers) {
            if backend.environment == environment {
                server.signal(rustix::process::Signal::USR1)?;
            }
        }
        Ok(())
    }

    /// Every connection that clients opened, in no order. Health checks are not among them: they
    /// come from the node's own addresses.
    pub fn accepted(topology: &Topology) -> Result<Vec<Accepted>> {
        let logs = topology.backends.iter().map(|backend| read_log(topology, backend));
        Ok(logs.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Those of one backend.
    pub fn accepted_by(topology: &Topology, name: &str) -> Result<Vec<Accepted>> {
        let backend = topology.backends.iter().find(|backend| backend.name == name);
        read_log(topology, backend.with_context(|| format!("no backend {name}"))?)
    }
}

fn read_log(topology: &Topology, backend: &Backend) -> Result<Vec<Accepted>> {
    let path = topology.workdir.join(log_name(backend));
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut all = Vec::new();
    for line in text.lines() {
        let accepted = parse(line, backend.environment);
        let accepted = accepted.with_context(|| format!("{}: {line:?}", path.display()))?;
        if is_client(accepted.client.ip()) {
            all.push(accepted);
        }
    }
    Ok(all)
}

fn start(topology: &Topology, backend: &Backend) -> Result<Process> {
    let mut command = Command::new(binary("streamer")?);
    // With IPv6, that takes IPv4 too, and shows it in IPv6's form.
    let any: IpAddr = if has_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let address = |port| SocketAddr::new(any, port).to_string();
    command
        .args(["serve", "--name", &backend.name])
        .args(["--version", release(backend.environment)])
        .args(["--listen", &address(STREAM_PORT)])
        .args(["--listen", &address(PLAIN_PORT)])
        .args(["--echo", &address(ECHO_PORT)])
        .args(["--echo", &address(LOOSE_PORT)])
        .args(
            topology
                .own_vips()
                .flat_map(|vip| ["--echo".into(), SocketAddr::new(vip, DIRECT_ECHO_PORT).to_string()]),
        )
        .args(["--health", &address(HEALTH_PORT)])
        .arg("--log")
        .arg(topology.workdir.join(log_name(backend)))
        .stderr(topology.workdir.log(&format!("streamer-{}.err", backend.name))?);
    Process::spawn(&format!("streamer {}", backend.name), command, Some(&backend.namespace))
}

/// The release that an environment pretends to run.
pub fn release(environment: Environment) -> &'static str {
    match environment {
        Environment::Blue => "v1",
        Environment::Green => "v2",
    }
}

fn log_name(backend: &Backend) -> String {
    debug_assert!(backend.name.starts_with(word(backend.environment)));
    format!("streamer-{}.log", backend.name)
}

fn parse(line: &str, environment: Environment) -> Option<Accepted> {
    let (at, client) = line.split_once(' ')?;
    let client: SocketAddr = client.parse().ok()?;
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    Some(Accepted { at_ns: at.parse().ok()?, client, environment })
}
