//! HTTP as fast as it goes: wrk in the client's namespace against one target, and what the machine spent on it.

use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::lab::namespace::Namespace;
use crate::lab::process;
use crate::lab::topology::Topology;

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// One for as many requests as there is time for.
    KeepAlive,
    /// One for each request.
    Short,
}

impl Traffic {
    pub(super) const ALL: [Self; 2] = [Self::KeepAlive, Self::Short];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep_alive",
            Self::Short => "short",
        }
    }
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) requests_per_s: f64,
    pub(super) connections_per_s: f64,
    pub(super) p99_us: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) failed: u64,
}

/// What wrk says at its end.
#[derive(Deserialize)]
struct Said {
    requests: u32,
    microseconds: f64,
    p99_us: f64,
    failed: u64,
}

const SCRIPT: &str = "function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{\"requests\":%d,\"microseconds\":%d,\"p99_us\":%.1f,\"failed\":%d}\\n', summary.requests,
    summary.duration, latency:percentile(99.0), e.connect + e.read + e.write + e.timeout + e.status))
end
";

/// Runs wrk for so many seconds over so many connections at a time.
pub(super) fn measure(
    topology: &Topology,
    target: SocketAddrV4,
    traffic: Traffic,
    seconds: u32,
    connections: u32,
) -> Result<Sample> {
    let script = topology.workdir.write("peers.lua", SCRIPT)?;
    let (script, url) = (script.to_string_lossy(), format!("http://{target}/"));
    let (duration, connections) = (format!("{seconds}s"), connections.to_string());
    let mut arguments =
        vec!["-t", "1", "-c", &connections, "-d", &duration, "--timeout", "5s", "-s", &*script];
    if traffic == Traffic::Short {
        arguments.extend(["-H", "Connection: close"]);
    }
    arguments.push(&url);
    let (busy, opened) = (busy()?, opened(&topology.client)?);
    let output = process::run("wrk", &arguments, Some(&topology.client))?;
    let busy = self::busy()?.saturating_sub(busy);
    let opened = self::opened(&topology.client)? - opened;
    let last = output.lines().last().unwrap_or_default();
    let said: Said = serde_json::from_str(last).with_context(|| format!("wrk said: {output}"))?;
    ensure!(said.requests > 0, "no request to {target} was answered: {output}");
    let (requests, took) = (f64::from(said.requests), said.microseconds / 1e6);
    Ok(Sample {
        requests_per_s: requests / took,
        connections_per_s: f64::from(opened) / took,
        p99_us: said.p99_us,
        cpu_us_per_request: busy.as_secs_f64() * 1e6 / requests,
        failed: said.failed,
    })
}

/// How long the whole machine has been busy, its interrupts included: what a packet costs in the kernel is no
/// process's time. /proc/stat counts in hundredths of a second, whatever the kernel's timer does.
fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks = busy_ticks(&text).context("no sum of all processors in /proc/stat")?;
    Ok(Duration::from_millis(ticks * 10))
}

/// All but idle (4th) and waiting for disks (5th); what guests take (9th and 10th) is counted before already.
fn busy_ticks(text: &str) -> Option<u64> {
    let mut words = text.lines().next()?.split_whitespace();
    let ticks: Vec<u64> = words.by_ref().skip(1).map_while(|word| word.parse().ok()).collect();
    let all: u64 = ticks.get(..8)?.iter().sum();
    Some(all - ticks[3] - ticks[4])
}

/// Connections that this namespace's clients have begun so far.
fn opened(client: &Namespace) -> Result<u32> {
    let text = client.inside(|| fs::read_to_string("/proc/thread-self/net/snmp"))?;
    active_opens(&text.context("read the client's counters")?).context("no ActiveOpens")
}

fn active_opens(text: &str) -> Option<u32> {
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let at = tcp.next()?.position(|name| name == "ActiveOpens")?;
    tcp.next()?.nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_work_and_idling_is_none() {
        assert_eq!(busy_ticks("cpu  10 20 30 1000 2000 40 50 60 5 5\ncpu0 1\n"), Some(210));
        assert_eq!(busy_ticks("cpu  10 20\n"), None);
    }

    #[test]
    fn opened_connections_are_found_by_their_name() {
        let text = "Tcp: RtoAlgorithm ActiveOpens PassiveOpens\nTcp: 1 77 3\nUdp: InDatagrams\nUdp: 1\n";
        assert_eq!(active_opens(text), Some(77));
    }
}
