//! What is remembered of a fragmented packet, so that its later fragments, which have no ports, go where the first
//! one went.

use super::{Address, BackendId};

/// A key of `FRAGMENTS`: what the receiver puts fragments together by (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// Where from, as the packet arrived.
    pub source: Address,
    /// Where to, likewise.
    pub destination: Address,
    /// Identification, as it lies in the packet.
    pub id: u32,
    /// IP protocol number; over IPv6, where it does not count, 0.
    pub protocol: u8,
    /// Padding.
    pub pad: [u8; 3],
}

/// A value of `FRAGMENTS`: where the first fragment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Fragmented {
    /// The packet's new destination, or its new source.
    pub address: Address,
    /// When it was seen, in seconds of the program's clock.
    pub seen: u32,
    /// Where it ends in the packet, bytes behind the IP header: later ones begin there or behind.
    pub end: u32,
    /// Number of the service.
    pub service: u16,
    /// The backend that it went to, or came from.
    pub backend: BackendId,
    /// 0 blue, 1 green.
    pub environment: u8,
    /// One of [`fragment`].
    pub kind: u8,
    /// Padding.
    pub pad: [u8; 2],
}

/// What is done with the fragments of a packet.
pub mod fragment {
    /// They are handed to the kernel.
    pub const KERNEL: u8 = 0;
    /// They go to a backend.
    pub const FORWARD: u8 = 1;
    /// They go to a client.
    pub const RETURN: u8 = 2;
}

/// Packets that `FRAGMENTS` remembers; the one that was not asked for longest makes room.
pub const FRAGMENTS: u32 = 16_384;
/// How long a first fragment counts, in units of 2^30 ns: 30 s, for as long as Linux waits for the others
/// (`net.ipv4.ipfrag_time`).
pub const FRAGMENT_SECONDS: u32 = 28;
