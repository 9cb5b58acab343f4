//! What the journal holds: intent, what the kernel held when it was last known, and history. Its JSON is the
//! body of the file; a field that is not known is refused.

use std::net::SocketAddr;

use bg_common::abi::BackendId;
use bg_common::control::Environment;
use serde::{Deserialize, Serialize};

use super::{RingId, text};

/// History keeps so many entries of each deployment.
pub const HISTORY: usize = 1000;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The key of the hash that turns a connection into a slot. Another key would move connections.
    #[serde(with = "text::key")]
    pub key: [u64; 4],
    /// `/proc/sys/kernel/random/boot_id` when this was written: another one now means a reboot since.
    pub boot_id: String,
    /// Every deployment that is installed.
    pub deployments: Vec<DeploymentRecord>,
    /// Who did what, oldest first.
    pub history: Vec<Entry>,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentRecord {
    /// Its name.
    pub name: String,
    /// Its place in `CONTROL`.
    pub index: u16,
    /// Its services.
    pub services: Vec<ServiceRecord>,
    /// The last control word that is known to have been stored.
    #[serde(with = "text::word")]
    pub word: u64,
    /// Written before the store that carries it out; absent when nothing is under way.
    pub intent: Option<Intent>,
    /// Why the deployment is not steady, as the ledger in the kernel has it.
    pub motive: u32,
    /// When the last switch of environments was, `CLOCK_REALTIME`, milliseconds since 1970.
    pub switched_at: u64,
    /// When its drain ends whatever is open, `CLOCK_REALTIME`, milliseconds since 1970; 0 for never.
    pub deadline_at: u64,
    /// Percent of new connections that go to the environment that is being introduced; 0 or 100 when all
    /// go to one.
    pub share: u8,
}

/// A store that is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The word that will be stored.
    #[serde(with = "text::word")]
    pub word: u64,
    /// The entry in the history that it belongs to.
    pub entry: Option<u64>,
    /// The motive that comes with it.
    pub motive: u32,
    /// The share that comes with it.
    pub share: u8,
    /// It is a switch between environments, which ends what was under way before.
    pub switches: bool,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRecord {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u16,
    /// Where clients connect to.
    pub vip: SocketAddr,
    /// Slots of a ring.
    pub ring_size: u32,
    /// Where its rings begin in `RINGS`.
    pub ring_base: u32,
    /// Its backends, those that leave included.
    pub backends: Vec<BackendRecord>,
    /// The contents of its three ring slots; absent where nothing was written.
    pub rings: [Option<RingId>; 3],
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendRecord {
    /// Its place in `BACKENDS`, which is what rings and pins hold.
    pub id: BackendId,
    /// Blue or green.
    #[serde(with = "text::environment")]
    pub environment: Environment,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of slots, 100 for an ordinary one.
    pub weight: u16,
    /// No longer configured; kept until no connection can be on it.
    pub leaving: bool,
    /// Its pins are void and its slots are given away.
    pub dead: bool,
}

/// What somebody did, or the agent by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, which grows.
    pub id: u64,
    /// The deployment.
    pub deployment: String,
    /// When, `CLOCK_REALTIME`, milliseconds since 1970.
    pub at_ms: u64,
    /// The user, by the kernel's word; absent for the agent itself.
    pub uid: Option<u32>,
    /// The user's name; `bgd` for the agent itself.
    pub who: String,
    /// What, in a phrase: `flip to green`.
    pub what: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// The generation before it.
    pub generation: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, `CLOCK_REALTIME`, milliseconds since 1970.
    pub ended_at_ms: Option<u64>,
    /// More about how it ended, in a sentence.
    pub text: Option<String>,
}

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet.
    Pending,
    /// As it was meant.
    Done,
    /// The agent ended before the store: nothing was changed.
    NotCarriedOut,
    /// A rollback took it back.
    RolledBack,
    /// The next act began before it was over.
    Ended,
    /// It could not be done.
    Failed,
}

impl Record {
    /// The number for the next entry.
    #[must_use]
    pub fn next_entry(&self) -> u64 {
        self.history.iter().map(|entry| entry.id).max().map_or(1, |id| id.saturating_add(1))
    }

    /// Adds an entry, and lets go of the deployment's oldest one if it has too many.
    pub fn remember(&mut self, entry: Entry) {
        let of_deployment = |other: &Entry| other.deployment == entry.deployment;
        if self.history.iter().filter(|other| of_deployment(other)).count() >= HISTORY
            && let Some(oldest) = self.history.iter().position(of_deployment)
        {
            self.history.remove(oldest);
        }
        self.history.push(entry);
    }

    /// An entry by its number.
    pub fn entry_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.history.iter_mut().rfind(|entry| entry.id == id)
    }

    /// The entries of a deployment, newest first.
    pub fn history_of<'r>(&'r self, deployment: &'r str) -> impl Iterator<Item = &'r Entry> {
        self.history.iter().rev().filter(move |entry| entry.deployment == deployment)
    }

    /// Every ring that is named.
    pub(super) fn rings(&self) -> impl Iterator<Item = RingId> {
        let services = self.deployments.iter().flat_map(|deployment| &deployment.services);
        services.flat_map(|service| service.rings).flatten()
    }
}
