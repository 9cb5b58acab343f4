//! Where packets within which others travel to a backend seem to come from (mode ipip).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{Address, Backend, entry};

use super::directory::address;
use super::maps::Maps;
use crate::config;

/// The last word of an address is what a flow's hash goes into.
const WORD: u8 = 32;

/// For backends of each version of IP.
pub(super) struct Tunnels {
    v4: (Address, u8),
    v6: (Address, u8),
}

impl Tunnels {
    pub(super) fn new(node: &config::Node) -> Self {
        let source = |prefix: config::Prefix, width: u8| {
            (address(prefix.address), width.saturating_sub(prefix.length).min(WORD))
        };
        Self { v4: source(node.tunnel_source, 32), v6: source(node.tunnel_source6, 128) }
    }

    /// Gives a backend the one for its address. The rest of its entry is written as it is.
    pub(super) fn set(&self, maps: &Maps, id: usize) {
        let Some(old) = maps.backends.get(id).filter(|backend| backend.state == entry::USED) else { return };
        let (tunnel, tunnel_bits) = if old.address.is_v4() { self.v4 } else { self.v6 };
        if (old.tunnel, old.tunnel_bits) != (tunnel, tunnel_bits) {
            let dead = AtomicU64::new(old.dead.load(SeqCst));
            maps.backends.put(id, Backend { tunnel, tunnel_bits, dead, ..*old });
        }
    }
}
