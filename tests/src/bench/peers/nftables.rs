//! nftables: DNAT by a map, with conntrack. One file is one transaction (nft(8)): a switch replaces the map's
//! element, and connections that conntrack knows go on as they were translated.

use anyhow::Result;

use super::contender::Ground;
use crate::lab::config::WEB;
use crate::lab::nginx::HTTP_PORT;
use crate::lab::process;
use crate::lab::{Environment, word};

/// How long conntrack keeps a connection that is over, seconds. The default, 120, would fill its table with
/// short connections in the time of a run, and then it drops.
const TIME_WAIT: &str = "5";

pub(super) fn enter(ground: &Ground) -> Result<()> {
    let (vip, port) = (WEB.ip(), WEB.port());
    let element = element(ground, Environment::Blue)?;
    let rules = format!(
        "table ip peers {{
    map live {{
        type inet_service : ipv4_addr . inet_service
        elements = {{ {element} }}
    }}
    chain before {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr {vip} tcp dport {port} dnat ip to tcp dport map @live
    }}
}}
"
    );
    load(ground, "peers.nft", &rules)?;
    ground.topology().node.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", TIME_WAIT)
}

pub(super) fn switch(ground: &Ground, to: Environment) -> Result<()> {
    let element = element(ground, to)?;
    let name = format!("peers-{}.nft", word(to));
    load(ground, &name, &format!("flush map ip peers live\nadd element ip peers live {{ {element} }}\n"))
}

pub(super) fn leave(ground: &Ground) -> Result<()> {
    process::run("nft", &["delete", "table", "ip", "peers"], Some(&ground.topology().node)).map(drop)
}

fn element(ground: &Ground, environment: Environment) -> Result<String> {
    Ok(format!("{} : {} . {HTTP_PORT}", WEB.port(), ground.backend(environment)?.address))
}

fn load(ground: &Ground, name: &str, text: &str) -> Result<()> {
    let file = ground.topology().workdir.write(name, text)?;
    process::run("nft", &["-f", &file.to_string_lossy()], Some(&ground.topology().node)).map(drop)
}
