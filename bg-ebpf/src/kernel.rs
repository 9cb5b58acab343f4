//! What the packet path asks of its surroundings: the tables of the rule, the directory of services, and
//! the few things that only the kernel knows.

use core::cell::Cell;

use bg_common::abi::{
    Address, BackendCounter, BackendId, Counter, FragmentKey, Fragmented, Interface, NextHop,
};
use bg_common::service::Directory;
use bg_common::tables::Tables;

/// The kernel, or what stands for it under test.
pub trait Kernel: Tables + Directory {
    /// An entry of `INTERFACES`.
    fn interface(&self, index: u32) -> Option<&Interface>;
    /// An entry of this processor's `NEXTHOP`.
    fn next_hop(&self, index: u32) -> Option<&Cell<NextHop>>;
    /// An element of this processor's `COUNTERS`.
    fn counter(&self, index: u32) -> Option<&Cell<Counter>>;
    /// A backend's element of this processor's `BACKEND_COUNTERS`.
    fn backend_counter(&self, backend: BackendId) -> Option<&Cell<BackendCounter>>;
    /// This processor's `NOTE`.
    fn note(&self) -> Option<&Cell<Note>>;
    /// Puts an entry into `FRAGMENTS`, in the place of an older one of the same key.
    fn remember(&self, key: &FragmentKey, value: &Fragmented);
    /// An entry of `FRAGMENTS`.
    fn recall(&self, key: &FragmentKey) -> Option<Fragmented>;
    /// An element of this processor's `ANSWERS`.
    fn answers(&self, index: u32) -> Option<&Cell<Spent>>;
    /// Whether `EXCLUDED` has a prefix of this address.
    fn excluded(&self, client: &Address) -> bool;
    /// Length of the frame in all of its buffers; the first one, which has the headers, has `first` bytes of it.
    fn length(&self, first: u64) -> u64;
    /// The timer tick, a clock that costs nothing: 100 to 1000 of them are a second.
    fn jiffies(&self) -> u32;
    /// One look at the routing and neighbour tables.
    fn route(&self, query: &Query) -> Answer;
}

/// What one stage tells the next about the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Note {
    /// Number of the [`bg_common::reason::Reason`]: why it is answered; as what it counts when it has been sent
    /// within another one.
    pub reason: u32,
    /// What its sender is told: the MTU.
    pub detail: u32,
    /// A hash of its flow.
    pub hash: u32,
    /// The backend to which it travels.
    pub backend: BackendId,
    /// Number of its service.
    pub service: u16,
    /// 1: it opens a connection.
    pub opens: u8,
    /// 1: that went to base because no pin could be written.
    pub overflow: u8,
    /// Padding.
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<Note>() == 24);

/// What this processor has spent of its allowance for one kind of answers; zeros are all of it still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Spent {
    /// Answers, less those that time has given back.
    pub answers: u32,
    /// When that was so, in timer ticks of the kernel.
    pub jiffies: u32,
}

/// Version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4; its addresses are mapped ones.
    V4,
    /// IPv6.
    V6,
}

/// What is asked of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose routing table.
    pub version: Version,
    /// Source, as the packet will have it.
    pub source: Address,
    /// Destination, as the packet will have it.
    pub destination: Address,
    /// DSCP and ECN bits: the type of service, or the traffic class.
    pub tos: u8,
    /// Where the packet arrived.
    pub interface: u32,
}

/// What the routing table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send it there.
    Hop(Hop),
    /// There is a way, but only the kernel can take it: the neighbour is not resolved, or the route
    /// encapsulates.
    ByKernel,
    /// Not to be forwarded by this node: the address is its own, or forwarding is off.
    Local,
    /// No way leads there.
    Nowhere,
    /// The kernel did not answer.
    Failed,
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Egress interface.
    pub interface: u32,
    /// Largest IP packet that it takes, bytes.
    pub mtu: u32,
    /// Hardware addresses, as [`crate::packet::Macs`] has them.
    pub macs: [u32; 3],
    /// They lead to a router, and the destination is not on this link.
    pub gateway: bool,
}
