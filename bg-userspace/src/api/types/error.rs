//! How a request is refused.

use serde::{Deserialize, Serialize};

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
