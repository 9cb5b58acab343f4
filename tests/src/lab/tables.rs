//! What the program counted, read from its pinned maps without the agent.

use super::topology::Topology;
use super::{Environment, word};
use anyhow::{Context, Result};
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, Map, MapData, PerCpuArray};
use bg_common::abi::{Counter, ServiceName, service_counter, tester};
use bg_common::reason::Reason;
use std::mem::offset_of;
use std::path::PathBuf;

/// How many packets the program has forwarded to a service, to both environments.
pub fn forwarded(topology: &Topology, service: &str) -> Result<u64> {
    let names: Array<MapData, [u8; size_of::<ServiceName>()]> =
        Map::Array(open(topology, "NAMES")?).try_into()?;
    let mut entries = (0_u16..).zip(names.iter());
    let found = entries.find(|(_, entry)| entry.as_ref().is_ok_and(|entry| is_named(entry, service)));
    let (id, _) = found.with_context(|| format!("no service {service} is installed"))?;
    let counters: PerCpuArray<MapData, Counter> = Map::PerCpuArray(open(topology, "COUNTERS")?).try_into()?;
    let mut sum = 0;
    for environment in [Environment::Blue, Environment::Green] {
        let index = service_counter(id, u8::from(environment == Environment::Green));
        let values = counters.get(&index, 0).with_context(|| format!("count {}", word(environment)))?;
        sum += values.iter().map(|value| value.packets).sum::<u64>();
    }
    Ok(sum)
}

/// How many packets have ended for this reason.
pub fn ended(topology: &Topology, reason: Reason) -> Result<u64> {
    let counters: PerCpuArray<MapData, Counter> = Map::PerCpuArray(open(topology, "COUNTERS")?).try_into()?;
    let values = counters.get(&(reason as u32), 0).with_context(|| format!("count {}", reason.name()))?;
    Ok(values.iter().map(|value| value.packets).sum())
}

/// How many prefixes the program takes for those of testers, or of former ones.
pub fn tester_prefixes(topology: &Topology) -> Result<usize> {
    let trie: LpmTrie<MapData, [u8; tester::KEY], u8> =
        Map::LpmTrie(open(topology, "TESTERS")?).try_into()?;
    Ok(trie.keys().count())
}

fn is_named(entry: &[u8], service: &str) -> bool {
    entry[offset_of!(ServiceName, name)..].split(|byte| *byte == 0).next() == Some(service.as_bytes())
}

fn open(topology: &Topology, name: &str) -> Result<MapData> {
    let path = pins(topology)?.join(name);
    MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))
}

/// Where the maps and links are pinned.
pub fn pins(topology: &Topology) -> Result<PathBuf> {
    let root = topology.workdir.bpffs().join("bluegreen");
    let mut versions = std::fs::read_dir(&root).with_context(|| format!("list {}", root.display()))?;
    Ok(versions.next().context("nothing is pinned")??.path())
}
