//! Who takes part, and how each is set up and taken away again: while one is measured, nothing of the others is there.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{haproxy, nftables};
use crate::lab::binaries::binary;
use crate::lab::config::{Settings, WEB};
use crate::lab::nginx::HTTP_PORT;
use crate::lab::process;
use crate::lab::stage::Stage;
use crate::lab::topology::{Backend, Topology};
use crate::lab::{Environment, other, word};

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// The node routes, and the client speaks to the blue backend itself.
    Routing,
    /// bluegreen.
    Bluegreen,
    /// nftables: DNAT with conntrack.
    Nftables,
    /// `HAProxy` in TCP mode.
    Haproxy,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Routing, Self::Bluegreen, Self::Nftables, Self::Haproxy];

    /// Its name in rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Bluegreen => "bluegreen",
            Self::Nftables => "nftables",
            Self::Haproxy => "haproxy",
        }
    }
}

/// The topology, and who is set up in it.
pub(super) struct Ground {
    pub(super) stage: Stage,
    proxies: Vec<haproxy::Proxy>,
}

impl Ground {
    /// A network with one backend in each environment, and nobody in it.
    pub(super) fn new() -> Result<Self> {
        // Drains are waited for between rounds, so they are to be short.
        let settings = Settings {
            web: true,
            syn_lifetime: "1s".into(),
            idle_horizon: "2s".into(),
            ..Settings::default()
        };
        let mut ground = Self { stage: Stage::new(1, 1, &settings)?, proxies: Vec::new() };
        ground.leave(Contender::Bluegreen)?;
        Ok(ground)
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.stage.topology
    }

    /// The backend of an environment.
    pub(super) fn backend(&self, environment: Environment) -> Result<&Backend> {
        self.topology().environment(environment).next().context("an environment without a backend")
    }

    /// Where clients send their requests.
    pub(super) fn target(&self, contender: Contender) -> Result<SocketAddrV4> {
        Ok(match contender {
            Contender::Routing => SocketAddrV4::new(self.backend(Environment::Blue)?.address, HTTP_PORT),
            _ => WEB,
        })
    }

    /// Sets a contender up.
    pub(super) fn enter(&mut self, contender: Contender) -> Result<()> {
        match contender {
            Contender::Routing => Ok(()),
            Contender::Bluegreen => {
                self.stage.start_agent()?;
                self.stage.agent().wait_until_healthy()
            }
            Contender::Nftables => nftables::enter(self),
            Contender::Haproxy => {
                self.topology().node.ip(&["addr", "replace", &format!("{}/32", WEB.ip()), "dev", "lo"])?;
                let proxy = haproxy::start(self, Environment::Blue)?;
                self.proxies.push(proxy);
                Ok(())
            }
        }
    }

    /// Takes it away.
    pub(super) fn leave(&mut self, contender: Contender) -> Result<()> {
        match contender {
            Contender::Routing => Ok(()),
            Contender::Bluegreen => {
                self.stage.agent().wait_until_idle()?;
                self.stage.stop_agent()?;
                let bgd = binary("bgd")?;
                let bgd = bgd.to_str().context("bgd lies at a strange place")?;
                let config = self.stage.config().to_str().context("a strange place for files")?;
                process::run(bgd, &["--config", config, "detach"], Some(&self.topology().node))?;
                ensure!(self.topology().attached()?.is_empty(), "bgd detach left programs attached");
                Ok(())
            }
            Contender::Nftables => nftables::leave(self),
            Contender::Haproxy => {
                self.proxies.clear();
                self.topology().node.ip(&["addr", "del", &format!("{}/32", WEB.ip()), "dev", "lo"]).map(drop)
            }
        }
    }

    /// Who is live, for clients that come now.
    pub(super) fn live(&self, contender: Contender) -> Result<Environment> {
        match contender {
            Contender::Bluegreen => Ok(self.stage.agent().deployment()?.live),
            _ => Ok(Environment::Blue),
        }
    }

    /// Switches to an environment by flip, by a new map, or by the runtime API.
    pub(super) fn switch(&self, contender: Contender, to: Environment) -> Result<()> {
        match contender {
            Contender::Routing => Ok(()),
            Contender::Bluegreen => self.stage.agent().flip(to).map(drop),
            Contender::Nftables => nftables::switch(self, to),
            Contender::Haproxy => {
                let proxy = self.proxies.last().context("no HAProxy runs")?;
                proxy.tell(&format!("set server web/{} state ready", word(to)))?;
                proxy.tell(&format!("set server web/{} state drain", word(other(to))))
            }
        }
    }

    /// Starts another `HAProxy`, with a file that says so, which takes over from the one that runs.
    pub(super) fn reload_haproxy(&mut self, to: Environment) -> Result<()> {
        let proxy = haproxy::take_over(self, to, self.proxies.last().context("no HAProxy runs")?)?;
        self.proxies.push(proxy);
        Ok(())
    }
}
