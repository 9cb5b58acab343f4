//! Rewriting: addresses, ports, TTL and hardware addresses, and the checksums that cover them.

use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;

use crate::checksum::Change;
use crate::kernel::Hop;

/// Gives the packet another destination.
#[inline(always)]
pub(crate) fn destination(ip: &mut Ipv4Hdr, tcp: &mut TcpHdr, address: [u8; 4], port: [u8; 2]) {
    let change = Change::default().four(ip.dst_addr, address);
    change.apply(&mut ip.check);
    change.two(tcp.dest, port).apply(&mut tcp.check);
    ip.dst_addr = address;
    tcp.dest = port;
}

/// Gives the packet another source.
#[inline(always)]
pub(crate) fn source(ip: &mut Ipv4Hdr, tcp: &mut TcpHdr, address: [u8; 4], port: [u8; 2]) {
    let change = Change::default().four(ip.src_addr, address);
    change.apply(&mut ip.check);
    change.two(tcp.source, port).apply(&mut tcp.check);
    ip.src_addr = address;
    tcp.source = port;
}

/// One hop less to live. The caller has seen that there is one left.
#[inline(always)]
pub(crate) fn hop(ip: &mut Ipv4Hdr) {
    let ttl = ip.ttl.wrapping_sub(1);
    Change::default().two([ip.ttl, ip.proto], [ttl, ip.proto]).apply(&mut ip.check);
    ip.ttl = ttl;
}

/// Addresses the frame to the next hop.
#[inline(always)]
pub(crate) fn link(macs: &mut [u8; 12], hop: &Hop) {
    macs[..6].copy_from_slice(&hop.destination_mac);
    macs[6..].copy_from_slice(&hop.source_mac);
}
