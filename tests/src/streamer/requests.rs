//! Short HTTP: clients that note when a request failed and who answered it, which a load generator
//! that only sums up at its end cannot tell.

use super::load::{Http, Orders, Sources};
use super::stream::{PATIENCE, connect};
use super::tally::Tally;
use crate::lab::{Environment, clock::realtime_ns};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const REQUESTS_PER_CONNECTION: u32 = 100;
const LONGEST: usize = 16 * 1024;

pub(super) fn start(
    http: &Http,
    sources: &mut Sources,
    tasks: &mut JoinSet<()>,
    tally: &Arc<Tally>,
    orders: &watch::Receiver<Orders>,
) {
    for number in 0..http.keep_alive + http.closing {
        let client = Client {
            source: sources.next(),
            target: http.target,
            requests: if number < http.keep_alive { REQUESTS_PER_CONNECTION } else { 1 },
            pace: http.pace,
        };
        let (tally, orders) = (Arc::clone(tally), orders.clone());
        tasks.spawn(async move { client.run(&tally, orders).await });
    }
}

struct Client {
    source: Option<IpAddr>,
    target: SocketAddr,
    requests: u32,
    pace: Duration,
}

impl Client {
    async fn run(&self, tally: &Tally, orders: watch::Receiver<Orders>) {
        while !orders.borrow().stop {
            let mut since = realtime_ns();
            if let Err(error) = self.connection(tally, &orders, &mut since).await {
                tally.fail(since, format!("request to {}: {error}", self.target));
                sleep(self.pace).await;
            }
        }
    }

    /// One connection of so many requests, ended by FINs both ways.
    async fn connection(
        &self,
        tally: &Tally,
        orders: &watch::Receiver<Orders>,
        since: &mut u64,
    ) -> io::Result<()> {
        let connected = timeout(PATIENCE, connect(self.source, self.target)).await;
        let mut stream = connected.map_err(|_| wrong("no connection"))??;
        stream.set_nodelay(true)?;
        for left in (0..self.requests).rev() {
            let last = left == 0 || orders.borrow().stop;
            let answer = timeout(PATIENCE, request(&mut stream, last)).await;
            tally.answer(answer.map_err(|_| wrong("no answer"))??);
            *since = realtime_ns();
            sleep(self.pace).await;
            if last {
                break;
            }
        }
        // The server closes after the last answer; ours comes after its.
        let mut byte = [0; 1];
        match timeout(PATIENCE, stream.read(&mut byte)).await {
            Ok(Ok(0)) => stream.shutdown().await,
            Ok(Ok(_)) => Err(wrong("a byte after the last answer")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(wrong("the server did not close")),
        }
    }
}

/// One request; the environment that the answer names.
async fn request(stream: &mut TcpStream, last: bool) -> io::Result<Environment> {
    let connection = if last { "close" } else { "keep-alive" };
    let head = format!("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = parse(&bytes)? {
            return Ok(answer);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(wrong("closed in mid-answer"));
        }
        if bytes.len() > LONGEST {
            return Err(wrong("an answer that does not end"));
        }
    }
}

/// The environment named in the body, once the answer is complete.
fn parse(bytes: &[u8]) -> io::Result<Option<Environment>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(wrong(head.lines().next().unwrap_or_default()));
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length: usize = fields
        .find(|(name, _)| *name == "content-length")
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| wrong("an answer without a length"))?;
    let body = &bytes[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    if body.len() > length {
        return Err(wrong("more bytes than announced"));
    }
    if body.starts_with(b"blue ") {
        Ok(Some(Environment::Blue))
    } else if body.starts_with(b"green ") {
        Ok(Some(Environment::Green))
    } else {
        Err(wrong("an answer of neither environment"))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_when_it_is_complete_and_names_its_environment() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nblue v1\n";
        assert_eq!(parse(whole).unwrap(), Some(Environment::Blue));
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap(), None);
        assert!(parse(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").is_err());
    }
}
