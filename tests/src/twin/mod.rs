//! The twin: the packet path runs twice, in the kernel and over plain memory, and after every packet both
//! must have done the same to the packet and to every table.
//!
//! Packets come from clients and servers that are small state machines, and from whoever sends nonsense;
//! between them an agent switches, seals, clears and rotates. All of it follows from one seed.

mod agent;
mod cases;
mod connection;
mod devices;
mod difference;
mod form;
mod kernel;
mod late;
mod moves;
mod node;
mod oddity;
mod pair;
mod plan;
mod race;
mod random;
mod steps;
mod stress;
mod tally;
mod ways;
pub mod world;

pub use difference::Difference;
pub use kernel::Kernel;
pub use pair::{Packet, Pair, Sent};
pub use plan::{Plan, run};
pub use random::Random;
pub use stress::{Seen, stress};
pub use tally::Tally;
