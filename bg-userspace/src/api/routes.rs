//! Paths and methods: from a request to a [`Call`](super::Call), and from the agent's answer to a
//! response. Whatever goes wrong, the body of the response is JSON.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Call, Handle, Request, Who, body,
    types::{Code, DrainRequest, Error, ErrorBody, FlipRequest, ReloadRequest, RollbackRequest},
};

/// How long the agent may think. Its longest act is a switch with its grace period: milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest reason for the record.
const MAX_REASON: usize = 1024;

/// History without a limit: all that is kept.
const ALL_ENTRIES: usize = crate::journal::HISTORY;

type Name = Result<Path<String>, PathRejection>;
type Asker = Extension<Who>;

pub(super) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/deployments/{name}", get(deployment))
        .route("/v1/deployments/{name}/flip", post(flip))
        .route("/v1/deployments/{name}/rollback", post(rollback))
        .route("/v1/deployments/{name}/drain", get(drain_status).post(drain))
        .route("/v1/deployments/{name}/history", get(history))
        .route("/v1/reload", post(reload))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(handle)
}

async fn status(State(agent): State<Handle>, Extension(who): Asker) -> Response {
    respond(ask(&agent, who, Request::Status).await)
}

async fn deployment(State(agent): State<Handle>, Extension(who): Asker, name: Name) -> Response {
    let answer = async { ask(&agent, who, Request::Deployment { name: read_name(name)? }).await };
    respond(answer.await)
}

async fn flip(State(agent): State<Handle>, Extension(who): Asker, name: Name, sent: Body) -> Response {
    let answer = async {
        let name = read_name(name)?;
        let body: FlipRequest = body::read(sent).await?;
        check_reason(body.reason.as_deref())?;
        if !body.share.is_none_or(|share| (1..=100).contains(&share)) {
            let next = "leave it out for all of them; rollback takes them back";
            return Err(error(Code::BadRequest, "the share is no percentage from 1 to 100", next));
        }
        ask(&agent, who, Request::Flip { name, body }).await
    };
    respond(answer.await)
}

async fn rollback(State(agent): State<Handle>, Extension(who): Asker, name: Name, sent: Body) -> Response {
    let answer = async {
        let name = read_name(name)?;
        let body: RollbackRequest = body::read(sent).await?;
        check_reason(body.reason.as_deref())?;
        ask(&agent, who, Request::Rollback { name, body }).await
    };
    respond(answer.await)
}

async fn drain_status(State(agent): State<Handle>, Extension(who): Asker, name: Name) -> Response {
    let answer = async { ask(&agent, who, Request::DrainStatus { name: read_name(name)? }).await };
    respond(answer.await)
}

async fn drain(State(agent): State<Handle>, Extension(who): Asker, name: Name, sent: Body) -> Response {
    let answer = async {
        let name = read_name(name)?;
        let body: DrainRequest = body::read(sent).await?;
        check_reason(body.reason.as_deref())?;
        if body.extend_s.is_some_and(|seconds| seconds > 0) == body.finish {
            return Err(error(
                Code::BadRequest,
                "a drain is either extended or finished",
                "send {\"extend_s\": SECONDS}, at least 1, or {\"finish\": true}",
            ));
        }
        ask(&agent, who, Request::Drain { name, body }).await
    };
    respond(answer.await)
}

async fn history(
    State(agent): State<Handle>,
    Extension(who): Asker,
    name: Name,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = async {
        let (name, limit) = (read_name(name)?, read_limit(query.as_deref())?);
        ask(&agent, who, Request::History { name, limit }).await
    };
    respond(answer.await)
}

async fn reload(State(agent): State<Handle>, Extension(who): Asker, sent: Body) -> Response {
    let answer = async {
        let body: ReloadRequest = body::read(sent).await?;
        check_reason(body.reason.as_deref())?;
        ask(&agent, who, Request::Reload { body }).await
    };
    respond(answer.await)
}

async fn no_such_path() -> Response {
    let next = "the paths begin with /v1/status, /v1/reload and /v1/deployments/NAME";
    respond(Err(error(Code::NotFound, "there is no such path", next)))
}

async fn no_such_method() -> Response {
    let next = "GET reads, POST acts; the header Allow says which";
    let refusal = error(Code::BadRequest, "the path does not take this method", next);
    (StatusCode::METHOD_NOT_ALLOWED, Json(ErrorBody { error: refusal })).into_response()
}

fn read_name(name: Name) -> Result<String, Error> {
    let next = "bgctl status lists the deployments";
    name.map(|Path(name)| name)
        .map_err(|_no_text| error(Code::NotFound, "the deployment's name is no text", next))
}

/// Reads `limit=N`, which may be left out.
fn read_limit(query: Option<&str>) -> Result<usize, Error> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(ALL_ENTRIES) };
    let limit = query.strip_prefix("limit=").and_then(|limit| limit.parse().ok());
    let refusal = || error(Code::BadRequest, "the query does not fit", "ask with ?limit=NUMBER or without");
    limit.filter(|limit| *limit > 0).ok_or_else(refusal)
}

fn check_reason(reason: Option<&str>) -> Result<(), Error> {
    if reason.is_none_or(|reason| reason.len() <= MAX_REASON) {
        return Ok(());
    }
    Err(error(Code::BadRequest, "the reason is longer than 1024 bytes", "write a sentence"))
}

async fn ask(agent: &Handle, who: Who, request: Request) -> Result<super::Response, Error> {
    let exchange = async {
        let (reply, answer) = oneshot::channel();
        let gone = |()| error(Code::Internal, "the agent is shutting down", "try again");
        agent.send(Call { who, request, reply }).await.map_err(|_closed| gone(()))?;
        answer.await.map_err(|_dropped| gone(()))?
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_elapsed| {
        let next = "see what became of it with bgctl status, and look at bgd's log";
        Err(error(Code::Internal, "the agent did not answer within 30 s", next))
    })
}

fn error(code: Code, message: &str, next: &str) -> Error {
    Error { code, guard: None, message: message.to_owned(), next: Some(next.to_owned()), retry_after_s: None }
}

pub(super) fn respond(answer: Result<super::Response, Error>) -> Response {
    match answer {
        Ok(super::Response::Status(status)) => Json(status).into_response(),
        Ok(super::Response::Deployment(deployment)) => Json(deployment).into_response(),
        Ok(super::Response::Switch(switch)) => Json(switch).into_response(),
        Ok(super::Response::Drain(drain)) => Json(drain).into_response(),
        Ok(super::Response::History(history)) => Json(history).into_response(),
        Ok(super::Response::Reload(reload)) => Json(reload).into_response(),
        Err(error) => refuse(error),
    }
}

fn refuse(error: Error) -> Response {
    let status = match error.code {
        Code::Guard | Code::Conflict => StatusCode::CONFLICT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // What is left of such a request on the connection cannot be told from the next request.
    let close = matches!(error.code, Code::TooLarge | Code::Timeout | Code::Forbidden);
    let retry_after = error.retry_after_s;
    let mut response = (status, Json(ErrorBody { error })).into_response();
    let headers = response.headers_mut();
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
