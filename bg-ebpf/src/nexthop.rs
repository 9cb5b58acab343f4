//! The next hop of a destination: a direct-mapped cache per processor in front of the routing table. A hit
//! is one cache line; a miss is one look at the routing table, which costs more than all the rest.

use bg_common::abi::{Address, NEXT_HOP_TICKS, NEXT_HOPS, NextHop};

use crate::kernel::{Answer, Hop, Kernel, Query};

/// Where packets to `query.destination` leave. Routes that depend on the source are answered for the
/// packet that asked first, for as long as the entry lives.
#[inline(always)]
pub(crate) fn find<K: Kernel>(kernel: &K, query: &Query) -> Answer {
    let destination = Address::v4(query.destination);
    let epoch = kernel.read(&kernel.node().route_epoch) as u32;
    let ticks = kernel.ticks();
    let Some(entry) = kernel.next_hop(place(query.destination)) else { return Answer::Failed };
    let known = entry.get();
    if known.interface != 0
        && known.destination.halves() == destination.halves()
        && known.epoch == epoch
        && ticks.wrapping_sub(known.ticks) < NEXT_HOP_TICKS
    {
        return Answer::Hop(Hop {
            interface: known.interface,
            mtu: known.mtu,
            source_mac: known.source_mac,
            destination_mac: known.destination_mac,
        });
    }
    let answer = kernel.route(query);
    if let Answer::Hop(hop) = answer {
        entry.set(NextHop {
            destination,
            interface: hop.interface,
            mtu: hop.mtu,
            epoch,
            ticks,
            source_mac: hop.source_mac,
            destination_mac: hop.destination_mac,
            pad: [0; 20],
        });
    }
    answer
}

/// Neighbouring addresses differ in the last bits, so that backends of one subnet never share an entry.
#[inline(always)]
const fn place(destination: [u8; 4]) -> u32 {
    let address = u32::from_be_bytes(destination);
    (address ^ (address >> 10) ^ (address >> 20)) & (NEXT_HOPS - 1)
}
