//! The model: every order in which packets, clients, servers, time and the agent can come, over the real
//! functions of the rule and the agent's real procedures. stateright searches; a state is a few words.
//!
//! `action` and `world` have what can happen, `agent` what the agent does, `judge` the properties, `cases` the
//! configurations, and with every mutant the one that refutes it.

#![expect(clippy::similar_names, reason = "a world has words, and a slate holds a state")]
#![expect(
    clippy::unused_self,
    reason = "what can happen is asked of the world, whatever it needs for the answer"
)]

pub mod action;
mod agent;
pub mod cases;
pub mod check;
mod ends;
pub mod gate;
mod judge;
pub mod kernel;
pub mod machine;
mod mapped;
mod meeting;
mod node;
mod segments;
pub mod setup;
mod silence;
pub mod slate;
pub mod state;
mod tidy;
pub mod world;

pub use action::Action;
pub use check::{Finding, Limits, Replayed, check, replay, shortened};
pub use setup::Setup;
pub use state::{Fault, State};
pub use world::World;
