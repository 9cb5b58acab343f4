//! One client of the stream service: opens a connection, sends blocks, verifies every byte that
//! comes back and who sent it, and ends with FINs both ways.

use super::frame::{Banner, answer, block, framed, read};
use super::load::Orders;
use super::tally::{End, Tally};
use crate::lab::{Environment, clock::realtime_ns};
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
pub(super) async fn run(plan: Plan, tally: &Tally, orders: watch::Receiver<Orders>) {
    let began = realtime_ns();
    let error = match timeout(PATIENCE, Session::open(&plan)).await {
        Ok(Ok(session)) => return session.run(&plan, tally, orders).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    tally.fail(began, format!("open a stream to {}: {error}", plan.target));
}

/// A connection whose banner was read.
struct Session {
    stream: BufStream<TcpStream>,
    banner: Banner,
    environment: Environment,
    /// When the last right bytes came.
    since_ns: u64,
}

impl Session {
    async fn open(plan: &Plan) -> io::Result<Self> {
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
        Ok(Self { stream, banner, environment, since_ns: realtime_ns() })
    }

    async fn run(mut self, plan: &Plan, tally: &Tally, mut orders: watch::Receiver<Orders>) {
        tally.open_one(self.environment);
        let end = match self.converse(plan, tally, &mut orders).await {
            Ok(None) => match self.close().await {
                Ok(()) => End::Kept,
                Err(error) => End::Broken(format!("{}: closing: {error}", self.name())),
            },
            Ok(Some(other)) => End::Moved(format!("{}: answered by {other}", self.name())),
            Err(error) => End::Broken(format!("{}: {error}", self.name())),
        };
        tally.close_one(self.environment, self.since_ns, &end);
    }

    /// Sends and verifies blocks until it is time to end. The name of another server that answered
    /// is returned; everything else that is wrong is an error.
    async fn converse(
        &mut self,
        plan: &Plan,
        tally: &Tally,
        orders: &mut watch::Receiver<Orders>,
    ) -> io::Result<Option<String>> {
        let end = plan.life.map(|life| Instant::now() + life);
        for number in 0.. {
            let wanted = *orders.borrow_and_update();
            let over = end.is_some_and(|end| Instant::now() >= end);
            if over || wanted.ends(self.environment) {
                break;
            }
            if plan.silent && number >= 3 && !wanted.speak {
                self.be_silent(orders).await?;
                continue;
            }
            let bytes = block(plan.seed, number);
            self.stream.write_all(&framed(&bytes)?).await?;
            self.stream.flush().await?;
            let reply = timeout(PATIENCE, read(&mut self.stream)).await;
            let reply = reply.map_err(|_| damaged("no answer"))??;
            let reply = reply.ok_or_else(|| damaged("closed by the server"))?;
            if reply != answer(&self.banner.name, &bytes) {
                return self.differs(&reply);
            }
            tally.answer(self.environment);
            self.since_ns = realtime_ns();
            tokio::select! {
                () = sleep(plan.pace) => {}
                changed = orders.changed() => changed.map_err(io::Error::other)?,
            }
        }
        Ok(None)
    }

    /// Waits for the next order. Nothing may arrive meanwhile: a byte or an end is an error.
    async fn be_silent(&mut self, orders: &mut watch::Receiver<Orders>) -> io::Result<()> {
        let mut byte = [0; 1];
        tokio::select! {
            changed = orders.changed() => changed.map_err(io::Error::other),
            read = self.stream.read(&mut byte) => Err(match read {
                Ok(0) => damaged("closed by the server in its silence"),
                Ok(_) => damaged("a byte that nobody asked for"),
                Err(error) => error,
            }),
        }
    }

    fn differs(&self, reply: &[u8]) -> io::Result<Option<String>> {
        let mut lines = reply.split(|byte| *byte == b'\n');
        let name = lines.next().unwrap_or_default();
        if name == self.banner.name.as_bytes() {
            return Err(damaged("a wrong byte"));
        }
        Ok(Some(String::from_utf8_lossy(name).into_owned()))
    }

    /// FIN, then everything up to the server's FIN, which must be nothing.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut byte = [0; 1];
        match timeout(PATIENCE, self.stream.read(&mut byte)).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(_)) => Err(damaged("a byte after the end")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(damaged("the server did not close")),
        }
    }

    fn name(&self) -> String {
        match self.stream.get_ref().local_addr() {
            Ok(local) => format!("stream of {local} with {}", self.banner.name),
            Err(_) => format!("stream with {}", self.banner.name),
        }
    }
}

/// Opens a connection from `source`, the kernel's choice if absent.
pub(super) async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
