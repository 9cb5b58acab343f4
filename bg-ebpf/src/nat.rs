//! Rewriting: addresses, ports and TTL, and the checksums that cover them. Addresses and ports are numbers
//! as they lie in memory.

use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;

use crate::checksum::Change;
use crate::packet::Field as _;

/// Gives the packet another destination, and takes `hops` off its TTL: 1 if it is sent, 0 if the kernel
/// does that. The caller has seen that there is one left.
#[inline(always)]
pub(crate) fn destination(ip: &mut Ipv4Hdr, tcp: &mut TcpHdr, address: u32, port: u16, hops: u8) {
    let change = Change::default().four(ip.dst_addr.fetch(), address);
    change.decrement(hops).apply(&mut ip.check);
    change.two(tcp.dest.fetch(), port).apply(&mut tcp.check);
    ip.dst_addr.put(address);
    tcp.dest.put(port);
    ip.ttl = ip.ttl.wrapping_sub(hops);
}

/// Gives the packet another source, and takes `hops` off its TTL.
#[inline(always)]
pub(crate) fn source(ip: &mut Ipv4Hdr, tcp: &mut TcpHdr, address: u32, port: u16, hops: u8) {
    let change = Change::default().four(ip.src_addr.fetch(), address);
    change.decrement(hops).apply(&mut ip.check);
    change.two(tcp.source.fetch(), port).apply(&mut tcp.check);
    ip.src_addr.put(address);
    tcp.source.put(port);
    ip.ttl = ip.ttl.wrapping_sub(hops);
}
