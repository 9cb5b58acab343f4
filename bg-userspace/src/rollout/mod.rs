//! The life of a release, as a pure machine: what is known goes in, what to do comes out. No I/O and no
//! clock of its own; the agent carries out what is decided here.
//!
//! ```text
//!            flip                      old environment empty
//!   IDLE ------------> DRAINING ------------------------------> IDLE
//!  (STEADY)            (DRAIN, then SEAL for one last count)   (STEADY, base := current)
//!                         |                                      ^
//!                         | rollback: current := base            |
//!                         +--------> ROLLING BACK ---------------+
//!                                    (DRAIN)     the environment that was tried is empty
//! ```
//!
//! A canary step gives a share of the new connections to the other environment: SHIFTING, in DRAIN, over
//! the same base; the next step, the whole flip or a rollback ends it.
//!
//! A change inside the live environment (a backend fails, comes back, joins, leaves, weighs more) is a switch
//! as well; it rests in DRAIN, and to the operator the deployment is IDLE meanwhile.

#![forbid(unsafe_code)]

mod drain;
mod guard;
mod inner;
mod switch;

pub use drain::{Next, View, next};
pub use guard::{Facts, Fitness, JOURNAL, Refusal, can_roll_back, flip, rollback, shift};
pub use inner::{Change, Verdict, change};
pub use switch::{Motive, State, conclude, seal, settle, spare, state, switch_to, unseal};
