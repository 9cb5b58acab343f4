//! One connection: who it is, and their requests one after the other.

use std::{convert::Infallible, path::Path, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::UnixStream, sync::watch};
use tower::ServiceExt as _;

use super::{Who, access, routes, types::Error};

/// How long a request's head may take to arrive, and how long a connection may idle.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A request's head may have so many bytes.
const MAX_HEAD: usize = 16 << 10;

/// Serves a connection until it ends, or until `closing` ends and its current request is answered.
pub(super) async fn serve(
    stream: UnixStream,
    router: Router,
    socket: Arc<Path>,
    mut closing: watch::Receiver<()>,
) {
    let who = match access::identify(&stream) {
        Ok(who) => who,
        Err(error) => {
            tracing::warn!(%error, "api: a connection without credentials was closed");
            return;
        }
    };
    let access = access::check(&who, &socket);
    if access.is_err() {
        tracing::warn!(uid = who.uid, gid = who.gid, pid = who.pid, "api: a peer was refused");
    }
    let service =
        service_fn(|request: Request<Incoming>| answer(request, router.clone(), who.clone(), access.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        // Nothing is ever sent: this ends when the listener is told to stop.
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "api: a connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    who: Who,
    access: Result<(), Error>,
) -> Result<Response, Infallible> {
    if let Err(refusal) = access {
        return Ok(routes::respond(Err(refusal)));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(who);
    router.oneshot(request).await
}
