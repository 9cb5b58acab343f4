//! Maglev rings: every backend fills the slots of a ring in an order of its own, in turn, until all are
//! taken (Eisenbud et al., "Maglev", NSDI 2016, section 3.4). Shares follow the weights to within one slot,
//! and few slots move when a backend joins, leaves, or gets another weight.

use bg_common::abi::{BackendId, NO_BACKEND};

use crate::datapath::InstalledBackend;

/// A ring of `size` slots, a prime, over the backends with their weights. Without any backend every slot
/// is [`NO_BACKEND`]. The order of the backends does not matter.
#[must_use]
pub fn ring(size: u32, backends: &[InstalledBackend]) -> Vec<BackendId> {
    let mut slots = vec![NO_BACKEND; size as usize];
    let mut backends: Vec<_> = backends.iter().filter(|backend| backend.weight > 0).collect();
    let heaviest = backends.iter().map(|backend| backend.weight).max().unwrap_or(0);
    if heaviest == 0 || size < 2 {
        return slots;
    }
    backends.sort_unstable_by_key(|backend| backend.address);
    let size = u64::from(size);
    let mut turns: Vec<Turn> = backends.iter().map(|backend| Turn::new(backend, size)).collect();
    let mut free = size;
    loop {
        for (turn, backend) in turns.iter_mut().zip(&backends) {
            // The heaviest takes a slot in every round, one of half its weight in every other.
            turn.credit += backend.weight;
            if turn.credit < heaviest {
                continue;
            }
            turn.credit -= heaviest;
            while slots[turn.slot as usize] != NO_BACKEND {
                turn.advance(size);
            }
            slots[turn.slot as usize] = backend.id;
            free -= 1;
            if free == 0 {
                return slots;
            }
        }
    }
}

/// A ring of which `percent` of the slots are `new`'s and the others `old`'s. A larger share only adds
/// slots to a smaller one.
#[must_use]
pub fn mix(old: &[BackendId], new: &[BackendId], percent: u8) -> Vec<BackendId> {
    // Multiples of the golden ratio, modulo one: any share of them is evenly spread over the slots.
    let is_new = |slot: usize| {
        let place = (slot as u32).wrapping_mul(0x9e37_79b9);
        (u64::from(place) * 100) >> 32 < u64::from(percent)
    };
    old.iter().zip(new).enumerate().map(|(slot, (old, new))| if is_new(slot) { *new } else { *old }).collect()
}

/// A backend's way through the slots: all of them once, because `skip` and the prime size have no
/// common divisor.
struct Turn {
    slot: u64,
    skip: u64,
    /// Weight that has not become a slot yet.
    credit: u16,
}

impl Turn {
    fn new(backend: &InstalledBackend, size: u64) -> Self {
        let name = backend.address.to_string();
        Self {
            slot: hash(&name, 0x9ae1_6a3b_2f90_404f) % size,
            skip: hash(&name, 0xc3a5_c85c_97cb_3127) % (size - 1) + 1,
            credit: 0,
        }
    }

    fn advance(&mut self, size: u64) {
        self.slot = (self.slot + self.skip) % size;
    }
}

/// FNV-1a with a seed, finished by a mix. Rings are kept, not recomputed, so this may change between
/// versions; it only has to spread.
fn hash(name: &str, seed: u64) -> u64 {
    let mut x = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |x, byte| (x ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bg_common::control::Environment;
    use proptest::prelude::*;

    fn backends(n: u16) -> Vec<InstalledBackend> {
        (0..n)
            .map(|id| InstalledBackend {
                id,
                environment: Environment::Blue,
                address: std::net::SocketAddr::from(([10, 0, (id >> 8) as u8, id as u8], 8080)),
                weight: 100,
                leaving: false,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn shares_are_equal_to_within_one_slot(n in 1..40_u16, size in prop::sample::select(vec![1021_u32, 4093, 65521])) {
            let ring = ring(size, &backends(n));
            let mut counts = vec![0_u32; n.into()];
            for id in ring {
                counts[usize::from(id)] += 1;
            }
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }

        #[test]
        fn order_does_not_matter(n in 1..40_u16, seed: u64) {
            let mut shuffled = backends(n);
            let half = (seed % u64::from(n)) as usize;
            shuffled.rotate_left(half);
            shuffled.reverse();
            prop_assert_eq!(ring(1021, &backends(n)), ring(1021, &shuffled));
        }

        #[test]
        fn a_backend_that_leaves_moves_few_slots_of_others(n in 3..40_u16, gone in 0..3_u16) {
            let all = backends(n);
            let rest: Vec<_> = all.iter().filter(|backend| backend.id != gone).copied().collect();
            let (before, after) = (ring(4093, &all), ring(4093, &rest));
            let moved = before.iter().zip(&after).filter(|(a, b)| **a != gone && a != b).count();
            prop_assert!(moved < 4093 / 4, "{moved} moved");
        }
    }

    fn count(ring: &[BackendId], id: BackendId) -> usize {
        ring.iter().filter(|slot| **slot == id).count()
    }

    #[test]
    fn slots_follow_the_weights() {
        let mut backends = backends(4);
        for (backend, weight) in backends.iter_mut().zip([1000, 500, 250, 0]) {
            backend.weight = weight;
        }
        let ring = ring(4093, &backends);
        // 4093 slots for 1750 parts.
        for (id, share) in [(0, 2339), (1, 1169), (2, 585), (3, 0)] {
            assert!(count(&ring, id).abs_diff(share) <= 1, "{id}: {} of {share}", count(&ring, id));
        }
    }

    /// With affinity by source it is clients that are shared out, and not connections.
    #[test]
    fn clients_follow_the_weights() {
        use bg_common::flow::Flow;
        let mut backends = backends(3);
        for (backend, weight) in backends.iter_mut().zip([300, 200, 100]) {
            backend.weight = weight;
        }
        let ring = ring(4093, &backends);
        let key =
            [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
        let mut clients = [0_u32; 3];
        for client in 0..60_000_u32 {
            let flow = Flow::v4(&key, (0x0a00_0000 + client).to_be_bytes(), [1, 2], 0);
            let slot = bg_common::ring::slot(flow.source_hash(&key), 4093);
            clients[usize::from(ring[slot as usize])] += 1;
        }
        // 30,000, 20,000 and 10,000, with a standard deviation of at most 122 and some slots more or less.
        for (clients, share) in clients.into_iter().zip([30_000_u32, 20_000, 10_000]) {
            assert!(clients.abs_diff(share) < 900, "{clients} of {share}");
        }
    }

    #[test]
    fn another_weight_moves_few_slots_of_others() {
        let mut backends = backends(4);
        let before = ring(4093, &backends);
        backends[0].weight = 50;
        let after = ring(4093, &backends);
        let moved = before.iter().zip(&after).filter(|(a, b)| **a != 0 && a != b).count();
        assert!(moved < 4093 / 4, "{moved} moved");
    }

    #[test]
    fn a_larger_share_only_adds_slots() {
        let (old, new) = (vec![0; 4093], vec![1; 4093]);
        let mut before = old.clone();
        for percent in 0..=100 {
            let mixed = mix(&old, &new, percent);
            assert!(before.iter().zip(&mixed).all(|(a, b)| a <= b));
            assert!(count(&mixed, 1).abs_diff(4093 * usize::from(percent) / 100) <= 3, "{percent}");
            before = mixed;
        }
        assert_eq!(before, new);
    }

    #[test]
    fn without_backends_no_slot_is_served() {
        assert!(ring(1021, &[]).iter().all(|&id| id == NO_BACKEND));
    }
}
