//! The JSON of the control API, version 1: what `bgd` says and what `bgctl` asks. Times are in the
//! unit that the name ends with; ages count from now, so that no clock has to agree. Only history tells
//! points in time, which it has to keep.

mod acts;
mod error;
mod history;
mod status;

use serde::{Deserialize, Serialize};

pub use self::acts::{
    DrainRequest, DrainResult, FlipRequest, ReloadRequest, ReloadResult, RollbackRequest, SwitchResult,
};
pub use self::error::{Code, Error, ErrorBody};
pub use self::history::{HistoryEntry, HistoryResult};
pub use self::status::{
    BackendStatus, DeploymentStatus, DrainStatus, EnvironmentStatus, InterfaceStatus, ServiceStatus, Status,
    SynMemoryStatus,
};
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
