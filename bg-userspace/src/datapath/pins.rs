//! The agent's side of the pin table, over the maps: [`bg_common::clear`] has the steps.

use bg_common::abi::Service;
use bg_common::clear::{self, Agent};
use bg_common::control::Control;

pub use bg_common::clear::{Lifetimes, PinSummary};

use super::Error;
use super::grace::Grace;
use super::maps::Maps;
use crate::boundary;

impl Agent for Grace {
    type Error = Error;

    fn grace(&mut self) -> Result<(), Error> {
        self.wait().map(drop)?;
        boundary::pass("grace");
        Ok(())
    }

    fn boundary(&mut self, step: &'static str) {
        boundary::pass(step);
    }
}

/// The pins, seen by the agent.
pub(super) struct Pins<'m> {
    maps: &'m Maps,
    /// Service entry by service number.
    services: Vec<Option<Service>>,
}

impl<'m> Pins<'m> {
    pub(super) fn new(maps: &'m Maps) -> Self {
        let services = maps
            .names
            .iter()
            .map(|name| if name.name[0] == 0 { None } else { maps.services.read(name.entry as usize) })
            .collect();
        Self { maps, services }
    }

    fn pins(&self) -> clear::Pins<'_, Maps> {
        clear::Pins::new(self.maps, &self.services)
    }

    /// Counts a deployment's pins.
    pub(super) fn summary(&self, deployment: u16, control: Control, horizon: u32) -> PinSummary {
        self.pins().summary(deployment, control, horizon)
    }

    /// Frees the pins whose time is over. Returns how many.
    pub(super) fn expire(
        &self,
        grace: &mut Grace,
        lifetimes: impl Fn(u16) -> Option<Lifetimes>,
    ) -> Result<u64, Error> {
        self.pins().expire(grace, lifetimes)
    }

    /// After base := current and a grace period: remembers every isn and drops the pins that are not needed
    /// any more. Returns how many stay.
    pub(super) fn clear(&self, grace: &mut Grace, deployment: u16, control: Control) -> Result<u64, Error> {
        self.pins().clear(grace, deployment, control)
    }

    /// Finishes what an agent that was killed left buried.
    pub(super) fn exhume(&self, grace: &mut Grace) -> Result<(), Error> {
        self.pins().exhume(grace)
    }
}
