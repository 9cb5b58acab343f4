//! The rings that the kernel holds, and those that health, weights and configuration ask for.

use super::ground::Ground;
use crate::lab::Environment;
use crate::lab::agent::PATIENCE;
use crate::lab::clock::eventually;
use anyhow::{Context, Result};
use std::net::IpAddr;

impl Ground {
    /// Waits until the rings in the kernel are what health and weights ask for.
    pub(super) fn rings_follow(&self) -> Result<()> {
        let mut last = Ok(Vec::new());
        let follow = eventually(PATIENCE, || {
            last = self.slots();
            // A ring is as fair as its slots can be divided.
            last.as_ref().is_ok_and(|slots| slots.iter().all(|(wanted, found)| wanted.abs_diff(*found) < 40))
        });
        if follow { Ok(()) } else { self.fail(&format!("the rings do not follow (wanted, found): {last:?}")) }
    }

    /// The slots of the current ring that each backend of the live environment should have, and has.
    fn slots(&self) -> Result<Vec<(usize, usize)>> {
        let held = self.held()?;
        let deployment = self.record.deployments.first().context("no deployment")?;
        let service = deployment.services.first().context("no service")?;
        let current = held.word(deployment.index)?.current();
        let ring = held.ring(service, current.slot)?;
        let backends = service.backends.iter().filter(|backend| backend.environment == current.environment);
        let addresses: Vec<_> = backends.map(|backend| backend.address.ip()).collect();
        let ill = self.ill.map(|place| self.stage.topology.backends[place].address);
        let weight = |(at, address): (usize, &IpAddr)| match address {
            ip if ill.is_some_and(|ill| *ip == ill) => 0,
            _ if self.gone && at + 1 == addresses.len() => 0,
            _ if self.light && at + 1 == addresses.len() => 50,
            _ => 100,
        };
        let weights: Vec<usize> = addresses.iter().enumerate().map(weight).collect();
        let sum: usize = weights.iter().sum();
        // By address, because who joins again may get another number.
        let named: Vec<_> = ring.iter().map(|id| held.address(*id)).collect::<Result<_>>()?;
        let found = addresses.iter().map(|address| named.iter().filter(|named| *named == address).count());
        Ok(weights.iter().map(|weight| ring.len() * weight / sum).zip(found).collect())
    }

    /// Percent of the current ring that leads to this environment.
    pub fn share_of(&self, environment: Environment) -> Result<usize> {
        let held = self.held()?;
        let deployment = self.record.deployments.first().context("no deployment")?;
        let service = deployment.services.first().context("no service")?;
        let ring = held.ring(service, held.word(deployment.index)?.current().slot)?;
        let addresses: Vec<_> =
            self.stage.topology.environment(environment).map(|b| IpAddr::V4(b.address)).collect();
        let named: Vec<_> = ring.iter().map(|id| held.address(*id)).collect::<Result<_>>()?;
        let slots = named.iter().filter(|named| addresses.contains(named)).count();
        Ok((slots * 100 + ring.len() / 2) / ring.len())
    }

    /// Slots of base and current that lead to the backend with this place in the topology.
    pub fn slots_of(&self, place: usize) -> Result<usize> {
        let held = self.held()?;
        let address = self.stage.topology.backends[place].address;
        let mut count = 0;
        for deployment in &self.record.deployments {
            let word = held.word(deployment.index)?;
            for service in &deployment.services {
                let backend = service.backends.iter().find(|backend| backend.address.ip() == address);
                let id = backend.context("nobody has this address")?.id;
                for slot in [word.base().slot, word.current().slot] {
                    count += held.ring(service, slot)?.iter().filter(|found| **found == id).count();
                }
            }
        }
        Ok(count)
    }
}
