//! Packet cases: real bytes through the loaded program by a test run, inside a namespace with routes and
//! neighbours of its own, and every byte of what comes out compared with a packet built from scratch.

pub mod craft;
pub mod extension;
mod loaded;
pub mod over_v6;
pub mod rig;
pub mod state;
mod tables;
mod views;
pub mod wire;
pub mod world;

pub use craft::{Segment, Transport, flags};
pub use rig::{Action, Rig};
pub use tables::Tables;
