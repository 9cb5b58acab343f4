//! What every packet may rely on, whatever its bytes: the packet path does not panic, writes nowhere but in
//! the packet, counts it once, leaves alone what it says that it leaves alone, and keeps right checksums right.
//!
//! A case is a few bytes: packets, and what changes between them. libFuzzer makes them up for the path in plain
//! memory (`src/main.rs`); `bg-tests` runs the same cases through the kernel, beside the host.
#![forbid(unsafe_code)]

mod act;
mod buffer;
mod case;
mod direct;
mod judge;
pub mod node;
pub mod sums;
pub mod world;

pub use act::Act;
pub use buffer::Guarded;
pub use case::{LONGEST, Step, decode, encode};
pub use judge::{Arrival, Judge, judged};

/// Runs a case over plain memory.
///
/// # Panics
/// When a rule is broken.
pub fn run(bytes: &[u8]) {
    let mut judge = Judge::new(node::host());
    for step in decode(bytes) {
        judge.take(&step);
    }
}

#[cfg(test)]
mod tests;
