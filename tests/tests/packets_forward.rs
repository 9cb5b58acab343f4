//! Packets from clients: rewritten to the right backend, with everything else as it was.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::Mac;
use bg_tests::packets::world::{BACKENDS, Backend, LAN_MAC, ODD, PLAIN, WAN_MAC};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// The segment as it leaves by `device` towards `backend`.
fn forwarded(segment: &Segment, backend: &Backend, device: Mac) -> Segment {
    Segment {
        to: backend.mac,
        from: device,
        destination: backend.address,
        ttl: segment.ttl - 1,
        ..segment.clone()
    }
}

/// Case 1: a SYN goes to a backend of the live environment; address, port, hardware addresses, TTL and
/// both checksums change, and nothing else.
#[test]
fn a_syn_goes_to_the_live_environment() {
    Rig::run("syn", |rig| {
        let mut syn = Segment::to_service(flags::SYN);
        syn.tcp_options = vec![2, 4, 5, 0xb4, 1, 3, 3, 7];
        let blue = forwarded(&syn, &BACKENDS[0], LAN_MAC);
        rig.expect(&syn.bytes(), Reason::Forwarded, Action::Redirect, &blue.bytes());

        rig.tables.steady(0, Environment::Green).unwrap();
        let green = forwarded(&syn, &BACKENDS[1], LAN_MAC);
        rig.expect(&syn.bytes(), Reason::Forwarded, Action::Redirect, &green.bytes());

        let [blue, green] = [0, 1].map(|environment| rig.service_counter(0, environment));
        assert_eq!((blue.packets, blue.connections, blue.overflow), (1, 1, 0));
        assert_eq!((green.packets, green.connections, green.bytes), (1, 1, syn.bytes().len() as u64));
    });
}

/// A backend that is reached by the interface the packet came in by gets it without a detour.
#[test]
fn a_backend_on_the_same_link_is_sent_to_directly() {
    Rig::run("onearm", |rig| {
        let segment = Segment { destination: ODD, ..Segment::to_service(flags::ACK) };
        let sent = forwarded(&segment, &BACKENDS[6], WAN_MAC);
        rig.expect(&segment.bytes(), Reason::Forwarded, Action::Tx, &sent.bytes());
    });
}

/// Case 11, and its opposite: with and without another port the checksum is right.
#[test]
fn ports_may_differ_or_not() {
    Rig::run("ports", |rig| {
        for (service, backend) in [(bg_tests::packets::world::WEB, &BACKENDS[0]), (PLAIN, &BACKENDS[2])] {
            let segment = Segment { destination: service, ..Segment::to_service(flags::ACK) };
            let sent = forwarded(&segment, backend, LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}
