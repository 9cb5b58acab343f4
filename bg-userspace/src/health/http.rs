//! One HTTP request of a probe, on a connection of its own.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::Body as _,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::filter::Failure;

/// A reply may have so many bytes in its body, and as good as none matter.
const MAX_BODY: u64 = 64 << 10;

/// A reply's head may have so many.
const MAX_HEAD: usize = 16 << 10;

type Connection = http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>;

/// What is asked of one path.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) expect: Option<u16>,
    pub(super) host: Option<String>,
}

/// A connection that asks one question; it outlives the asking, so that it can be closed well even
/// after a time-out in the middle.
pub(super) struct Exchange {
    connection: Connection,
    sender: http1::SendRequest<Empty<Bytes>>,
    finished: bool,
}

impl Exchange {
    pub(super) async fn new(stream: TcpStream) -> Result<Self, Failure> {
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { connection, sender, finished: false })
    }

    /// Sends the request and reads the whole reply.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<(), Failure> {
        let Self { connection, sender, finished } = self;
        let mut reply = pin!(exchange(sender, question));
        poll_fn(|cx| {
            drive(connection, finished, cx);
            reply.as_mut().poll(cx)
        })
        .await
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.connection.into_parts().io.into_inner()
    }
}

/// Moves bytes. The connection's own errors reach the request as well, so they are judged there.
fn drive(connection: &mut Connection, finished: &mut bool, cx: &mut Context<'_>) {
    if !*finished {
        *finished = matches!(connection.poll_without_shutdown(cx), Poll::Ready(_));
    }
}

async fn exchange(sender: &mut http1::SendRequest<Empty<Bytes>>, question: &Question) -> Result<(), Failure> {
    let path = &question.path;
    let fail = |what: String| Failure::new(format!("GET {path}: {what}"));
    let host = question.host.clone();
    let request = Request::get(path.as_str())
        .header(HOST, host.unwrap_or_else(|| question.address.to_string()))
        .header(USER_AGENT, concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| fail(error.to_string()))?;
    let sent = sender.send_request(request).await;
    let reply = sent.map_err(|error| fail(explain(&error)))?;
    let status = reply.status();
    let mut body = reply.into_body();
    let mut left = MAX_BODY;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| fail(explain(&error)))?;
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        left = left.checked_sub(length).ok_or_else(|| fail("reply larger than 64 KiB".into()))?;
        if body.size_hint().lower() > left {
            return Err(fail("reply larger than 64 KiB".into()));
        }
    }
    let wrong = |expected: String| fail(format!("status {}, expected {expected}", status.as_u16()));
    match question.expect {
        Some(expect) if status.as_u16() != expect => Err(wrong(expect.to_string())),
        None if !status.is_success() => Err(wrong("2xx".into())),
        _ => Ok(()),
    }
}

fn explain(error: &hyper::Error) -> String {
    if error.is_parse() {
        "the reply is no HTTP".into()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the connection ended before the reply did".into()
    } else {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text}: {source}");
        }
        text
    }
}
