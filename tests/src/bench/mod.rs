//! The benchmark of the data plane: what a packet costs, beside a program that does nothing, in the cases of
//! the performance budget; and what a switch, a ring and the maps cost. `docs/performance.md` explains how it
//! measures and what the figures mean.

mod cases;
mod control;
mod frames;
mod front;
mod ground;
mod kind;
mod look;
mod machine;
mod memory;
pub mod peers;
mod place;
mod processor;
mod report;
mod rounds;
mod run;

pub use cases::{CASES, Case};
pub use control::Control;
pub use ground::Size;
pub use machine::Machine;
pub use memory::Memory;
pub use report::{Report, Row};
pub use run::{Options, run};
