//! Rings: which backend serves a ring slot. Four slots of 16 bits share an element of `RINGS`.

use crate::abi::{BackendId, NO_BACKEND, Service};
use crate::tables::Tables;

/// Slots in an element of `RINGS`.
pub const SLOTS_PER_ELEMENT: u32 = 4;

/// Elements that a ring of `size` slots takes.
#[must_use]
pub const fn elements(size: u32) -> u32 {
    size.div_ceil(SLOTS_PER_ELEMENT)
}

/// The slot of a flow in a ring of `size` slots: the top half of the hash, scaled. Never `size` or more.
#[must_use]
#[inline(always)]
pub const fn slot(hash: u64, size: u32) -> u32 {
    (((hash >> 32) * size as u64) >> 32) as u32
}

/// The backend that the service's ring `ring` (0 to 2) names for `slot`.
#[inline(always)]
pub fn backend<T: Tables>(tables: &T, service: &Service, ring: u8, slot: u32) -> Option<BackendId> {
    let element = service.ring_base + u32::from(ring) * service.ring_stride + slot / SLOTS_PER_ELEMENT;
    let id = unpack(tables.ring(element)?, slot);
    if id == NO_BACKEND { None } else { Some(id) }
}

/// The same; with `idle` 1 in the ring for the environment that is not live, if the service has such rings. No branch
/// asks which.
#[inline(always)]
pub fn either<T: Tables>(tables: &T, service: &Service, idle: u32, ring: u8, slot: u32) -> Option<BackendId> {
    let base = service.ring_base ^ (service.ring_base ^ service.idle_base) & 0_u32.wrapping_sub(idle);
    backend(tables, &Service { ring_base: base, ..*service }, ring, slot)
}

/// The backend that the service's idle ring `ring` (0 to 2) names for `slot`.
#[inline(always)]
pub fn idle<T: Tables>(tables: &T, service: &Service, ring: u8, slot: u32) -> Option<BackendId> {
    if service.idle_base == 0 { None } else { either(tables, service, 1, ring, slot) }
}

/// One slot of an element.
#[must_use]
#[inline(always)]
pub const fn unpack(element: u64, slot: u32) -> BackendId {
    (element >> ((slot % SLOTS_PER_ELEMENT) * 16)) as BackendId
}

/// Elements from slots, the last one filled up with [`NO_BACKEND`].
pub fn pack(slots: &[BackendId]) -> impl Iterator<Item = u64> + '_ {
    slots.chunks(SLOTS_PER_ELEMENT as usize).map(|chunk| {
        (0..SLOTS_PER_ELEMENT as usize).fold(0, |element, i| {
            let id = chunk.get(i).copied().unwrap_or(NO_BACKEND);
            element | u64::from(id) << (i * 16)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn slots_stay_within_the_ring(hash: u64, size in 1..=65_537_u32) {
            prop_assert!(slot(hash, size) < size);
        }

        #[test]
        fn packing_keeps_every_slot(slots in proptest::collection::vec(any::<u16>(), 1..70)) {
            let elements: Vec<u64> = pack(&slots).collect();
            prop_assert_eq!(elements.len() as u32, super::elements(slots.len() as u32));
            for (i, &id) in slots.iter().enumerate() {
                prop_assert_eq!(unpack(elements[i / 4], i as u32), id);
            }
        }
    }
}
