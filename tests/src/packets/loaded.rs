//! The loaded program, used by one case after the other: the verifier takes a second for it, and up to a
//! minute in an emulated machine; zeros in all of its maps take milliseconds.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use bg_common::abi::{FragmentKey, Fragmented};
use bg_userspace::datapath::{PROGRAM, prepare};

use super::tables::{BUCKETS, DEPLOYMENTS, RECENT};

/// Those that no case has now. Their maps are as new.
static KEPT: Mutex<Vec<Ebpf>> = Mutex::new(Vec::new());

/// A loaded program whose maps are as new.
pub(super) fn take() -> Result<Ebpf> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.map_or_else(load, Ok)
}

/// Keeps a program for the next case. It must not be attached any more.
pub(super) fn keep(mut ebpf: Ebpf) -> Result<()> {
    for (name, map) in ebpf.maps_mut() {
        // Constants of the program itself begin with a dot, and nobody can write to them.
        if !name.starts_with('.') {
            clear(map).with_context(|| format!("make {name} as new"))?;
        }
    }
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(ebpf);
    Ok(())
}

fn load() -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("RECENT", DEPLOYMENTS * 2 * RECENT)
        .map_max_entries("PINS", BUCKETS)
        .map_max_entries("CENSUS", BUCKETS)
        .map_max_entries("DEPLOYMENTS", DEPLOYMENTS)
        .map_max_entries("CONTROL", DEPLOYMENTS)
        .load(PROGRAM)
        .context("load the object")?;
    prepare(&mut ebpf).map_err(anyhow::Error::from_boxed).context("load the program")?;
    Ok(ebpf)
}

/// Makes a map as it was when it was made.
fn clear(map: &mut Map) -> Result<()> {
    match map {
        Map::Array(data) => match data.info()?.value_size() {
            8 => zero::<8>(map),
            16 => zero::<16>(map),
            64 => zero::<64>(map),
            128 => zero::<128>(map),
            size => bail!("no case for a value of {size} bytes: add it here"),
        },
        Map::PerCpuArray(data) => match data.info()?.value_size() {
            8 => zero_each::<8>(map),
            16 => zero_each::<16>(map),
            24 => zero_each::<24>(map),
            32 => zero_each::<32>(map),
            64 => zero_each::<64>(map),
            size => bail!("no case for a value of {size} bytes: add it here"),
        },
        Map::LpmTrie(data) => match data.info()?.key_size() {
            20 => empty::<16>(map),
            22 => empty::<18>(map),
            size => bail!("no case for a key of {size} bytes: add it here"),
        },
        Map::LruHashMap(_) => {
            let mut hash: HashMap<&mut MapData, FragmentKey, Fragmented> = map.try_into()?;
            let keys: Vec<_> = hash.keys().collect::<Result<_, _>>()?;
            keys.iter().try_for_each(|key| Ok(hash.remove(key)?))
        }
        // What they hold are programs and maps; no packet changes them.
        Map::ProgramArray(_) | Map::ArrayOfMaps(_) => Ok(()),
        _ => bail!("no case for a map of this kind: add it here"),
    }
}

fn empty<const SIZE: usize>(map: &mut Map) -> Result<()>
where
    [u8; SIZE]: aya::Pod,
{
    let mut trie: LpmTrie<&mut MapData, [u8; SIZE], u8> = map.try_into()?;
    let keys: Vec<_> = trie.keys().collect::<Result<_, _>>()?;
    keys.iter().try_for_each(|key| Ok(trie.remove(key)?))
}

fn zero<const SIZE: usize>(map: &mut Map) -> Result<()> {
    let mut array: Array<_, [u8; SIZE]> = map.try_into()?;
    (0..array.len()).try_for_each(|element| Ok(array.set(element, [0; SIZE], 0)?))
}

fn zero_each<const SIZE: usize>(map: &mut Map) -> Result<()> {
    let processors = nr_cpus().map_err(|(act, error)| anyhow!("{act}: {error}"))?;
    let zeros = PerCpuValues::try_from(vec![[0; SIZE]; processors])?;
    let mut array: PerCpuArray<_, [u8; SIZE]> = map.try_into()?;
    (0..array.len())
        .try_for_each(|element| Ok(array.set(element, PerCpuValues::try_from(zeros.to_vec())?, 0)?))
}
