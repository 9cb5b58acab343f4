//! The data plane as the agent sees it. The only module that names aya or the memory of the maps: loading
//! and adopting, attaching, rings and control words, pins, the SYN memory, the census, the counters.

mod attach;
mod bare;
mod bpffs;
pub mod clock;
mod counters;
mod directory;
mod endpoints;
mod entries;
mod error;
mod exclude;
mod features;
mod grace;
mod idle;
mod install;
mod layout;
mod mapping;
mod maps;
mod members;
mod memory;
mod mounts;
mod netlink;
mod offloads;
mod onlink;
mod open;
mod pins;
mod program;
mod refused;
mod restore;
mod stages;
mod sysctl;
#[cfg(test)]
mod tests;
mod tunnels;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bg_common::abi::{Counter, Interface, Ledger, live};
use bg_common::control::{Control, Environment};
use bg_common::pin::PINS_PER_BUCKET;
use bg_common::reason::Reason;
use bg_common::tables::Tables as _;

pub use self::attach::Attachment;
pub use self::bare::Bare;
pub use self::directory::{Deployment, InstalledBackend, InstalledService, Preview, wanted_backends};
pub use self::error::Error;
pub use self::features::{NEEDS, Need, lacking};
pub use self::grace::Grace;
pub use self::mapping::{Mapping, Shared};
pub use self::maps::Maps;
pub use self::memory::CensusSummary;
pub use self::netlink::{hardware_addresses, watch};
pub use self::onlink::{require_on_link, resolve_neighbours};
pub use self::open::{Opened, detach, require_rights};
pub use self::pins::{Lifetimes, PinSummary};
pub use self::program::PROGRAM;
pub use self::stages::prepare;

/// The loaded, attached program and its maps. The agent's one task owns it; nobody else writes to it.
pub struct Datapath {
    maps: maps::Maps,
    grace: grace::Grace,
    counters: counters::Counters,
    tunnels: tunnels::Tunnels,
    testers: idle::Testers,
    attachments: Vec<Attachment>,
    /// Keeps the pin directory locked against a second agent.
    _pins: bpffs::PinDirectory,
    /// Keeps the program's handles alive; the links are pinned and do not depend on it.
    _ebpf: aya::Ebpf,
}

/// How a store went.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// How long the store took.
    pub took: Duration,
    /// `CLOCK_REALTIME` right after it, nanoseconds.
    pub at: u64,
}

impl Datapath {
    /// The interfaces that carry the program, in the order of the configuration.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// A deployment's control word.
    #[must_use]
    pub fn control(&self, deployment: u16) -> Control {
        self.maps.control(deployment)
    }

    /// Stores a control word: one atomic store, seen by every packet that reads the word from now on.
    ///
    /// # Panics
    /// When there is no such deployment.
    pub fn store(&self, deployment: u16, control: Control) -> Stored {
        let word = self.maps.control.get(deployment.into()).expect("an installed deployment has a word");
        let start = std::time::Instant::now();
        word.store(control.0, SeqCst);
        let took = start.elapsed();
        Stored { took, at: clock::realtime() }
    }

    /// Waits until no processor can still hold an older control word.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn grace(&mut self) -> Result<Duration, Error> {
        self.grace.wait()
    }

    /// The secret of the flow hash.
    #[must_use]
    pub fn key(&self) -> [u64; 4] {
        self.maps.node().key
    }

    /// Says how a configured deployment differs from the installed one in what cannot change while it is
    /// served; `None` if it does not.
    #[must_use]
    pub fn difference(&self, installed: &Deployment, wanted: &crate::config::Deployment) -> Option<String> {
        directory::Directory::new(&self.maps).difference(installed, wanted)
    }

    /// What the agent must find again after a restart.
    ///
    /// # Panics
    /// When there is no such deployment.
    #[must_use]
    pub fn ledger(&self, deployment: u16) -> Ledger {
        self.maps.ledger.read(deployment.into()).expect("an installed deployment has a ledger")
    }

    /// Changes the ledger.
    pub fn note(&self, deployment: u16, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger(deployment);
        change(&mut ledger);
        self.maps.ledger.put(deployment.into(), ledger);
    }

    /// Seconds since a SYN was last sent into an environment; `None` if none ever was.
    #[must_use]
    pub fn last_syn(&self, deployment: u16, environment: Environment) -> Option<u32> {
        let line = self.maps.deployment(deployment)?;
        let stamp = line[live::LAST_SYN + environment as usize].load(SeqCst) as u32;
        (stamp != 0).then(|| self.maps.seconds().saturating_sub(stamp))
    }

    /// Seconds since an old flow found no room in the census; `None` if that never happened.
    #[must_use]
    pub fn census_full(&self, deployment: u16) -> Option<u32> {
        let line = self.maps.deployment(deployment)?;
        let stamp = line[live::CENSUS_FULL].load(SeqCst) as u32;
        (stamp != 0).then(|| self.maps.seconds().saturating_sub(stamp))
    }

    /// Counts the flows of the leaving environment seen since `since` (`CLOCK_MONOTONIC` nanoseconds).
    #[must_use]
    pub fn census(&self, deployment: u16, leaving: Environment, since: u64, horizon: u32) -> CensusSummary {
        memory::census(&self.maps, deployment, leaving, bg_common::tables::seconds(since), horizon)
    }

    /// Counts a deployment's pins.
    #[must_use]
    pub fn pins(&self, deployment: u16, horizon: u32) -> PinSummary {
        self.pins_under(deployment, self.control(deployment), horizon)
    }

    /// Pins that the table has room for.
    #[must_use]
    pub fn pin_capacity(&self) -> u64 {
        if self.maps.node().no_pins != 0 { 0 } else { (self.maps.pins.len() * PINS_PER_BUCKET) as u64 }
    }

    /// Counts a deployment's pins as they would be under another control word.
    #[must_use]
    pub fn pins_under(&self, deployment: u16, control: Control, horizon: u32) -> PinSummary {
        pins::Pins::new(&self.maps).summary(deployment, control, horizon)
    }

    /// Frees the pins whose time is over, of all deployments.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn expire_pins(&mut self, lifetimes: impl Fn(u16) -> Option<Lifetimes>) -> Result<u64, Error> {
        pins::Pins::new(&self.maps).expire(&mut self.grace, lifetimes)
    }

    /// Remembers every pinned SYN of a deployment and drops the pins that are not needed any more. To be
    /// called when base := current has been stored, after a grace period. Returns how many pins stay.
    ///
    /// # Errors
    /// When the kernel refuses the barrier.
    pub fn clear_pins(&mut self, deployment: u16) -> Result<u64, Error> {
        let control = self.control(deployment);
        pins::Pins::new(&self.maps).clear(&mut self.grace, deployment, control)
    }

    /// Forgets the older half of a deployment's SYN memory.
    pub fn rotate(&self, deployment: u16) {
        memory::rotate(&self.maps, deployment);
        self.note(deployment, |ledger| ledger.rotated_at = clock::monotonic());
    }

    /// Share of new connections that the SYN memory takes for known ones.
    #[must_use]
    pub fn false_positive_rate(&self, deployment: u16) -> f64 {
        memory::false_positive_rate(&self.maps, deployment)
    }

    /// Makes every next hop be looked up anew.
    pub fn routes_changed(&self) {
        self.maps.node().route_epoch.fetch_add(1, SeqCst);
    }

    /// Tells the program the hardware addresses that its interfaces have now. With an old one it would take
    /// every frame for somebody else's and leave it to the kernel, which holds the VIPs.
    pub fn interfaces_changed(&self, addresses: &[(u32, [u8; 6])]) {
        for at in 0..self.maps.interfaces.len() {
            let Some(old) = self.maps.interfaces.read(at).filter(|old| old.index != 0) else { continue };
            if let Some((_, mac)) =
                addresses.iter().find(|(index, mac)| *index == old.index && *mac != old.mac)
            {
                tracing::info!(index = old.index, "interface has another hardware address");
                self.maps.interfaces.put(at, Interface { mac: *mac, ..old });
            }
        }
    }

    /// The counters of a service's environment.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn counter(&self, service: u16, environment: Environment) -> Result<Counter, Error> {
        self.counters.service(service, environment)
    }

    /// The counter of a reason.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn reason(&self, reason: Reason) -> Result<Counter, Error> {
        self.counters.reason(reason)
    }

    /// Ticks of the program's clock, for the expiry of SEAL.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        self.maps.ticks()
    }
}
