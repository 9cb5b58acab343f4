//! Prefixes whose hosts speak to backends directly, through this node but not through a service.

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};
use bg_common::abi::{Endpoint, entry};

use super::Error;
use super::directory::address;
use super::maps::Maps;
use crate::config::Config;

/// Clients that speak to backends directly through this node, as they are configured now.
pub(super) fn exclude(ebpf: &mut Ebpf, maps: &Maps, config: &Config) -> Result<(), Error> {
    let fail =
        |act, source: Box<dyn std::error::Error + Send + Sync>| Error::Map { name: "EXCLUDED", act, source };
    let map = ebpf.take_map("EXCLUDED").ok_or_else(|| fail("looking it up", "it is not there".into()))?;
    let mut trie: LpmTrie<MapData, [u8; 16], u8> = match map {
        Map::LpmTrie(_) => map.try_into().map_err(|e: aya::maps::MapError| fail("opening", e.into()))?,
        _ => return Err(fail("looking it up", "it is no prefix table".into())),
    };
    let wanted: Vec<_> = config
        .node
        .exclude
        .iter()
        .map(|prefix| {
            let mapped = if prefix.address.is_ipv4() { 96 } else { 0 };
            (u32::from(prefix.length) + mapped, address(prefix.address).0)
        })
        .collect();
    let held: Vec<_> = trie.keys().collect::<Result<_, _>>().map_err(|e| fail("reading", e.into()))?;
    for key in held {
        if !wanted.contains(&(key.prefix_len(), key.data())) {
            trie.remove(&key).map_err(|e| fail("removing a prefix", e.into()))?;
        }
    }
    for (length, bytes) in wanted {
        trie.insert(&Key::new(length, bytes), 1, 0).map_err(|e| fail("adding a prefix", e.into()))?;
    }
    // The program looks only where this is set. The rest of the entry is written as it is.
    let excludes = u8::from(!config.node.exclude.is_empty());
    for at in 0..maps.endpoints.len() {
        if let Some(old) =
            maps.endpoints.read(at).filter(|old| old.state == entry::USED && old.excludes != excludes)
        {
            maps.endpoints.put(at, Endpoint { excludes, ..old });
        }
    }
    Ok(())
}
