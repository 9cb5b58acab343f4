//! What the tests through the real kernel and the demo are made of: namespaces with a client, a node
//! and backends in them, small real servers and clients whose every byte is verified, and the
//! witnesses (captures, counters, server logs) that say what happened to connections.
#![deny(unsafe_code)]

pub mod bench;
pub mod demo;
pub mod fuzz;
pub mod kill;
pub mod lab;
pub mod model;
pub mod packets;
pub mod promise;
pub mod soak;
pub mod streamer;
pub mod twin;
