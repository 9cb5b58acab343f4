//! What the program left in its maps: pins, census, memory and counters.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, PerCpuArray};
use bg_common::abi::{Address, BackendCounter, Counter, FragmentKey, Fragmented};
use bg_common::{flow, meta, pin};

use super::tables::{BUCKETS, DEPLOYMENTS, KEY, RECENT, Tables};

/// A pin that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedPin {
    /// Its flow.
    pub tag: u64,
    /// The connection that has not been answered: first sequence number and backend.
    pub half: Option<(u32, u16)>,
    /// Whether a packet after the SYN was seen.
    pub matched: bool,
    /// The established connection.
    pub established: Option<(u32, u16)>,
    /// FIN both ways, or RST.
    pub closing: bool,
}

/// Words in a bucket of `PINS`.
const BUCKET: usize = size_of::<pin::Bucket<u64>>() / 8;

impl Tables {
    /// The tag of a client's flow to a service.
    pub fn tag(client: SocketAddr, service: u16) -> u64 {
        let port = client.port().to_be_bytes();
        match client.ip() {
            IpAddr::V4(ip) => flow::Flow::v4(&KEY, ip.octets(), port, service).tag,
            IpAddr::V6(ip) => flow::Flow::v6(&KEY, &Address(ip.octets()), port, service).tag,
        }
    }

    /// The hash of a client's flow to a service, as far as it tells flows to one backend apart.
    pub fn hash(client: SocketAddr, service: u16) -> u32 {
        flow::Flow::from_tag(&KEY, Self::tag(client, service)).hash as u32
    }

    /// Pins in use.
    pub fn pins(&self) -> Result<Vec<UsedPin>> {
        let mut pins = Vec::new();
        let map = self.ebpf.map("PINS").context("the program has no map PINS")?;
        let map: Array<_, [u64; BUCKET]> = map.try_into()?;
        for bucket in 0..BUCKETS {
            let bucket = map.get(&bucket, 0).context("read a bucket of PINS")?;
            for &[tag, half, established, meta] in bucket.as_chunks().0 {
                if tag != 0 {
                    let hold = |word| pin::Hold::from_word(word).map(|hold| (hold.isn(), hold.backend()));
                    pins.push(UsedPin {
                        tag,
                        half: hold(half),
                        matched: pin::Hold(half).matched(),
                        established: hold(established),
                        closing: meta::Meta(meta).closing(),
                    });
                }
            }
        }
        Ok(pins)
    }

    /// Flows in the census: tag and environment.
    pub fn census(&self) -> Result<Vec<(u64, u16)>> {
        let mut flows = Vec::new();
        for bucket in 0..BUCKETS {
            for [tag, meta, other_tag, other_meta] in words(&self.line("CENSUS", bucket)?) {
                for (tag, meta) in [(tag, meta), (other_tag, other_meta)] {
                    if tag != 0 {
                        flows.push((tag, meta::Meta(meta).place()));
                    }
                }
            }
        }
        Ok(flows)
    }

    /// How many words of `RECENT` have bits set, for each deployment.
    pub fn recent(&self) -> Result<[usize; DEPLOYMENTS as usize]> {
        let map: Array<_, u64> = self.ebpf.map("RECENT").context("no RECENT")?.try_into()?;
        let mut used = [0; DEPLOYMENTS as usize];
        for index in 0..DEPLOYMENTS * 2 * RECENT {
            used[(index / (2 * RECENT)) as usize] += usize::from(map.get(&index, 0)? != 0);
        }
        Ok(used)
    }

    /// A counter, summed over all processors.
    pub fn counter(&self, index: u32) -> Result<Counter> {
        let map: PerCpuArray<_, Counter> = self.ebpf.map("COUNTERS").context("no COUNTERS")?.try_into()?;
        let mut sum = Counter::default();
        for counter in map.get(&index, 0)?.iter() {
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
            sum.connections += counter.connections;
            sum.overflow += counter.overflow;
        }
        Ok(sum)
    }

    /// Lets what is remembered of fragments be so many seconds older.
    pub fn age_fragments(&mut self, seconds: u32) -> Result<()> {
        let map = self.ebpf.map_mut("FRAGMENTS").context("no FRAGMENTS")?;
        let mut map: HashMap<_, FragmentKey, Fragmented> = map.try_into()?;
        let entries: Vec<_> = map.iter().collect::<std::result::Result<_, _>>()?;
        for (key, value) in entries {
            map.insert(key, Fragmented { seen: value.seen.wrapping_sub(seconds), ..value }, 0)?;
        }
        Ok(())
    }

    /// Spends all of what every processor may answer, and more than comes back while a test runs.
    pub fn spend_answers(&mut self) -> Result<()> {
        let map = self.ebpf.map_mut("ANSWERS").context("no ANSWERS")?;
        let mut map: PerCpuArray<_, [u32; 2]> = map.try_into()?;
        for kind in 0..2 {
            let spent: Vec<_> = map.get(&kind, 0)?.iter().map(|[_, jiffies]| [u32::MAX, *jiffies]).collect();
            map.set(kind, spent.try_into()?, 0).context("write ANSWERS")?;
        }
        Ok(())
    }

    /// What was counted for a backend, summed over all processors.
    pub fn backend_counter(&self, backend: u16) -> Result<BackendCounter> {
        let map = self.ebpf.map("BACKEND_COUNTERS").context("no BACKEND_COUNTERS")?;
        let map: PerCpuArray<_, BackendCounter> = map.try_into()?;
        let mut sum = BackendCounter::default();
        for counter in map.get(&backend.into(), 0)?.iter() {
            sum.syns += counter.syns;
            sum.syn_acks += counter.syn_acks;
        }
        Ok(sum)
    }
}

fn words(line: &[u8; 64]) -> [[u64; 4]; 2] {
    let word = |i: usize| u64::from_ne_bytes(std::array::from_fn(|j| line[i * 8 + j]));
    [std::array::from_fn(word), std::array::from_fn(|i| word(i + 4))]
}
