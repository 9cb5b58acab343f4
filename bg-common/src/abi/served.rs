//! What is served: the node, its services, their backends, and the way back.

use core::sync::atomic::AtomicU64;

use super::{Address, BackendId};

/// `NODE[0]`: what every packet needs of the node as a whole.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Node {
    /// Secret of the flow hash, drawn at the first load and kept: rings and pins hang on it.
    pub key: [u64; 4],
    /// `SERVICES` has this many entries, a power of two, less one.
    pub service_mask: u32,
    /// The same for `ENDPOINTS`.
    pub endpoint_mask: u32,
    /// `PINS` has this many buckets, a power of two, less one.
    pub pin_mask: u32,
    /// One filter of `RECENT` has this many words, a power of two, less one.
    pub recent_mask: u32,
    /// `CENSUS` has this many buckets, a power of two, less one.
    pub census_mask: u32,
    /// 1: there is no room for any pin (`PINS` has one bucket that stays unused).
    pub no_pins: u8,
    /// 1: some VIP drops what is sent to a port that is no service.
    pub vip_policy: u8,
    /// Padding.
    pub pad: [u8; 2],
    /// Grows with every change of a route or neighbour; a next hop of another epoch is not used. Atomics
    /// of the BPF target have 64 bits and no less; the low half counts.
    pub route_epoch: AtomicU64,
}

/// State of an entry of an open-addressed table.
pub mod entry {
    /// Nothing here, and no probe went past.
    pub const EMPTY: u8 = 0;
    /// In use.
    pub const USED: u8 = 1;
    /// Was in use; probes go on past it.
    pub const REMOVED: u8 = 2;
}

/// What becomes of a packet to a VIP on a port that is no service.
pub mod other_ports {
    /// The kernel's business.
    pub const KERNEL: u8 = 0;
    /// Dropped and counted.
    pub const DROP: u8 = 1;
}

/// What keeps the packets of one client together, bits of `Service::affinity`.
pub mod affinity {
    /// UDP: the datagrams of a flow go to one backend, also through a switch.
    pub const FLOW: u8 = 1;
    /// All flows of a client's address have one ring slot.
    pub const SOURCE: u8 = 2;
}

/// How a packet reaches its backend, and the reply its client.
pub mod mode {
    /// The destination is rewritten, and the source of the reply.
    pub const NAT: u8 = 0;
    /// Only hardware addresses change: the backend has the VIP, and answers the client itself.
    pub const DSR: u8 = 1;
    /// The packet travels within another one to the backend, which has the VIP and answers the client itself.
    pub const IPIP: u8 = 2;
}

/// An entry of `SERVICES`. Every VIP has one more entry, with port 0: it stands for the VIP itself and holds
/// its policy.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Service {
    /// The virtual address.
    pub vip: Address,
    /// Its port.
    pub port: [u8; 2],
    /// IP protocol number; 0 in the entry of a VIP.
    pub protocol: u8,
    /// One of [`entry`].
    pub state: u8,
    /// Number of the service, 0 to 65,533; part of every flow's tag.
    pub id: u16,
    /// Index into `CONTROL` and `DEPLOYMENTS`.
    pub deployment: u16,
    /// First element of the service's first ring in `RINGS`.
    pub ring_base: u32,
    /// Elements between one ring of the service and the next.
    pub ring_stride: u32,
    /// Slots in a ring.
    pub ring_size: u32,
    /// One of [`other_ports`].
    pub other_ports: u8,
    /// Bits of [`affinity`].
    pub affinity: u8,
    /// One of [`mode`].
    pub mode: u8,
    /// Padding.
    pub pad: [u8; 25],
}

impl Service {
    /// Whether its backends answer clients directly, so that no reply is seen here.
    #[must_use]
    #[inline(always)]
    pub const fn direct(&self) -> bool {
        self.mode != mode::NAT
    }
}

/// An entry of `BACKENDS`.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Backend {
    /// Where it listens.
    pub address: Address,
    /// Its port.
    pub port: [u8; 2],
    /// Number of the service that it serves.
    pub service: u16,
    /// 0 blue, 1 green.
    pub environment: u8,
    /// One of [`entry`].
    pub state: u8,
    /// Padding.
    pub pad: [u8; 2],
    /// 1: dead. Pins on it are void.
    pub dead: AtomicU64,
    /// Where packets within which others travel to it come from: the bits that all of them have, the rest
    /// zero. Of its own address's version; looked at only with [`mode::IPIP`].
    pub tunnel: Address,
    /// How many bits at the end of `tunnel` tell flows apart, 0 to 32.
    pub tunnel_bits: u8,
    /// Padding.
    pub rest: [u8; 15],
}

/// An entry of `ENDPOINTS`: all that the return path needs, in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Endpoint {
    /// The backend's address.
    pub address: Address,
    /// The VIP that its replies must come from.
    pub vip: Address,
    /// The backend's port.
    pub port: [u8; 2],
    /// The VIP's port.
    pub vip_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// One of [`entry`].
    pub state: u8,
    /// Which backend.
    pub backend: BackendId,
    /// Number of its service.
    pub service: u16,
    /// Index of its deployment.
    pub deployment: u16,
    /// 0 blue, 1 green.
    pub environment: u8,
    /// 1: consult `EXCLUDED` before taking a packet for a reply.
    pub excludes: u8,
    /// Padding.
    pub pad: [u8; 18],
}
