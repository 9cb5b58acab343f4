//! The control API: HTTP/1.1 and JSON over a Unix socket. The server turns requests into [`Call`]s,
//! which the agent's one task answers; it knows nothing about routing. The client is what the
//! command line uses.

#![forbid(unsafe_code)]

mod access;
mod body;
pub mod client;
mod connection;
mod listener;
mod routes;
pub mod types;

#[cfg(test)]
mod tests;

use std::{future::Future, path::Path};

use tokio::sync::{mpsc, oneshot};

pub use self::listener::{BindError, Listener};

/// Where the socket is when nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/bluegreen/bgd.sock";

/// The way to the agent's one task.
pub type Handle = mpsc::Sender<Call>;

/// A request on its way to the agent.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub who: Who,
    /// What is asked.
    pub request: Request,
    /// Where the answer goes. The asker may be gone by then.
    pub reply: oneshot::Sender<Result<Response, types::Error>>,
}

/// Who asks, by the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process, if the kernel can name it here.
    pub pid: Option<i32>,
    /// The user's name in `/etc/passwd`, or `uid N`.
    pub name: String,
}

/// What can be asked. Names of deployments are as the asker wrote them; they may not exist.
#[derive(Clone, Debug)]
pub enum Request {
    /// Everything; answered by [`Response::Status`].
    Status,
    /// One deployment; answered by [`Response::Deployment`].
    Deployment {
        /// Its name.
        name: String,
    },
    /// Make the idle environment live; answered by [`Response::Switch`].
    Flip {
        /// The deployment.
        name: String,
        /// How.
        body: types::FlipRequest,
    },
    /// Go back; answered by [`Response::Switch`].
    Rollback {
        /// The deployment.
        name: String,
        /// How.
        body: types::RollbackRequest,
    },
    /// How the drain goes; answered by [`Response::Drain`].
    DrainStatus {
        /// The deployment.
        name: String,
    },
    /// Extend or finish the drain; exactly one of the two is asked. Answered by
    /// [`Response::Drain`].
    Drain {
        /// The deployment.
        name: String,
        /// Which of the two.
        body: types::DrainRequest,
    },
    /// Who did what; answered by [`Response::History`].
    History {
        /// The deployment.
        name: String,
        /// The newest so many entries.
        limit: usize,
    },
    /// Read the configuration file again and follow it; answered by [`Response::Reload`].
    Reload {
        /// How.
        body: types::ReloadRequest,
    },
}

/// The agent's answers.
#[derive(Clone, Debug)]
pub enum Response {
    /// To [`Request::Status`].
    Status(types::Status),
    /// To [`Request::Deployment`].
    Deployment(types::DeploymentStatus),
    /// To [`Request::Flip`] and [`Request::Rollback`].
    Switch(types::SwitchResult),
    /// To [`Request::DrainStatus`] and [`Request::Drain`].
    Drain(types::DrainResult),
    /// To [`Request::History`].
    History(types::HistoryResult),
    /// To [`Request::Reload`].
    Reload(types::ReloadResult),
}

/// Serves the API at `path` until `shutdown` is done: [`Listener::bind`] and [`Listener::serve`] in
/// one. Use the two where it matters to know that the socket is there.
pub async fn serve(
    path: &Path,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), BindError> {
    Listener::bind(path)?.serve(handle, shutdown).await;
    Ok(())
}
