//! A laboratory that is ready: network, servers, and an agent that saw every backend healthy before
//! the first client came.

use super::agent::Agent;
use super::binaries::binary;
use super::config::{self, Settings};
use super::fleet::Fleet;
use super::nginx;
use super::process::Process;
use super::topology::{CLIENTS, CLIENTS6, Topology};
use super::witness::Resets;
use crate::streamer::load::{Clients, Load, Streams};
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Everything that a test needs. The agent goes first, the network last.
pub struct Stage {
    agent: Option<Agent>,
    /// One streamer for each backend.
    pub fleet: Fleet,
    /// One nginx for each backend, if there is a service `web`.
    pub nginx: Vec<Process>,
    /// The network.
    pub topology: Topology,
    config: PathBuf,
}

impl Stage {
    /// Sets up a network with so many backends in each environment, and starts everything.
    pub fn new(blue: u8, green: u8, settings: &Settings) -> Result<Self> {
        Self::on(Topology::new(blue, green)?, settings)
    }

    /// Starts everything on a network that is there.
    pub fn on(topology: Topology, settings: &Settings) -> Result<Self> {
        let fleet = Fleet::start(&topology)?;
        let nginx = if settings.web { nginx::start(&topology)? } else { Vec::new() };
        let config = topology.workdir.write("bgd.toml", &config::text(&topology, settings))?;
        let mut stage = Self { agent: None, fleet, nginx, topology, config };
        stage.start_agent()?;
        stage.agent().wait_until_healthy()?;
        Ok(stage)
    }

    /// The agent.
    ///
    /// # Panics
    /// When it was killed and not started again.
    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("the agent is down")
    }

    /// SIGKILL to the agent.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.take().context("the agent is down")?.kill()
    }

    /// SIGTERM to the agent.
    pub fn stop_agent(&mut self) -> Result<()> {
        self.agent.take().context("the agent is down")?.stop()
    }

    /// Starts the agent, again or for the first time.
    pub fn start_agent(&mut self) -> Result<()> {
        self.launch_agent(Command::new(binary("bgd")?))?;
        self.agent_mut().wait_until_serving()
    }

    /// Starts another program as the agent, and does not wait.
    pub fn launch_agent(&mut self, program: Command) -> Result<()> {
        let socket = self.topology.workdir.join("bgd.sock");
        self.agent = Some(Agent::launch(program, &self.topology, &self.config, &socket)?);
        Ok(())
    }

    /// Starts it by a shell command in which `"$@"` stands for it.
    pub fn start_agent_within(&mut self, shell: &str) -> Result<()> {
        let socket = self.topology.workdir.join("bgd.sock");
        self.agent = Some(Agent::start_within(&self.topology, shell, &self.config, &socket)?);
        Ok(())
    }

    /// The agent, to be waited for.
    ///
    /// # Panics
    /// As [`Self::agent`].
    pub fn agent_mut(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("the agent is down")
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Lets the silent ones speak, ends these loads, and looks at what became of them.
    ///
    /// # Panics
    /// Unless every connection was kept and no kernel at either end has reset one since `before`.
    pub fn assert_kept(&self, loads: impl IntoIterator<Item = Load>, before: Resets) {
        let grown = self.assert_ended_well(loads, before);
        assert_eq!(grown, Resets::default());
    }

    /// The same but for the resets, which are returned.
    ///
    /// # Panics
    /// Unless every connection was kept.
    pub fn assert_ended_well(&self, loads: impl IntoIterator<Item = Load>, before: Resets) -> Resets {
        for load in loads {
            load.order(|orders| orders.speak = true);
            let tally = load.stop().expect("the load ends");
            assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
            assert_eq!(tally.fates().kept, tally.fates().opened);
        }
        Resets::at_the_ends(&self.topology).expect("the counters are readable") - before
    }

    /// Starts stream clients: so many long-lived ones, and short ones if `churn`. Returns when the
    /// long-lived ones are open.
    pub fn load(&self, long_lived: u32, churn: bool) -> Result<Load> {
        let sources = CLIENTS.iter().map(|address| (*address).into()).collect();
        self.load_on(config::STREAM.into(), sources, long_lived, churn)
    }

    /// The same over IPv6.
    pub fn load6(&self, long_lived: u32, churn: bool) -> Result<Load> {
        let sources = CLIENTS6.iter().map(|address| (*address).into()).collect();
        self.load_on(config::STREAM6.into(), sources, long_lived, churn)
    }

    fn load_on(
        &self,
        target: SocketAddr,
        sources: Vec<IpAddr>,
        long_lived: u32,
        churn: bool,
    ) -> Result<Load> {
        let streams = Streams {
            target,
            long_lived,
            silent_third: true,
            pace: Duration::from_millis(40),
            churn: churn.then(|| Duration::from_millis(25)),
        };
        let clients = Clients { sources, streams: Some(streams), http: None };
        let load = Load::start(&self.topology.client, clients);
        let tally = load.tally();
        let open = super::clock::eventually(super::agent::PATIENCE, || {
            tally.fates().opened >= u64::from(long_lived) || tally.failed() > 0
        });
        anyhow::ensure!(open && tally.failed() == 0, "the clients cannot connect: {:?}", tally.failures());
        Ok(load)
    }
}
