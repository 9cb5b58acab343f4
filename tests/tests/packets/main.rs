//! Packet cases: what goes into the loaded program, and every byte of what comes out. One test program, so
//! that the kernel verifies the program once and not once for each of these.
#![forbid(unsafe_code)]

mod answers;
mod checksums;
mod dsr;
mod forward;
mod fragments;
mod hairpin;
mod headers;
mod icmp;
mod ipip;
mod ipv6;
mod ipv6_headers;
mod jumbo;
mod neighbours;
mod refusals;
mod reply;
mod state;
mod udp;
mod views;
