//! The packet path: everything that happens to a packet, as functions over two small traits, so that the
//! kernel program, the tests and the comparison of the two run the same code. `path` is the place to
//! start reading.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(any(test, feature = "host"))]
extern crate std;

pub mod answer;
pub mod checksum;
pub mod encap;
pub mod fragment;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod icmp;
mod ip;
pub mod kernel;
mod nexthop;
mod ours;
pub mod packet;
pub mod parse;
pub mod path;
pub mod refuse;
mod transport;
pub mod verdict;

#[cfg(test)]
mod tests;
