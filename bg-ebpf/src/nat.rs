//! Rewriting: addresses, ports and hops, and the checksums that cover them. Ports are numbers as they lie
//! in memory.

use bg_common::abi::Address;
use network_types::tcp::TcpHdr;

use crate::ip::Ip;
use crate::packet::Field as _;

/// Gives the packet another destination, and takes `hops` off the hops that it has: 1 if it is sent, 0 if
/// the kernel does that. The caller has seen that there is one left.
#[inline(always)]
pub(crate) fn destination<I: Ip>(ip: &mut I, tcp: &mut TcpHdr, address: &Address, port: u16, hops: u8) {
    let change = ip.set_destination(address, hops);
    change.two(tcp.dest.fetch(), port).apply(&mut tcp.check);
    tcp.dest.put(port);
}

/// Gives the packet another source, and takes `hops` off the hops that it has.
#[inline(always)]
pub(crate) fn source<I: Ip>(ip: &mut I, tcp: &mut TcpHdr, address: &Address, port: u16, hops: u8) {
    let change = ip.set_source(address, hops);
    change.two(tcp.source.fetch(), port).apply(&mut tcp.check);
    tcp.source.put(port);
}
