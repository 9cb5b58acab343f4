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

/// What makes a service's flows differ from others, bits of `Service::views` and `Endpoint::views`; 0 is a service as
/// most are.
pub mod views {
    /// Every flow is pinned, in every phase.
    pub const PINNED: u8 = 1;
    /// Some clients may be testers: `TESTERS` knows.
    pub const TESTERS: u8 = 2;
    /// The endpoint is of other services too.
    pub const SHARED: u8 = 4;
}

/// What `TESTERS` says of a prefix.
pub mod tester {
    /// Nothing: it is not there.
    pub const NEVER: u8 = 0;
    /// Its clients are testers.
    pub const NOW: u8 = 1;
    /// They were; the connections that they opened then may still be there.
    pub const ONCE: u8 = 2;
    /// Length of a key: the deployment, big-endian, and an address.
    pub const KEY: usize = 18;

    /// The key of a client; its first 16 bits are the deployment.
    #[must_use]
    #[inline(always)]
    pub const fn key(deployment: u16, client: &super::Address) -> [u8; KEY] {
        let [high, low] = deployment.to_be_bytes();
        let a = &client.0;
        [
            high, low, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12],
            a[13], a[14], a[15],
        ]
    }
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
    /// Bits of [`views`].
    pub views: u8,
    /// Padding.
    pub pad: [u8; 20],
    /// First element of the rings that lead to the environment that is not live, three as well; 0 is none.
    pub idle_base: u32,
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
    /// Bits of [`views`]: those of its service, and whether it is shared.
    pub views: u8,
    /// Padding.
    pub pad: [u8; 5],
    /// The other services that it is shared with, all of which pin every flow.
    pub others: [Other; OTHERS],
}

/// Services besides the first that an endpoint may belong to.
pub const OTHERS: usize = 3;

/// Another service of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Other {
    /// Its entry in `SERVICES`, plus 1; 0 is none, here and further on.
    pub service: u16,
    /// Which of its backends the endpoint is.
    pub backend: BackendId,
}
