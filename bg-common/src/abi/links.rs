//! The network around the node: its interfaces, and next hops.

use super::Address;

/// An entry of `INTERFACES`: a device that carries the program, by the low bits of its index.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Interface {
    /// Its index; 0 is an unused entry.
    pub index: u32,
    /// Its hardware address. Frames to another one are not ours.
    pub mac: [u8; 6],
    /// 1: the agent turned `accept_local` on here and turns it off again when it detaches.
    pub accept_local_set: u8,
    /// Padding.
    pub pad: [u8; 5],
}

/// Entries of `INTERFACES`, a power of two.
pub const INTERFACES: u32 = 64;
/// Entries of `INTERFACES` that are looked at, from where an index leads.
pub const INTERFACE_PROBES: u32 = 4;

/// An entry of `NEXTHOP`: the answer of one look at the routing table.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct NextHop {
    /// Where to.
    pub destination: Address,
    /// Egress interface; 0 is an unused entry.
    pub interface: u32,
    /// Largest IP packet it takes, bytes.
    pub mtu: u32,
    /// Low half of [`super::Node::route_epoch`] when it was looked up.
    pub epoch: u32,
    /// When it was looked up, in timer ticks of the kernel.
    pub jiffies: u32,
    /// The first twelve bytes of a frame to it: hardware addresses of destination and source.
    pub macs: [u32; 3],
    /// 1: that is a router's, and the destination is not on this link.
    pub gateway: u32,
    /// Padding.
    pub pad: [u8; 16],
}

/// Entries of `NEXTHOP` a processor, a power of two.
pub const NEXT_HOPS: u32 = 16_384;
/// A next hop is looked up anew after this many timer ticks: 1.25 s where the kernel has 1000 of them in a
/// second, 5 s with 250, 12.5 s with 100. Reading them is free; the clock costs 12 ns.
pub const NEXT_HOP_JIFFIES: u32 = 1250;
