//! Packets that are lost at random, at both ends and both ways. Not on the node: what is lost there is
//! lost to the rule as well, and would only look like less load. The agent's own probes are spared, or
//! every backend would seem to fail all the time.
//!
//! On the way out they are lost on the device, sent on to where nobody takes them: whatever is dropped
//! before comes back to TCP as an error, and Linux forgets a half-open connection whose SYN-ACK it could
//! not repeat (`reqsk_timer_handler` in `net/ipv4/inet_connection_sock.c`). No network does that to it.

use crate::lab::namespace::Namespace;
use crate::lab::process;
use crate::lab::topology::{CLIENTS, CLIENTS6, FAR_END, Topology};
use anyhow::{Context, Result};

/// Drops so many of a hundred packets on the way in and on the way out of every end.
pub(super) fn lose(topology: &Topology, percent: u8) -> Result<()> {
    let rules = topology.workdir.write("loss.nft", &rules(percent))?;
    for end in topology.ends() {
        lose_in(end, &rules.to_string_lossy())?;
    }
    Ok(())
}

fn lose_in(end: &Namespace, rules: &str) -> Result<()> {
    process::run("nft", &["--file", rules], Some(end))
        .map(drop)
        .with_context(|| format!("lose packets in {}", end.name()))
}

fn rules(percent: u8) -> String {
    let clients = CLIENTS.map(|address| address.to_string()).join(", ");
    let clients6 = CLIENTS6.map(|address| address.to_string()).join(", ");
    let lost = format!("numgen random mod 100 < {percent}");
    format!(
        "table inet soak {{
  chain arriving {{
    type filter hook input priority 0;
    ip saddr {{ {clients} }} {lost} drop
    ip daddr {{ {clients} }} {lost} drop
    ip6 saddr {{ {clients6} }} meta l4proto tcp {lost} drop
    ip6 daddr {{ {clients6} }} meta l4proto tcp {lost} drop
  }}
}}
table netdev soak {{
  chain leaving {{
    type filter hook egress device {FAR_END} priority 0;
    ip saddr {{ {clients} }} {lost} fwd to lo
    ip daddr {{ {clients} }} {lost} fwd to lo
    ip6 saddr {{ {clients6} }} meta l4proto tcp {lost} fwd to lo
    ip6 daddr {{ {clients6} }} meta l4proto tcp {lost} fwd to lo
  }}
}}
"
    )
}
