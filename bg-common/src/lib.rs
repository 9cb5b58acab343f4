//! What the kernel program and the agent share: the layout of the maps, the words in them, and the
//! rule that decides where a packet goes. No I/O, no allocation; the same code runs in the kernel, in
//! the agent, and under test.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

#[cfg(any(test, feature = "host"))]
extern crate std;

pub mod abi;
mod catalogue;
pub mod census;
pub mod clear;
pub mod control;
pub mod decide;
pub mod flow;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod meta;
pub mod mutant;
pub mod pin;
pub mod reason;
pub mod recent;
pub mod ring;
pub mod service;
pub mod stage;
pub mod tables;
