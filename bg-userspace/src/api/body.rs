//! Request bodies: bounded in bytes and in time, JSON, and nothing in them that nobody knows.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::types::{Code, Error};

/// The largest body.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// A larger body is read on up to here, so that its sender gets to read the refusal.
const MAX_DISCARDED: usize = 1 << 20;

/// How long a body may take to arrive.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body; an empty one asks for the defaults.
pub(super) async fn read<T: DeserializeOwned + Default>(body: Body) -> Result<T, Error> {
    let bytes = tokio::time::timeout(PATIENCE, collect(body)).await.map_err(|_elapsed| {
        let seconds = PATIENCE.as_secs();
        refusal(
            Code::Timeout,
            format!("the body did not end within {seconds} s"),
            "send it whole, with its right length",
        )
    })??;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    parse(&bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| {
        let message = format!("the body is no JSON: {error}");
        refusal(Code::BadRequest, message, "send one JSON object")
    })?;
    // A list would pass for an object with its fields in order, which nobody means.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let message = "the body does not fit: it is no object".to_owned();
        return Err(refusal(Code::BadRequest, message, "send one JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body does not fit: {error}");
        refusal(Code::BadRequest, message, "use only the fields that are documented")
    })
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body broke off: {error}");
            refusal(Code::BadRequest, message, "send it whole, with its right length")
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        total += data.len();
        if total <= MAX_BYTES {
            bytes.extend_from_slice(data);
        } else if total > MAX_DISCARDED {
            break;
        }
    }
    if total > MAX_BYTES {
        let message = "the body is larger than 64 KiB".to_owned();
        return Err(refusal(Code::TooLarge, message, "send less; a reason is a sentence"));
    }
    Ok(bytes)
}

fn refusal(code: Code, message: String, next: &str) -> Error {
    Error { code, guard: None, message, next: Some(next.to_owned()), retry_after_s: None }
}
