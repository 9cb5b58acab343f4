//! Fuzzing through the kernel: cases of PACKETS.md, bent out of shape, go through the program in the kernel and
//! through the same code in plain memory, and both must have done the same. The kernel cannot tell a fuzzer which way
//! a packet has gone, so that the guidance is in what is done to the packets: the fields that the path reads get the
//! values at which it changes its mind.

mod mutate;
mod run;
mod seeds;
#[cfg(test)]
mod tests;

pub use mutate::mutated;
pub use run::{Finding, Plan, Tally, fuzz, replay};
pub use seeds::{Seed, seeds};
