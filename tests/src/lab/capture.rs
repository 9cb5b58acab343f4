//! A capture at the client: the first segment of every connection that it opens, and every RST
//! that it sends or is sent.

use super::pcap::{self, ACK, RST, SYN, Segment};
use super::process::Process;
use super::topology::{FAR_END, Topology};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// SYNs without an ACK, and RSTs. In IPv6, tcpdump does not find the TCP header by itself.
const FILTER: &str = "(tcp[13] & 0x12 = 0x02) or (tcp[13] & 0x04 != 0) or \
    (ip6[6] = 6 and (ip6[53] & 0x12 = 0x02 or ip6[53] & 0x04 != 0))";

/// A tcpdump that is running.
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
    log: PathBuf,
}

impl Capture {
    /// Starts to capture at the client. Whatever is sent after this returned is in the capture.
    pub fn start(topology: &Topology) -> Result<Self> {
        let file = topology.workdir.join("client.pcap");
        let log = topology.workdir.join("tcpdump.log");
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", FAR_END, "-n", "-s", "96", "-B", "8192", "-U", "-Z", "root"])
            // Without this, what was seen last waits in a block that is lost at the end.
            .args(["--immediate-mode", "--time-stamp-precision=nano"])
            .arg("-w")
            .arg(&file)
            .arg(FILTER)
            .stderr(topology.workdir.log("tcpdump.log")?);
        let mut tcpdump = Process::spawn("tcpdump", command, Some(&topology.client))?;
        let listening = super::clock::eventually(Duration::from_secs(10), || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains("listening on") || !tcpdump.running()
        });
        ensure!(
            listening && tcpdump.running(),
            "tcpdump does not capture: {}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
        Ok(Self { tcpdump, file, log })
    }

    /// A reader that follows the capture while it grows.
    pub fn tail(&self) -> Result<Tail> {
        let file = File::open(&self.file).with_context(|| format!("open {}", self.file.display()))?;
        Ok(Tail { file, at: 0, per_unit: None })
    }

    /// Ends it and reads what was captured. A capture that lost packets is an error: it would be
    /// no witness.
    pub fn finish(mut self) -> Result<Captured> {
        // It is woken for every packet, but has to get its turn for the last ones.
        std::thread::sleep(Duration::from_millis(300));
        self.tcpdump.end(Signal::INT, Duration::from_secs(10))?;
        let said = std::fs::read_to_string(&self.log).context("read what tcpdump said")?;
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not complete: {said}");
        let bytes = std::fs::read(&self.file).with_context(|| format!("read {}", self.file.display()))?;
        Ok(Captured::new(pcap::segments(&bytes)?))
    }
}

/// Follows a capture.
pub struct Tail {
    file: File,
    at: u64,
    per_unit: Option<u64>,
}

impl Tail {
    /// What was captured since the last time.
    pub fn segments(&mut self) -> Result<Vec<Segment>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.at)).context("seek in the capture")?;
        self.file.read_to_end(&mut bytes).context("read the capture")?;
        let mut body = bytes.as_slice();
        let per_unit = match self.per_unit {
            Some(per_unit) => per_unit,
            None if body.len() < pcap::HEADER => return Ok(Vec::new()),
            None => {
                let per_unit = pcap::unit(body)?;
                body = &body[pcap::HEADER..];
                self.at += pcap::HEADER as u64;
                *self.per_unit.insert(per_unit)
            }
        };
        let (segments, length) = pcap::records(body, per_unit);
        self.at += length as u64;
        Ok(segments)
    }
}

/// What a capture held.
pub struct Captured {
    opened: HashMap<SocketAddr, Vec<Opening>>,
    resets: Vec<Segment>,
}

/// A connection that a client opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When its first SYN left, `CLOCK_REALTIME`, nanoseconds since 1970.
    pub at_ns: u64,
    /// Its initial sequence number: what tells a retransmission from another connection.
    pub isn: u32,
}

impl Captured {
    fn new(segments: Vec<Segment>) -> Self {
        let mut opened: HashMap<SocketAddr, Vec<Opening>> = HashMap::new();
        let mut resets = Vec::new();
        for segment in segments {
            if segment.flags & RST != 0 {
                resets.push(segment);
            } else if segment.flags & (SYN | ACK) == SYN {
                let openings = opened.entry(segment.from).or_default();
                if openings.last().is_none_or(|last| last.isn != segment.sequence) {
                    openings.push(Opening { at_ns: segment.at_ns, isn: segment.sequence });
                }
            }
        }
        Self { opened, resets }
    }

    /// How many connections had their first SYN in this span.
    pub fn opened_between(&self, from_ns: u64, to_ns: u64) -> usize {
        let openings = self.opened.values().flatten();
        openings.filter(|opening| (from_ns..to_ns).contains(&opening.at_ns)).count()
    }

    /// The connection that `client` had opened last when a server accepted it at `accepted_ns`.
    pub fn opening(&self, client: SocketAddr, accepted_ns: u64) -> Option<Opening> {
        let mut openings = self.opened.get(&client)?.iter();
        openings.rfind(|opening| opening.at_ns <= accepted_ns).copied()
    }

    /// How many RST segments were seen in this span.
    pub fn resets_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let span = from_ns..to_ns;
        let seen = self.resets.iter().filter(|reset| span.contains(&reset.at_ns));
        seen.count() as u64
    }

    /// The RST segments of this span, for a person to look at.
    pub fn resets(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = &Segment> {
        let resets = self.resets.iter();
        resets.filter(move |reset| (from_ns..to_ns).contains(&reset.at_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(at_ns: u64, isn: u32) -> Segment {
        Segment {
            at_ns,
            from: "198.51.100.10:4000".parse().unwrap(),
            to: "203.0.113.10:80".parse().unwrap(),
            sequence: isn,
            acknowledgement: 0,
            flags: SYN,
        }
    }

    #[test]
    fn a_retransmitted_syn_is_the_same_opening() {
        let captured = Captured::new(vec![syn(10, 1), syn(20, 1), syn(30, 2)]);
        assert_eq!(captured.opened_between(0, 100), 2);
        assert_eq!(captured.opened_between(15, 25), 0);
    }

    #[test]
    fn an_accept_belongs_to_the_latest_opening_before_it() {
        let captured = Captured::new(vec![syn(10, 1), syn(30, 2)]);
        let client = "198.51.100.10:4000".parse().unwrap();
        assert_eq!(captured.opening(client, 29).unwrap().isn, 1);
        assert_eq!(captured.opening(client, 31).unwrap().isn, 2);
        assert_eq!(captured.opening(client, 9), None);
    }
}
