//! `RECENT`, the SYN memory: "this SYN was sent to base". Two Bloom filters per deployment take turns,
//! so that an entry lives for one to two rotations. An entry is four bits of one 64-bit word: one cache
//! line to write, at most two to ask.
//!
//! With `n` SYNs in a filter of `w` words, the words hold a Poisson number of entries with mean `n / w`,
//! and a new SYN is taken for a known one with probability
//! `2 * sum over i of poisson(i; n/w) * (1 - (1 - 1/64)^(4 i))^4`: 1 % at just under 4 entries a word. That
//! mistake is safe: it sends the new connection to base.

use crate::abi::live;
use crate::flow::Flow;
use crate::mutant::Mutant;
use crate::tables::{Line, Tables, Word};

/// Where a SYN is kept: a word of a filter, and the bits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the word within a filter.
    pub word: u32,
    /// Its bits there.
    pub bits: u64,
}

/// The place of a flow's SYN with this first sequence number, in filters of `mask + 1` words.
#[must_use]
#[inline(always)]
pub const fn place(key: &[u64; 4], mask: u32, flow: &Flow, isn: u32) -> Place {
    let mut x = (flow.hash ^ (isn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(key[3] | 1);
    x = (x ^ (x >> 32)).wrapping_mul(key[2] | 1);
    x ^= x >> 31;
    let bits = 1 << (x >> 40 & 63) | 1 << (x >> 46 & 63) | 1 << (x >> 52 & 63) | 1 << (x >> 58 & 63);
    Place { word: x as u32 & mask, bits }
}

/// Index in `RECENT` of a deployment's word.
#[must_use]
#[inline(always)]
pub const fn index(mask: u32, deployment: u16, filter: u32, word: u32) -> u32 {
    ((deployment as u32) * 2 + filter) * (mask + 1) + word
}

#[inline(always)]
fn active<W: Word>(line: &Line<W>) -> u32 {
    line[live::RECENT_ACTIVE].load() as u32 & 1
}

/// The isn, as the memory sees it.
#[inline(always)]
fn known<T: Tables>(tables: &T, isn: u32) -> u32 {
    if tables.mutated(Mutant::MemoryWithoutIsn) { 0 } else { isn }
}

/// Remembers a SYN.
#[inline(always)]
pub fn add<T: Tables>(tables: &T, deployment: u16, flow: &Flow, isn: u32) {
    let node = tables.node();
    let Some(line) = tables.deployment(deployment) else { return };
    let Place { word, bits } = place(&node.key, node.recent_mask, flow, known(tables, isn));
    let index = index(node.recent_mask, deployment, active(line), word);
    if let Some(word) = tables.recent(index)
        && let held = word.load()
        && held & bits != bits
    {
        if tables.mutated(Mutant::PlainFilterWrite) {
            // Looked up once more, so that there is time between.
            return tables.recent(index).map_or((), |word| word.store(held | bits));
        }
        // Not a plain write: another processor may set bits of the same word.
        word.or(bits);
    }
}

/// Whether a SYN may have been remembered within the last rotation: a "no" is certain.
#[inline(always)]
pub fn has<T: Tables>(tables: &T, deployment: u16, flow: &Flow, isn: u32) -> bool {
    let node = tables.node();
    let Place { word, bits } = place(&node.key, node.recent_mask, flow, known(tables, isn));
    let held = |filter| {
        tables
            .recent(index(node.recent_mask, deployment, filter, word))
            .is_some_and(|word| word.load() & bits == bits)
    };
    held(0) || held(1)
}

/// Clears the older filter of a deployment and makes it the active one. What it forgets is at least one
/// rotation old.
pub fn rotate<T: Tables>(tables: &T, deployment: u16) {
    let Some(line) = tables.deployment(deployment) else { return };
    let older = active(line) ^ 1;
    let mask = tables.node().recent_mask;
    for word in 0..=mask {
        if let Some(word) = tables.recent(index(mask, deployment, older, word))
            && word.load() != 0
        {
            word.store(0);
        }
        if tables.mutated(Mutant::ShortMemory)
            && let Some(word) = tables.recent(index(mask, deployment, older ^ 1, word))
        {
            word.store(0);
        }
    }
    line[live::RECENT_ACTIVE].store(older.into());
}

/// Probability that a filter takes a new SYN for a known one, from the set bits of a sample of its words.
#[must_use]
pub fn false_positive_rate(words: impl Iterator<Item = u64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for word in words {
        let filled = f64::from(word.count_ones()) / 64.0;
        sum += filled * filled * filled * filled;
        count += 1;
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    #[test]
    fn a_remembered_syn_is_known_whichever_filter_took_it() {
        let host = Host::default();
        let flow = host.flow(1);
        add(&host, 0, &flow, 77);
        assert!(has(&host, 0, &flow, 77));
        rotate(&host, 0);
        assert!(has(&host, 0, &flow, 77));
        rotate(&host, 0);
        assert!(!has(&host, 0, &flow, 77));
    }

    #[test]
    fn memory_tells_apart_isns_flows_and_deployments() {
        let host = Host::default();
        add(&host, 0, &host.flow(1), 77);
        assert!(!has(&host, 0, &host.flow(1), 78));
        assert!(!has(&host, 0, &host.flow(2), 77));
        assert!(!has(&host, 1, &host.flow(1), 77));
    }

    #[test]
    fn the_estimate_agrees_with_what_happens() {
        let host = Host::default();
        let words = host.node.recent_mask + 1;
        for isn in 0..words * 5 {
            add(&host, 0, &host.flow(1), isn);
        }
        let tries = 200_000_u32;
        let wrong = (0..tries).map(|i| u32::from(has(&host, 0, &host.flow(2), i))).sum::<u32>();
        let seen = f64::from(wrong) / f64::from(tries);
        let said = false_positive_rate(
            (0..words).map(|i| host.recent(i).unwrap().load(core::sync::atomic::Ordering::Relaxed)),
        );
        assert!((seen - said).abs() < said / 4.0 + 0.001, "seen {seen}, said {said}");
    }
}
