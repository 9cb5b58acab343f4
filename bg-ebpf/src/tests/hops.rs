//! The next-hop cache.

use core::sync::atomic::Ordering::Relaxed;

use bg_common::abi::{Address, NEXT_HOP_JIFFIES};
use bg_common::reason::Reason;

use super::{ACK, BACKENDS, CLIENT, CLIENT_MAC, LAN, LAN_MAC, WAN, arrive, frame, from_client, hop, node};
use crate::host::Host;
use crate::kernel::Answer;
use crate::verdict::Action;

/// A packet of backend 0 to a client.
fn reply(host: &Host, client: [u8; 4]) -> Action {
    arrive(host, &frame(LAN_MAC, [2; 6], (BACKENDS[0], 8080), (client, 40_000), ACK), LAN).0
}

/// How often the routing table was asked since the last time.
fn asked(host: &Host) -> usize {
    core::mem::take(&mut *host.queries.borrow_mut()).len()
}

#[test]
fn one_look_at_the_routing_table_serves_many_packets() {
    let host = node();
    for _ in 0..10 {
        assert_eq!(reply(&host, CLIENT), Action::Redirect(WAN));
    }
    assert_eq!(asked(&host), 1);
}

#[test]
fn a_next_hop_is_forgotten_when_routes_change_or_time_passes() {
    let host = node();
    reply(&host, CLIENT);
    host.tables.node.route_epoch.fetch_add(1, Relaxed);
    reply(&host, CLIENT);
    assert_eq!(asked(&host), 2);

    // The clock wraps in between.
    host.jiffies.set(host.jiffies.get().wrapping_add(NEXT_HOP_JIFFIES - 1));
    reply(&host, CLIENT);
    assert_eq!(asked(&host), 0);
    host.jiffies.set(host.jiffies.get().wrapping_add(1));
    reply(&host, CLIENT);
    assert_eq!(asked(&host), 1);
}

#[test]
fn destinations_that_share_an_entry_take_turns() {
    let mut host = node();
    // 2^10 apart, and as far apart above: the same place.
    let other = [192, 0, 2 ^ 4, 7 ^ 1];
    host.add_route(Address::v4(other), 128, hop(LAN, LAN_MAC, CLIENT_MAC));
    for _ in 0..3 {
        assert_eq!(reply(&host, CLIENT), Action::Redirect(WAN));
        assert_eq!(reply(&host, other), Action::Transmit);
    }
    assert_eq!(asked(&host), 6);
}

#[test]
fn only_hops_are_kept() {
    for (answer, reason) in [
        (Answer::ByKernel, Reason::ReturnedByKernel),
        (Answer::Local, Reason::OwnTraffic),
        (Answer::Nowhere, Reason::NoRoute),
        (Answer::Failed, Reason::Failed),
    ] {
        let mut host = node();
        host.add_route(Address::v4(CLIENT), 128, answer);
        reply(&host, CLIENT);
        reply(&host, CLIENT);
        assert_eq!(asked(&host), 2);
        assert_eq!(host.counted(reason).packets, 2, "{answer:?}");
    }
}

#[test]
fn the_routing_table_is_asked_about_the_packet_that_will_leave() {
    let host = node();
    arrive(&host, &from_client(40_000, ACK), WAN);
    reply(&host, CLIENT);
    let asked = host.queries.take();
    let ends: std::vec::Vec<_> =
        asked.iter().map(|query| [query.source, query.destination].map(|end| end.tail())).collect();
    assert_eq!(ends[0][0], CLIENT);
    assert!(BACKENDS.contains(&ends[0][1]));
    assert_eq!(ends[1], [super::VIP, CLIENT]);
    assert_eq!([asked[0].interface, asked[1].interface], [WAN, LAN]);
}
