//! What is asked to be done, and the answers.

use serde::{Deserialize, Serialize};

use super::{DrainStatus, Environment, State};

/// Body of `POST /v1/deployments/{d}/flip`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlipRequest {
    /// The environment to make live; the idle one if absent.
    pub to: Option<Environment>,
    /// Percent of new connections that it shall get, 1 to 100; all if absent. A later flip raises it.
    pub share: Option<u8>,
    /// Guards to override, by name.
    pub force: Vec<String>,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Only say whether it would be refused.
    pub dry_run: bool,
    /// Refuse with `conflict` unless the deployment is at this generation: nobody was faster.
    pub if_generation: Option<u32>,
}

/// Body of `POST /v1/deployments/{d}/rollback`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackRequest {
    /// Guards to override, by name.
    pub force: Vec<String>,
    /// Why, for the record.
    pub reason: Option<String>,
}

/// Answer of flip and rollback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwitchResult {
    /// The deployment.
    pub deployment: String,
    /// False when the environment was live already, or in a dry run.
    pub changed: bool,
    /// The environment that was live before.
    pub from: Environment,
    /// The environment that is live now, or gets a share of the new connections.
    pub to: Environment,
    /// Percent of new connections that go to `to`; absent when all do.
    pub share: Option<u8>,
    /// The generation after the store.
    pub generation: u32,
    /// Whether `rollback` would undo this now: a flip drains.
    pub rollback_possible: bool,
    /// How long the one store took, nanoseconds.
    pub store_ns: u64,
    /// `CLOCK_REALTIME` right after the store returned, nanoseconds since 1970.
    pub stored_at_ns: u64,
    /// How long the wait for processors with the older word took, milliseconds.
    pub grace_ms: f64,
}

/// Body of `POST /v1/deployments/{d}/drain`; exactly one of the two acts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    /// Move the deadline by so many seconds.
    pub extend_s: Option<u64>,
    /// End the drain now; what is still open is closed.
    pub finish: bool,
    /// Why, for the record.
    pub reason: Option<String>,
}

/// Answer of `GET` and `POST /v1/deployments/{d}/drain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrainResult {
    /// The deployment.
    pub deployment: String,
    /// What the operator sees.
    pub state: State,
    /// The generation.
    pub generation: u32,
    /// The environment that new connections go to.
    pub live: Environment,
    /// The drain, while there is one.
    pub drain: Option<DrainStatus>,
    /// How the last operation ended, in a sentence.
    pub last: Option<String>,
}

/// Body of `POST /v1/reload`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadRequest {
    /// Why, for the record.
    pub reason: Option<String>,
}

/// Answer of `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReloadResult {
    /// What is different now, in sentences; empty when the file asks for nothing new.
    pub changed: Vec<String>,
}
