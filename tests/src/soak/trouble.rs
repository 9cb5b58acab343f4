//! Backends in trouble, and how they get out of it. Never more than a third of them at a time: when more
//! than half fail together the agent rightly suspects itself.

use super::conductor::Conductor;
use super::outages::Outage;
use crate::lab::clock::{eventually, realtime_ns};
use crate::lab::fleet::{PLAIN_PORT, STREAM_PORT};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its health page fails, and it serves.
    Ill,
    /// SIGSTOP.
    Frozen,
    /// Its server was killed.
    Lost,
}

/// A backend in trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    place: usize,
    kind: Kind,
    ends: Instant,
}

impl Conductor {
    /// Gets some backend into trouble, for a while.
    pub(super) fn make(&mut self, kind: Kind) -> Result<()> {
        let backends = self.stage.topology.backends.len();
        if self.troubles.len() * 3 >= backends {
            return Ok(());
        }
        let well: Vec<usize> =
            (0..backends).filter(|place| self.troubles.iter().all(|one| one.place != *place)).collect();
        let Some(&place) = self.dice.pick(&well) else { return Ok(()) };
        let lasts = match kind {
            Kind::Ill => self.dice.millis(1000..7000),
            Kind::Frozen => self.dice.millis(500..5000),
            // Some are back at once, others are given up as dead before.
            Kind::Lost => self.dice.millis(300..11_000),
        };
        let server = self.stage.fleet.server(place)?;
        match kind {
            Kind::Ill => {
                self.counts.backends_ill += 1;
                server.signal(Signal::USR1)?;
            }
            Kind::Frozen => {
                self.counts.backends_frozen += 1;
                let host = self.stage.topology.backends[place].name.clone();
                self.outages.push(Outage { host, stands: true, from_ns: realtime_ns(), to_ns: u64::MAX });
                server.signal(Signal::STOP)?;
            }
            Kind::Lost => {
                self.counts.backends_lost += 1;
                let host = self.stage.topology.backends[place].name.clone();
                self.outages.push(Outage { host, stands: false, from_ns: realtime_ns(), to_ns: u64::MAX });
                server.kill()?;
            }
        }
        self.troubles.push(Trouble { place, kind, ends: Instant::now() + lasts });
        Ok(())
    }

    /// Ends the troubles whose time is over.
    pub(super) fn mend_due(&mut self) -> Result<()> {
        let now = Instant::now();
        let (due, rest) = std::mem::take(&mut self.troubles).into_iter().partition(|one| one.ends <= now);
        self.troubles = rest;
        self.mend(due)
    }

    /// Ends all troubles.
    pub(super) fn mend_all(&mut self) -> Result<()> {
        let all = std::mem::take(&mut self.troubles);
        self.mend(all)
    }

    fn mend(&mut self, troubles: Vec<Trouble>) -> Result<()> {
        for Trouble { place, kind, .. } in troubles {
            match kind {
                Kind::Ill => self.stage.fleet.server(place)?.signal(Signal::USR1)?,
                Kind::Frozen => {
                    self.stage.fleet.server(place)?.signal(Signal::CONT)?;
                    self.is_back(place);
                }
                Kind::Lost => self.revive(place)?,
            }
        }
        Ok(())
    }

    fn revive(&mut self, place: usize) -> Result<()> {
        self.stage.fleet.revive(&self.stage.topology, place)?;
        let backend = &self.stage.topology.backends[place];
        let mut failed = None;
        let listens = eventually(Duration::from_secs(20), || {
            let sockets = backend.namespace.inside(sockets).flatten();
            match sockets {
                Ok(text) => [STREAM_PORT, PLAIN_PORT].iter().all(|port| listens(&text, *port)),
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        ensure!(listens, "{} does not serve again", backend.name);
        self.is_back(place);
        Ok(())
    }

    /// Ends the outage of a backend.
    fn is_back(&mut self, place: usize) {
        let name = &self.stage.topology.backends[place].name;
        let mut outages = self.outages.iter_mut().rev();
        if let Some(outage) = outages.find(|outage| outage.host == *name) {
            outage.to_ns = realtime_ns();
        }
    }
}

/// The kernel's tables of sockets; a listener for both families is in the second.
fn sockets() -> Result<String> {
    let tables = ["tcp", "tcp6"].map(|name| Path::new("/proc/thread-self/net").join(name));
    let there = tables.iter().filter(|table| table.exists());
    there.map(|table| std::fs::read_to_string(table).context("read the sockets of a backend")).collect()
}

/// Whether a table of the kernel's sockets has a listener on this port.
fn listens(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, _remote, state) = (columns.next(), columns.next(), columns.next());
        local.is_some_and(|local| local.ends_with(&port)) && state == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let table = "  sl  local_address rem_address   st\n   0: 0A014D0A:2328 00000000:0000 0A 0\n   \
                     1: 0A014D0A:232A 0A6433C6:0FA0 01 0\n";
        assert!(listens(table, 9000));
        assert!(!listens(table, 9002));
    }
}
