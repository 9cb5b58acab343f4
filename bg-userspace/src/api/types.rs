//! The JSON of the control API, version 1: what `bgd` says and what `bgctl` asks. Times are in the
//! unit that the name ends with; ages count from now, so that no clock has to agree. Only history tells
//! points in time, which it has to keep.

use serde::{Deserialize, Serialize};

pub use crate::journal::Outcome;

/// One of the two environments of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// The first of the two.
    Blue,
    /// The second of the two.
    Green,
}

/// What the operator sees of a deployment's life; see the state machine in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is going on: one environment is live, nothing drains.
    Idle,
    /// The idle environment gets a share of the new connections; the live one keeps the rest.
    Shifting,
    /// A flip has happened; the old environment finishes its connections.
    Draining,
    /// A rollback has happened; the environment that was tried finishes its connections.
    RollingBack,
}

/// The kernel's word on routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No pins; every packet goes by the base ring.
    Steady,
    /// Pins are looked up; new connections go to the current ring.
    Drain,
    /// The environment that is being left is closed for one last count.
    Seal,
}

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// How long the agent has run, seconds.
    pub uptime_s: u64,
    /// Interfaces that carry the program, with the mode of attachment.
    pub interfaces: Vec<InterfaceStatus>,
    /// Every deployment, by name.
    pub deployments: Vec<DeploymentStatus>,
    /// Things an operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// One interface that carries the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
}

/// One deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentStatus {
    /// Its name.
    pub name: String,
    /// What the operator sees.
    pub state: State,
    /// The kernel's word.
    pub phase: Phase,
    /// Grows by one with every stored control word.
    pub generation: u32,
    /// The environment that new connections go to; while they are shared, the one that had all of them.
    pub live: Environment,
    /// Percent of new connections that go to the other environment, while they are shared.
    pub share: Option<u8>,
    /// Both environments, blue first.
    pub environments: Vec<EnvironmentStatus>,
    /// Its services, by name.
    pub services: Vec<ServiceStatus>,
    /// The drain, while there is one.
    pub drain: Option<DrainStatus>,
    /// The SYN memory.
    pub syn_memory: SynMemoryStatus,
    /// Things an operator should know, in sentences.
    pub warnings: Vec<String>,
    /// How the last operation ended, in a sentence.
    pub last: Option<String>,
}

/// One environment of a deployment, over all services.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// Which one.
    pub environment: Environment,
    /// Backends that pass their checks.
    pub healthy: u32,
    /// Backends in all.
    pub backends: u32,
    /// Connections opened (SYNs forwarded) since the program was first loaded.
    pub connections: u64,
    /// Packets forwarded since the program was first loaded.
    pub packets: u64,
    /// Every backend.
    pub members: Vec<BackendStatus>,
}

/// One backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendStatus {
    /// The service it serves.
    pub service: String,
    /// `address:port`.
    pub address: String,
    /// `healthy`, `unhealthy`, `dead` or `unknown`.
    pub health: String,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// Its weight among the backends of its environment, 100 for an ordinary one; 0 takes no new connection.
    pub weight: u16,
    /// No longer configured: it keeps the connections that it has.
    pub leaving: bool,
    /// SYNs forwarded to it since the program was first loaded.
    pub syns: u64,
    /// SYN-ACKs that came back from it through this node.
    pub syn_acks: u64,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `address:port/protocol`.
    pub vip: String,
    /// `nat`.
    pub mode: String,
}

/// A drain that is going on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The environment that is being left.
    pub leaving: Environment,
    /// Since when, seconds.
    pub age_s: u64,
    /// Flows of the leaving environment that were seen and are not over.
    pub flows: u64,
    /// Flows of the leaving environment that were seen since the switch, ended ones included.
    pub seen: u64,
    /// Seconds since the last of them was seen; absent when none was.
    pub last_seen_s: Option<u64>,
    /// Pins held in all, half-open ones included.
    pub pins: u64,
    /// Connections that entered the leaving environment after the switch because a pin could not be
    /// written or the SYN memory erred towards it.
    pub overflow: u64,
    /// A flow not seen for this long counts as gone, seconds.
    pub idle_horizon_s: u64,
    /// Seconds until the deadline; absent when there is none.
    pub deadline_s: Option<u64>,
    /// What the drain waits for, in a sentence.
    pub waiting_for: String,
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

/// The SYN memory of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SynMemoryStatus {
    /// Estimated share of new connections that it sends to base by mistake.
    pub false_positive_rate: f64,
    /// Seconds until it covers a whole SYN lifetime; 0 when it does.
    pub complete_in_s: u64,
}

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

/// Answer of `GET /v1/deployments/{d}/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryResult {
    /// The deployment.
    pub deployment: String,
    /// What was done, newest first.
    pub entries: Vec<HistoryEntry>,
}

/// What somebody did, or the agent by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its number, which grows.
    pub id: u64,
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

/// The `error` object of every refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of refusal.
    pub code: Code,
    /// The guard that refused, when `code` is `guard`.
    pub guard: Option<String>,
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
    /// When trying again makes sense, seconds.
    pub retry_after_s: Option<u64>,
}

/// Kinds of refusal; the HTTP status and the exit code follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A guard refused; nothing changed (409, exit 3).
    Guard,
    /// Somebody else was first (409, exit 8).
    Conflict,
    /// No such deployment or path (404, exit 7).
    NotFound,
    /// The request makes no sense (400, exit 2).
    BadRequest,
    /// The body is too large (413, exit 1).
    TooLarge,
    /// The request did not end in time (408, exit 1).
    Timeout,
    /// The peer may not do this (403, exit 1).
    Forbidden,
    /// The agent failed (500, exit 1).
    Internal,
}

/// The envelope around [`Error`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: Error,
}
