//! What is: the agent, its deployments, their backends, a drain.

use serde::{Deserialize, Serialize};

use super::{Environment, Phase, State};

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
    /// Prefixes of clients that reach the environment that is not live.
    pub testers: Vec<String>,
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
    /// Its preview, `address:port/protocol`.
    pub preview: Option<String>,
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

/// The SYN memory of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SynMemoryStatus {
    /// Estimated share of new connections that it sends to base by mistake.
    pub false_positive_rate: f64,
    /// Seconds until it covers a whole SYN lifetime; 0 when it does.
    pub complete_in_s: u64,
}
