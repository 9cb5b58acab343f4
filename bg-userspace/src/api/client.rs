//! The client of the control API, for the command line.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::types::{
    DeploymentStatus, DrainRequest, DrainResult, Error, ErrorBody, FlipRequest, HistoryResult, ReloadRequest,
    ReloadResult, RollbackRequest, Status, SwitchResult,
};

/// A little longer than the agent allows itself, so that its own word arrives.
const PATIENCE: Duration = Duration::from_secs(40);

/// An answer has some hundred bytes for every backend.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers at {}: {source}", socket.display())]
    NoAgent {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens, and this user may not connect.
    #[error("this user may not connect to {}", .0.display())]
    Denied(PathBuf),
    /// The agent refused.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The conversation failed in the middle; what was asked may have been done.
    #[error("the answer from {} did not come: {what}", socket.display())]
    Broken {
        /// The other end.
        socket: PathBuf,
        /// What happened.
        what: String,
    },
}

impl ClientError {
    /// What to do about it.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::NoAgent { .. } => Some(
                "start bgd, or name its socket with --socket or BGCTL_SOCKET; traffic flows without \
                 it"
                .to_owned(),
            ),
            Self::Denied(_) => Some("run it as root, or in the socket's group".to_owned()),
            Self::Refused(error) => error.next.clone(),
            Self::Broken { .. } => Some("see what became of it with bgctl status".to_owned()),
        }
    }
}

type Answer<T> = Result<T, ClientError>;

/// Asks an agent; every question goes over a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client for the agent at this socket. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where the agent is looked for.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Everything.
    pub async fn status(&self) -> Answer<Status> {
        self.get("/v1/status").await
    }

    /// One deployment.
    pub async fn deployment(&self, name: &str) -> Answer<DeploymentStatus> {
        self.get(&path(name, "")).await
    }

    /// Makes the idle environment live.
    pub async fn flip(&self, name: &str, body: &FlipRequest) -> Answer<SwitchResult> {
        self.post(&path(name, "/flip"), body).await
    }

    /// Goes back.
    pub async fn rollback(&self, name: &str, body: &RollbackRequest) -> Answer<SwitchResult> {
        self.post(&path(name, "/rollback"), body).await
    }

    /// How the drain goes.
    pub async fn drain_status(&self, name: &str) -> Answer<DrainResult> {
        self.get(&path(name, "/drain")).await
    }

    /// Extends or finishes the drain.
    pub async fn drain(&self, name: &str, body: &DrainRequest) -> Answer<DrainResult> {
        self.post(&path(name, "/drain"), body).await
    }

    /// Who did what: the newest `limit` entries.
    pub async fn history(&self, name: &str, limit: usize) -> Answer<HistoryResult> {
        self.get(&path(name, &format!("/history?limit={limit}"))).await
    }

    /// Has the agent read its configuration file again.
    pub async fn reload(&self, body: &ReloadRequest) -> Answer<ReloadResult> {
        self.post("/v1/reload", body).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Answer<T> {
        let exchange = self.exchange(method, path, body);
        let late = format!("no answer within {} s", PATIENCE.as_secs());
        let answer = timeout(PATIENCE, exchange).await;
        let (status, bytes) = answer.map_err(|_elapsed| self.broken(&late))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.broken(&error));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(body.error.into()),
            Err(_no_error) => Err(self.broken(&format!("HTTP status {status} without a reason"))),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Answer<(StatusCode, Bytes)> {
        let stream = self.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken(&error))?;
        // Its errors reach the request too. It ends with the request, because of the header below.
        let _connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "bgd")
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.broken(&error))?;
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self) -> Answer<UnixStream> {
        UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Denied(socket),
                _ => ClientError::NoAgent { socket, source },
            }
        })
    }

    fn broken(&self, what: &impl ToString) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), what: what.to_string() }
    }
}

/// The path of a deployment. The name may be anything that somebody typed.
fn path(name: &str, act: &str) -> String {
    let mut path = String::from("/v1/deployments/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            path.push(char::from(byte));
        } else {
            path.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    path + act
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_one_segment_of_the_path() {
        assert_eq!(path("shop", "/flip"), "/v1/deployments/shop/flip");
        assert_eq!(path("../a b?", ""), "/v1/deployments/%2E%2E%2Fa%20b%3F");
    }
}
