//! A small real service with long-lived connections, and its clients: a stream of framed blocks in
//! both directions, every byte of which can be foretold and is verified.

mod echo;
pub mod frame;
pub mod health;
pub mod load;
pub mod requests;
pub mod serve;
pub(crate) mod session;
pub mod stream;
pub mod tally;
