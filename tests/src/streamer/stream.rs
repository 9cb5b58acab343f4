//! One client of the stream service: opens a connection, sends blocks, verifies every byte that
//! comes back and who sent it, and ends with FINs both ways.

use super::frame::{Banner, answer, block, framed, read};
use super::load::Orders;
use super::tally::{End, Tally};
use crate::lab::Environment;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long an answer may take. Longer than several retransmissions: a lost packet is no failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(2);

/// What one client does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) source: Option<IpAddr>,
    pub(super) target: SocketAddr,
    pub(super) seed: u64,
    /// Between two blocks.
    pub(super) pace: Duration,
    /// Sends nothing but keepalive probes from its third block until it is told to speak.
    pub(super) silent: bool,
    /// Ends by itself after so long; without it, on order.
    pub(super) life: Option<Duration>,
}

/// Runs one client to its end and counts how it ended.
pub(super) async fn run(plan: Plan, tally: &Tally, mut orders: watch::Receiver<Orders>) {
    let opened = match timeout(PATIENCE, open(&plan)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tally.fail(format!("open a stream to {}: {error}", plan.target)),
        Err(_) => return tally.fail(format!("open a stream to {}: no answer", plan.target)),
    };
    let (mut stream, banner, environment) = opened;
    tally.open_one(environment);
    let end = match converse(&plan, &mut stream, &banner, environment, tally, &mut orders).await {
        Ok(None) => match close(&mut stream).await {
            Ok(()) => End::Kept,
            Err(error) => End::Broken(format!("{}: closing: {error}", name(&stream, &banner))),
        },
        Ok(Some(other)) => End::Moved(format!("{}: answered by {other}", name(&stream, &banner))),
        Err(error) => End::Broken(format!("{}: {error}", name(&stream, &banner))),
    };
    tally.close_one(environment, &end);
}

type Stream = BufStream<TcpStream>;

async fn open(plan: &Plan) -> io::Result<(Stream, Banner, Environment)> {
    let stream = connect(plan.source, plan.target).await?;
    stream.set_nodelay(true)?;
    if plan.silent {
        set_socket_keepalive(&stream, true)?;
        set_tcp_keepidle(&stream, PROBE)?;
        set_tcp_keepintvl(&stream, PROBE)?;
    }
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let banner = Banner::parse(&line).ok_or_else(|| damaged(&format!("banner {line:?}")))?;
    let environment = match banner.environment.as_str() {
        "blue" => Environment::Blue,
        "green" => Environment::Green,
        other => return Err(damaged(&format!("environment {other:?}"))),
    };
    Ok((stream, banner, environment))
}

/// Opens a connection from `source`, the kernel's choice if absent.
pub(super) async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await
}

/// Sends and verifies blocks until it is time to end. The name of another server that answered is
/// returned; everything else that is wrong is an error.
async fn converse(
    plan: &Plan,
    stream: &mut Stream,
    banner: &Banner,
    environment: Environment,
    tally: &Tally,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<Option<String>> {
    let end = plan.life.map(|life| Instant::now() + life);
    for number in 0.. {
        let wanted = *orders.borrow_and_update();
        if wanted.ends(environment) || end.is_some_and(|end| Instant::now() >= end) {
            return Ok(None);
        }
        if plan.silent && number >= 3 && !wanted.speak {
            silence(stream, orders).await?;
            continue;
        }
        let bytes = block(plan.seed, number);
        stream.write_all(&framed(&bytes)?).await?;
        stream.flush().await?;
        let reply = timeout(PATIENCE, read(stream)).await;
        let reply = reply.map_err(|_| damaged("no answer"))??;
        let reply = reply.ok_or_else(|| damaged("closed by the server"))?;
        if reply != answer(&banner.name, &bytes) {
            return differs(&reply, banner);
        }
        tally.answer(environment);
        tokio::select! {
            () = sleep(plan.pace) => {}
            changed = orders.changed() => changed.map_err(io::Error::other)?,
        }
    }
    Ok(None)
}

/// Waits for the next order while nothing may arrive: a byte or an end of the stream is an error.
async fn silence(stream: &mut Stream, orders: &mut watch::Receiver<Orders>) -> io::Result<()> {
    let mut byte = [0; 1];
    tokio::select! {
        changed = orders.changed() => changed.map_err(io::Error::other),
        read = stream.read(&mut byte) => Err(match read {
            Ok(0) => damaged("closed by the server in its silence"),
            Ok(_) => damaged("a byte that nobody asked for"),
            Err(error) => error,
        }),
    }
}

fn differs(reply: &[u8], banner: &Banner) -> io::Result<Option<String>> {
    let name = reply.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if name == banner.name.as_bytes() {
        return Err(damaged("a wrong byte"));
    }
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

/// FIN, then everything up to the server's FIN, which must be nothing.
async fn close(stream: &mut Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut byte = [0; 1];
    match timeout(PATIENCE, stream.read(&mut byte)).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(_)) => Err(damaged("a byte after the end")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(damaged("the server did not close")),
    }
}

fn name(stream: &Stream, banner: &Banner) -> String {
    match stream.get_ref().local_addr() {
        Ok(local) => format!("stream of {local} with {}", banner.name),
        Err(_) => format!("stream with {}", banner.name),
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
