//! The client's side of one open stream: what is said, what is heard and verified, and the ways to end.

use super::frame::{Banner, answer, block, framed, read};
use crate::lab::{Environment, clock::realtime_ns};
use rustix::net::sockopt::{set_socket_keepalive, set_socket_linger, set_tcp_keepidle, set_tcp_keepintvl};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came back for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Every byte as it should be, from the server of the banner.
    Right,
    /// Another server answered; its name.
    Other(String),
}

/// A connection whose banner was read.
pub(crate) struct Session {
    stream: BufStream<TcpStream>,
    patience: Duration,
    /// What the server said of itself.
    pub(crate) banner: Banner,
    /// The server's environment.
    pub(crate) environment: Environment,
    /// When the last right bytes came.
    pub(crate) since_ns: u64,
}

impl Session {
    /// Reads the banner. No answer may take longer than `patience`, from then on.
    pub(crate) async fn greet(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut stream = BufStream::new(stream);
        let mut line = String::new();
        let length = stream.read_line(&mut line).await?;
        if length == 0 {
            return Err(damaged("closed by the server before its banner"));
        }
        let banner = Banner::parse(&line).ok_or_else(|| damaged(&format!("banner {line:?}")))?;
        let environment = match banner.environment.as_str() {
            "blue" => Environment::Blue,
            "green" => Environment::Green,
            other => return Err(damaged(&format!("environment {other:?}"))),
        };
        Ok(Self { stream, patience, banner, environment, since_ns: realtime_ns() })
    }

    /// Sends the `number`th block.
    pub(crate) async fn say(&mut self, seed: u64, number: u64) -> io::Result<()> {
        self.stream.write_all(&framed(&block(seed, number))?).await?;
        self.stream.flush().await
    }

    /// Reads and verifies the answer to the `number`th block.
    pub(crate) async fn hear(&mut self, seed: u64, number: u64) -> io::Result<Heard> {
        let reply = timeout(self.patience, read(&mut self.stream)).await;
        let reply = reply.map_err(|_| damaged("no answer"))??;
        let reply = reply.ok_or_else(|| damaged("closed by the server"))?;
        if reply == answer(&self.banner.name, &block(seed, number)) {
            self.since_ns = realtime_ns();
            return Ok(Heard::Right);
        }
        let mut lines = reply.split(|byte| *byte == b'\n');
        let name = lines.next().unwrap_or_default();
        if name == self.banner.name.as_bytes() {
            return Err(damaged("a wrong byte"));
        }
        Ok(Heard::Other(String::from_utf8_lossy(name).into_owned()))
    }

    /// Waits for as long as nothing arrives, which is for ever unless something is wrong.
    pub(crate) async fn quiet(&mut self) -> io::Error {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte).await {
            Ok(0) => damaged("closed by the server in its silence"),
            Ok(_) => damaged("a byte that nobody asked for"),
            Err(error) => error,
        }
    }

    /// FIN, then everything up to the server's FIN, which must be nothing.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut byte = [0; 1];
        match timeout(self.patience, self.stream.read(&mut byte)).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(_)) => Err(damaged("a byte after the end")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(damaged("the server did not close")),
        }
    }

    /// RST, as from a program that is killed or has no time for manners.
    pub(crate) fn abort(self) -> io::Result<()> {
        Ok(set_socket_linger(self.stream.get_ref(), Some(Duration::ZERO))?)
    }

    /// For messages: which connection with which server.
    pub(crate) fn name(&self) -> String {
        match self.stream.get_ref().local_addr() {
            Ok(local) => format!("stream of {local} with {}", self.banner.name),
            Err(_) => format!("stream with {}", self.banner.name),
        }
    }
}

/// Sends a probe after every so long in which nothing else came.
pub(crate) fn keep_alive(stream: &TcpStream, every: Duration) -> io::Result<()> {
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, every)?;
    Ok(set_tcp_keepintvl(stream, every)?)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
