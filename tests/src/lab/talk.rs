//! One connection at a time to the stream service, for tests that ask which backend a client reaches.

use super::stage::Stage;
use crate::streamer::frame::{Banner, LONGEST, answer, block, framed};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes longer: several retransmissions.
const PATIENCE: Duration = Duration::from_secs(15);

/// An open connection whose server has said who it is.
pub struct Talk {
    stream: TcpStream,
    banner: Banner,
    said: u64,
}

/// Opens so many connections from this client.
pub fn open(stage: &Stage, client: IpAddr, to: SocketAddr, count: usize) -> Result<Vec<Talk>> {
    stage.topology.client.inside(move || (0..count).map(|_| Talk::open(client, to)).collect())?
}

impl Talk {
    fn open(client: IpAddr, to: SocketAddr) -> Result<Self> {
        let domain =
            if to.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
        let socket =
            rustix::net::socket(domain, rustix::net::SocketType::STREAM, None).context("make a socket")?;
        rustix::net::bind(&socket, &SocketAddr::new(client, 0))
            .with_context(|| format!("bind to {client}"))?;
        rustix::net::connect(&socket, &to).with_context(|| format!("connect {client} to {to}"))?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte).with_context(|| format!("read what {to} says of itself"))?;
            line.extend(byte);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let banner = Banner::parse(&line).with_context(|| format!("banner {line:?}"))?;
        Ok(Self { stream, banner, said: 0 })
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.banner.name
    }

    /// Says something, and hears the right answer from the server of the beginning.
    pub fn turn(&mut self) -> Result<()> {
        self.said += 1;
        self.say(&block(7, self.said))
    }

    /// The same with as many bytes as a block takes, so that packets are as large as they can be.
    pub fn long_turn(&mut self) -> Result<()> {
        self.said += 1;
        // The answer is longer by the server's name.
        let blocks = (0..).flat_map(|part| block(self.said, part));
        self.say(&blocks.take(LONGEST - 64).collect::<Vec<_>>())
    }

    fn say(&mut self, said: &[u8]) -> Result<()> {
        self.stream.write_all(&framed(said)?)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).with_context(|| format!("an answer of {}", self.name()))?;
        let mut heard = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut heard)?;
        ensure!(heard == answer(self.name(), said), "another server than {} answered", self.name());
        Ok(())
    }
}
