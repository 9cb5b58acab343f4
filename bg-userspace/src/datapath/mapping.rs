//! Arrays of the kernel program, mapped into the agent's memory: a control word is one store, a ring
//! is a loop of stores.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use aya::maps::MapData;
use bg_common::abi::{Backend, Endpoint, Interface, Ledger, Node, Service, ServiceName};
use bg_common::pin::Bucket;
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsFd as _, AsRawFd as _};

use super::Error;

/// A type that may live in a map that the kernel program shares.
///
/// # Safety
/// Any bytes are a value of it, it has no padding, its size is a multiple of 8, and its alignment at most
/// 64. What the program changes while the agent looks is atomic in it.
pub unsafe trait Shared {}

// SAFETY: an integer.
unsafe impl Shared for AtomicU64 {}
// SAFETY: integers.
unsafe impl Shared for [AtomicU64; 8] {}
// SAFETY: integers without padding (asserted in bg-common).
unsafe impl Shared for Bucket<AtomicU64> {}
// SAFETY: as above; the one field that the agent changes while the program reads is atomic.
unsafe impl Shared for Node {}
// SAFETY: as above; the one field that changes later is atomic.
unsafe impl Shared for Backend {}
// SAFETY: as above; entries are written before anything leads to them.
unsafe impl Shared for Service {}
// SAFETY: as above.
unsafe impl Shared for Endpoint {}
// SAFETY: as above.
unsafe impl Shared for Interface {}
// SAFETY: as above; the program never reads it.
unsafe impl Shared for Ledger {}
// SAFETY: as above; the program never reads it.
unsafe impl Shared for ServiceName {}

/// A mapped array map of `T`.
pub struct Mapping<T> {
    memory: MmapRaw,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Shared> Mapping<T> {
    /// Maps all elements of `map`.
    pub(super) fn new(name: &'static str, map: &MapData, len: u32) -> Result<Self, Error> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 64) };
        let len = len as usize;
        let memory = MmapOptions::new()
            .len(len * size_of::<T>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| Error::Map { name, act: "mapping it into memory", source: source.into() })?;
        Ok(Self { memory, len, element: PhantomData })
    }

    /// Plain memory instead of a map.
    #[cfg(test)]
    pub(super) fn plain(len: u32) -> Self {
        let len = len as usize;
        let memory = MmapOptions::new().len(len * size_of::<T>()).map_anon().expect("memory");
        Self { memory: memory.into(), len, element: PhantomData }
    }

    /// How many elements there are.
    #[expect(clippy::len_without_is_empty, reason = "a map has at least one element")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// An element, shared with the program.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: within the mapping, which lives as long as `self` and is page-aligned; `Shared` promises
        // that any bytes are a `T` and that what changes under the reference is atomic.
        Some(unsafe { &*self.memory.as_ptr().cast::<T>().add(index) })
    }

    /// Every element.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len).filter_map(|index| self.get(index))
    }

    /// Writes an element. The caller sees to it that the program is not led to it meanwhile.
    ///
    /// # Panics
    /// When there is no such element: indices come from sizes that were checked.
    pub fn put(&self, index: usize, value: T) {
        assert!(index < self.len, "element {index} of {}", self.len);
        // SAFETY: within the mapping; nobody holds a reference across this call, because the agent's one
        // task is the only user of the mapping on this side.
        unsafe { self.memory.as_mut_ptr().cast::<T>().add(index).write_volatile(value) }
    }
}

impl<T: Shared + Copy> Mapping<T> {
    /// A copy of an element.
    #[must_use]
    pub fn read(&self, index: usize) -> Option<T> {
        self.get(index).copied()
    }
}
