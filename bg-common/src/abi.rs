//! The layout of the pinned maps. Every type has a fixed size, explicit padding and no niche, so that
//! any bytes are a value of it; addresses and ports are big-endian bytes, as on the wire.

use core::sync::atomic::AtomicU64;

/// Version of the layout. It is part of the pin path: two layouts never meet in one map.
pub const ABI_VERSION: u32 = 2;

/// Index of a backend in `BACKENDS`; also what a ring slot holds.
pub type BackendId = u16;
/// A ring slot that no backend serves.
pub const NO_BACKEND: BackendId = u16::MAX;

/// An IPv4 (mapped into `::ffff:0:0/96`) or IPv6 address in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C, align(8))]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The IPv4 address `a`, mapped (RFC 4291, 2.5.5.2).
    #[must_use]
    #[inline(always)]
    pub const fn v4(a: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])
    }

    /// The last four bytes: the IPv4 address, if this is a mapped one.
    #[must_use]
    #[inline(always)]
    pub const fn tail(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Words of four bytes, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        let (words, _) = self.0.as_chunks::<4>();
        [
            u32::from_ne_bytes(words[0]),
            u32::from_ne_bytes(words[1]),
            u32::from_ne_bytes(words[2]),
            u32::from_ne_bytes(words[3]),
        ]
    }

    /// Both halves, for comparing and hashing.
    #[must_use]
    #[inline(always)]
    pub const fn halves(&self) -> [u64; 2] {
        let (halves, _) = self.0.as_chunks::<8>();
        [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
    }

    /// The other way round than [`Self::halves`].
    #[must_use]
    #[inline(always)]
    pub const fn from_halves([high, low]: [u64; 2]) -> Self {
        let mut bytes = [0; 16];
        let (first, last) = bytes.split_at_mut(8);
        first.copy_from_slice(&high.to_ne_bytes());
        last.copy_from_slice(&low.to_ne_bytes());
        Self(bytes)
    }
}

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

/// An entry of `SERVICES`. Every VIP has one more entry, with port 0: it stands for the VIP itself and holds
/// its policy.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Service {
    /// The virtual address.
    pub vip: Address,
    /// Its port.
    pub port: [u8; 2],
    /// IP protocol number.
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
    /// Padding.
    pub pad: [u8; 27],
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
    /// Padding.
    pub rest: [u8; 32],
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
    /// Low half of [`Node::route_epoch`] when it was looked up.
    pub epoch: u32,
    /// When it was looked up, in timer ticks of the kernel.
    pub jiffies: u32,
    /// The first twelve bytes of a frame to it: hardware addresses of destination and source.
    pub macs: [u32; 3],
    /// Padding.
    pub pad: [u8; 20],
}

/// Entries of `NEXTHOP` a processor, a power of two.
pub const NEXT_HOPS: u32 = 1024;
/// A next hop is looked up anew after this many timer ticks: 1.25 s where the kernel has 1000 of them in a
/// second, 5 s with 250, 12.5 s with 100. Reading them is free; the clock costs 12 ns.
pub const NEXT_HOP_JIFFIES: u32 = 1250;

/// An element of `COUNTERS`: first one per reason, then two per service, blue and green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames as received.
    pub bytes: u64,
    /// SYNs forwarded (services only).
    pub connections: u64,
    /// Of those, sent to base because no pin could be written (services only).
    pub overflow: u64,
}

/// An element of `BACKEND_COUNTERS`, by the backend's number: whether what was sent to it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BackendCounter {
    /// SYNs forwarded to it.
    pub syns: u64,
    /// SYN-ACKs that came from it and were returned to clients.
    pub syn_acks: u64,
}

/// Room for reasons at the start of `COUNTERS`.
pub const REASON_COUNTERS: u32 = 64;

/// Index in `COUNTERS` of a service's environment.
#[must_use]
#[inline(always)]
pub const fn service_counter(service: u16, environment: u8) -> u32 {
    REASON_COUNTERS + ((service as u32) << 1) + (environment & 1) as u32
}

/// Words of an element of `DEPLOYMENTS`: what the program and the agent tell one another.
pub mod live {
    /// When a SYN was last sent into blue, in seconds of the program's clock; green is the next word.
    pub const LAST_SYN: usize = 0;
    /// Which filter of `RECENT` takes new entries: 0 or 1.
    pub const RECENT_ACTIVE: usize = 2;
    /// When an old flow found no room in `CENSUS`, in seconds of the program's clock.
    pub const CENSUS_FULL: usize = 3;
    /// Words in all.
    pub const WORDS: usize = 8;
}

/// Longest name of a deployment, bytes.
pub const NAME: usize = 32;

/// An element of `LEDGER`: what the agent must find again after a restart. The program never reads it.
/// Times are `CLOCK_MONOTONIC` nanoseconds; 0 is "never".
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Ledger {
    /// The deployment's name, zero-padded; all zero is an unused element.
    pub name: [u8; NAME],
    /// First load: the SYN memory is complete one SYN lifetime later.
    pub loaded_at: u64,
    /// Last switch.
    pub switched_at: u64,
    /// When the drain is ended by force.
    pub deadline_at: u64,
    /// Last rotation of `RECENT`.
    pub rotated_at: u64,
    /// Value of the overflow counters at the last switch.
    pub overflow_at_switch: u64,
    /// Epoch of the control word that the last finished clearing belongs to.
    pub cleared_epoch: u32,
    /// Why the deployment left STEADY: one of [`motive`].
    pub motive: u32,
    /// Share of the new connections that goes to the other environment, percent; only with
    /// [`motive::CANARY`].
    pub share: u32,
    /// Padding.
    pub pad: [u8; 44],
}

/// Why a deployment is not steady.
pub mod motive {
    /// It is, or nothing is known.
    pub const NONE: u32 = 0;
    /// A flip.
    pub const FLIP: u32 = 1;
    /// A rollback.
    pub const ROLLBACK: u32 = 2;
    /// A change inside the live environment.
    pub const INNER: u32 = 3;
    /// A share of the new connections for the other environment.
    pub const CANARY: u32 = 4;
}

/// An element of `NAMES`: which service of the configuration a service number stands for.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ServiceName {
    /// The service's name, zero-padded; all zero is an unused element.
    pub name: [u8; NAME],
    /// Its entry in `SERVICES`.
    pub entry: u32,
    /// Index of its deployment.
    pub deployment: u16,
    /// 1: the agent added the VIP to the node and removes it again when it detaches.
    pub vip_added: u8,
    /// Padding.
    pub pad: [u8; 25],
}

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Node>() == 64);
    assert!(size_of::<Service>() == 64);
    assert!(size_of::<Backend>() == 64);
    assert!(size_of::<Endpoint>() == 64);
    assert!(size_of::<Interface>() == 16);
    assert!(size_of::<NextHop>() == 64);
    assert!(size_of::<Counter>() == 32);
    assert!(size_of::<BackendCounter>() == 16);
    assert!(size_of::<Ledger>() == 128);
    assert!(size_of::<ServiceName>() == 64);
};

#[cfg(feature = "user")]
mod pod {
    // SAFETY: fixed-size integers only, no padding bytes (checked by the sizes above), any bits are valid.
    unsafe impl aya::Pod for super::Interface {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Counter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::BackendCounter {}
}
