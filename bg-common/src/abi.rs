//! The layout of the pinned maps. Every type has a fixed size, explicit padding and no niche, so that
//! any bytes are a value of it; addresses and ports are big-endian bytes, as on the wire.

mod address;
mod counters;
mod fragments;
mod ledger;
mod links;
mod served;

pub use self::address::Address;
pub use self::counters::{BackendCounter, Counter, REASON_COUNTERS, service_counter};
pub use self::fragments::{FRAGMENT_SECONDS, FRAGMENTS, FragmentKey, Fragmented, fragment};
pub use self::ledger::{Ledger, NAME, ServiceName, live, motive};
pub use self::links::{INTERFACE_PROBES, INTERFACES, Interface, NEXT_HOP_JIFFIES, NEXT_HOPS, NextHop};
pub use self::served::{
    Backend, Endpoint, Node, OTHERS, Other, Service, affinity, entry, mode, other_ports, tester, views,
};

/// Version of the layout. It is part of the pin path: two layouts never meet in one map.
pub const ABI_VERSION: u32 = 3;

/// Index of a backend in `BACKENDS`; also what a ring slot holds.
pub type BackendId = u16;
/// A ring slot that no backend serves.
pub const NO_BACKEND: BackendId = u16::MAX;

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
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<Fragmented>() == 32);
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
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FragmentKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Fragmented {}
}
