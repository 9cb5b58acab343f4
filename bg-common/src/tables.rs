//! How the rule reaches the tables: one small trait, so that the same code runs over the kernel's maps,
//! over the agent's mappings of them, and over plain memory under test.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::abi::{Address, Backend, BackendId, Node, live, tester};
use crate::control::Control;
use crate::mutant::Mutant;
use crate::pin;

/// A 64-bit word that several processors and the agent share.
pub trait Word {
    /// Reads it.
    fn load(&self) -> u64;
    /// Writes it.
    fn store(&self, value: u64);
    /// Writes `new` if it holds `old`; returns what it held. Ordered with everything around it.
    fn compare_exchange(&self, old: u64, new: u64) -> u64;
    /// Sets `bits`, keeping those that others set meanwhile.
    fn or(&self, bits: u64);
}

#[cfg(target_has_atomic = "64")]
impl Word for core::sync::atomic::AtomicU64 {
    fn load(&self) -> u64 {
        self.load(core::sync::atomic::Ordering::Acquire)
    }

    fn store(&self, value: u64) {
        self.store(value, core::sync::atomic::Ordering::Release);
    }

    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        use core::sync::atomic::Ordering::SeqCst;
        match self.compare_exchange(old, new, SeqCst, SeqCst) {
            Ok(seen) | Err(seen) => seen,
        }
    }

    fn or(&self, bits: u64) {
        self.fetch_or(bits, core::sync::atomic::Ordering::AcqRel);
    }
}

/// Eight words: a bucket of `CENSUS`, an element of `DEPLOYMENTS`.
pub type Line<W> = [W; live::WORDS];

/// The tables that the rule reads and writes. An index out of range answers `None`, which the rule
/// takes for an empty or full table, whichever sends the packet to base.
pub trait Tables {
    /// The kind of shared word.
    type Word: Word;

    /// The node's parameters.
    fn node(&self) -> &Node;
    /// A deployment's control word: one read.
    fn control(&self, deployment: u16) -> Control;
    /// What program and agent tell one another about a deployment.
    fn deployment(&self, deployment: u16) -> Option<&Line<Self::Word>>;
    /// An element of `RINGS`: four slots.
    fn ring(&self, element: u32) -> Option<u64>;
    /// A backend.
    fn backend(&self, id: BackendId) -> Option<&Backend>;
    /// A bucket of `PINS`.
    fn pins(&self, bucket: u32) -> Option<&pin::Bucket<Self::Word>>;
    /// A lock of `PIN_LOCKS`.
    fn pin_lock(&self, index: u32) -> Option<&Self::Word>;
    /// A word of `RECENT`.
    fn recent(&self, index: u32) -> Option<&Self::Word>;
    /// A bucket of `CENSUS`.
    fn census(&self, bucket: u32) -> Option<&Line<Self::Word>>;
    /// Reads a word that only the agent writes. The kernel program has its own way: its target has no
    /// atomic loads.
    #[inline(always)]
    fn read(&self, word: &AtomicU64) -> u64 {
        word.load(Relaxed)
    }
    /// What `TESTERS` says of a client. Only the program asks.
    #[inline(always)]
    fn tester(&self, deployment: u16, client: &Address) -> u8 {
        let _ = (deployment, client);
        tester::NEVER
    }
    /// Whether the rule is to be wrong in this way. Only the model and a program built for it say so.
    #[inline(always)]
    fn mutated(&self, mutant: Mutant) -> bool {
        let _ = mutant;
        false
    }
    /// `CLOCK_MONOTONIC`, coarse, nanoseconds.
    fn nanoseconds(&self) -> u64;

    /// The clock in units of 2^30 ns, about a second: stamps.
    #[inline(always)]
    fn seconds(&self) -> u32 {
        seconds(self.nanoseconds())
    }

    /// The clock in units of 2^26 ns, about 67 ms: the expiry of SEAL.
    #[inline(always)]
    fn ticks(&self) -> u32 {
        ticks(self.nanoseconds())
    }
}

/// Nanoseconds as stamps count them.
#[must_use]
#[inline(always)]
pub const fn seconds(nanoseconds: u64) -> u32 {
    (nanoseconds >> 30) as u32
}

/// Nanoseconds as SEAL counts them.
#[must_use]
#[inline(always)]
pub const fn ticks(nanoseconds: u64) -> u32 {
    (nanoseconds >> 26) as u32
}
