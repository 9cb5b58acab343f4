//! Packets from backends: replies get the VIP as their source, everything else goes up as it came.

use std::net::SocketAddr;

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::Mac;
use bg_tests::packets::world::{
    BACKENDS, CLIENT, CLIENT_MAC, EXCLUDED, EXCLUDED_CLIENT, NODE, PLAIN, SILENT_CLIENT, THIN_CLIENT,
    THIN_MAC, THIN_MTU, WEB,
};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// A segment of backend `number` to the client.
fn from_backend(number: usize, flags: u8) -> Segment {
    Segment {
        from: BACKENDS[number].mac,
        source: BACKENDS[number].address,
        destination: CLIENT,
        ..Segment::to_service(flags)
    }
}

/// Case 9: a reply leaves with the VIP and its port; with another port and with the same.
#[test]
fn a_reply_comes_from_the_vip() {
    Rig::run("reply", |rig| {
        for flags in [
            flags::SYN | flags::ACK,
            flags::ACK,
            flags::FIN | flags::ACK,
            flags::RST,
            flags::RST | flags::ACK,
        ] {
            let reply = Segment { payload: vec![1, 2, 3], ..from_backend(0, flags) };
            rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
        }
        let reply = from_backend(2, flags::ACK);
        rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(PLAIN).bytes());
    });
}

/// Case 9: replies of the environment that is being left, of the idle one, and of a backend that is on no
/// ring any more and out of `BACKENDS`, all find their way.
#[test]
fn replies_of_draining_and_removed_backends_come_from_the_vip() {
    Rig::run("leaving", |rig| {
        let both = |rig: &mut Rig<'_>| {
            for number in [0, 1] {
                let reply = from_backend(number, flags::ACK);
                rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
            }
        };
        both(rig);
        rig.tables.flip(0, Environment::Blue).unwrap();
        both(rig);
        rig.tables.steady(0, Environment::Green).unwrap();
        both(rig);
        rig.tables.remove_backend(0).unwrap();
        both(rig);
        // Once its entry is gone as well, its packets are nobody's.
        rig.tables.remove_endpoint(0).unwrap();
        rig.expect_untouched(&from_backend(0, flags::ACK).bytes(), Reason::NotService);
    });
}

/// A client behind another interface: the packet is redirected with that one's addresses, tags and options
/// as they came.
#[test]
fn a_reply_leaves_by_the_interface_of_its_client() {
    Rig::run("back-elsewhere", |rig| {
        let reply = Segment {
            destination: THIN_CLIENT,
            tags: vec![[0x81, 0, 0, 42]],
            ip_options: vec![1; 12],
            ..from_backend(0, flags::ACK)
        };
        let (to, from): (Mac, Mac) = (CLIENT_MAC, THIN_MAC);
        let sent = Segment { to, from, source: WEB, ttl: reply.ttl - 1, ..reply.clone() };
        rig.expect(&reply.bytes(), Reason::Returned, Action::Redirect, &sent.bytes());
    });
}

/// Case 10: a backend's answer to the node itself (a health check), and what it sends from a port that is
/// no endpoint.
#[test]
fn own_traffic_of_node_and_backend_is_untouched() {
    Rig::run("own", |rig| {
        let health = Segment {
            destination: SocketAddr::new(NODE, 51_234),
            ..from_backend(0, flags::SYN | flags::ACK)
        };
        rig.expect_untouched(&health.bytes(), Reason::OwnTraffic);
        // Sound or not: it is not ours to judge.
        let odd = Segment { ttl: 1, fragment: 0x2000, ..health };
        rig.expect_untouched(&odd.bytes(), Reason::OwnTraffic);

        let own = SocketAddr::new(BACKENDS[0].address.ip(), 50_000);
        let segment = Segment { source: own, ..from_backend(0, flags::SYN) };
        rig.expect_untouched(&segment.bytes(), Reason::NotService);
    });
}

/// Case 10: a client in an excluded prefix speaks to the backend itself; its neighbour does not.
#[test]
fn excluded_clients_are_spoken_to_directly() {
    Rig::run("excluded", |rig| {
        rig.tables.exclude(0, EXCLUDED).unwrap();
        let direct = Segment { destination: EXCLUDED_CLIENT, ..from_backend(0, flags::ACK) };
        rig.expect_untouched(&direct.bytes(), Reason::Excluded);
        let reply = from_backend(0, flags::ACK);
        rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
    });
}

/// A reply whose TTL is over: the kernel tells the backend, about the packet as the backend sent it.
#[test]
fn a_reply_without_hops_left_is_the_kernels() {
    Rig::run("back-ttl", |rig| {
        for ttl in [0, 1] {
            let reply = Segment { ttl, ..from_backend(0, flags::ACK) };
            rig.expect_untouched(&reply.bytes(), Reason::ReturnTtl);
        }
        let reply = Segment { ttl: 2, ..from_backend(0, flags::ACK) };
        rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
    });
}

/// A reply larger than the client's link: with DF the kernel tells the backend, without it the kernel
/// fragments what already comes from the VIP.
#[test]
fn a_reply_that_is_too_large_is_the_kernels() {
    Rig::run("large", |rig| {
        let reply = Segment {
            destination: THIN_CLIENT,
            payload: vec![9; usize::from(THIN_MTU) - 39],
            ..from_backend(0, flags::ACK)
        };
        rig.expect_untouched(&reply.bytes(), Reason::ReturnTooBig);
        let loose = Segment { fragment: 0, ..reply };
        let rewritten = Segment { source: WEB, ..loose.clone() };
        rig.expect(&loose.bytes(), Reason::ReturnedByKernel, Action::Pass, &rewritten.bytes());
    });
}

/// A client that the node has not heard of is resolved by the kernel; one that no route leads to is not
/// reached.
#[test]
fn a_reply_to_an_unknown_neighbour_goes_up_rewritten() {
    Rig::run("unknown", |rig| {
        let reply = Segment { destination: SILENT_CLIENT, ..from_backend(0, flags::ACK) };
        let rewritten = Segment { source: WEB, ..reply.clone() };
        rig.expect(&reply.bytes(), Reason::ReturnedByKernel, Action::Pass, &rewritten.bytes());

        // Without any route the kernel gives the answer that it gives for its own addresses.
        let nowhere = SocketAddr::from(([198, 51, 100, 1], 40_000));
        let reply = Segment { destination: nowhere, ..from_backend(0, flags::ACK) };
        rig.expect_untouched(&reply.bytes(), Reason::OwnTraffic);
        rig.namespace.ip(&["route", "add", "unreachable", "198.51.100.0/24"]).unwrap();
        rig.expect_drop(&reply.bytes(), Reason::NoRoute);
    });
}

/// A reply that is broken must not go on: with the backend's address it would make the client reset the
/// connection.
#[test]
fn a_broken_reply_is_dropped() {
    Rig::run("broken", |rig| {
        let mut packet = from_backend(0, flags::ACK).bytes();
        packet[17] += 1;
        rig.expect_drop(&packet, Reason::BadHeader);
    });
}
