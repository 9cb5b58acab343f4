//! The next hop of a destination: a direct-mapped cache per processor in front of the routing table. A hit
//! is one cache line; a miss is one look at the routing table, which costs more than all the rest.

use bg_common::abi::{Address, NEXT_HOP_JIFFIES, NEXT_HOPS, NextHop};

use crate::kernel::{Answer, Hop, Kernel, Query};

/// Where packets to `destination` leave, whose place in the cache follows from `place`; `query` says what to
/// ask the routing table. Routes that depend on the source are answered for the packet that asked first,
/// for as long as the entry lives.
#[inline(always)]
pub(crate) fn find<K: Kernel>(
    kernel: &K,
    destination: &Address,
    place: u32,
    query: impl FnOnce() -> Query,
) -> Answer {
    let epoch = kernel.read(&kernel.node().route_epoch) as u32;
    let jiffies = kernel.jiffies();
    let Some(entry) = kernel.next_hop(place & (NEXT_HOPS - 1)) else { return Answer::Failed };
    let known = entry.get();
    if known.interface != 0
        && known.destination.halves() == destination.halves()
        && known.epoch == epoch
        && jiffies.wrapping_sub(known.jiffies) < NEXT_HOP_JIFFIES
    {
        return Answer::Hop(Hop {
            interface: known.interface,
            mtu: known.mtu,
            macs: known.macs,
            gateway: known.gateway != 0,
        });
    }
    let answer = kernel.route(&query());
    if let Answer::Hop(hop) = answer {
        entry.set(NextHop {
            destination: *destination,
            interface: hop.interface,
            mtu: hop.mtu,
            epoch,
            jiffies,
            macs: hop.macs,
            gateway: hop.gateway.into(),
            pad: [0; 16],
        });
    }
    answer
}
