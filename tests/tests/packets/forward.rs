//! Packets from clients: rewritten to the right backend, with everything else as it was.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::world::{BACKENDS, CLIENT, LAN_MAC, ODD, PLAIN, UNREADY, WAN_MAC, WEB};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// Case 1: a SYN goes to a backend of the live environment; address, port, hardware addresses, TTL and
/// both checksums change, and nothing else.
#[test]
fn a_syn_goes_to_the_live_environment() {
    Rig::run("syn", |rig| {
        let mut syn = Segment::to_service(flags::SYN);
        syn.tcp_options = vec![2, 4, 5, 0xb4, 1, 3, 3, 7];
        let blue = syn.forwarded(&BACKENDS[0], LAN_MAC);
        rig.expect(&syn.bytes(), Reason::Forwarded, Action::Redirect, &blue.bytes());

        rig.tables.steady(0, Environment::Green).unwrap();
        let green = syn.forwarded(&BACKENDS[1], LAN_MAC);
        rig.expect(&syn.bytes(), Reason::Forwarded, Action::Redirect, &green.bytes());

        let [blue, green] = [0, 1].map(|environment| rig.service_counter(0, environment));
        assert_eq!((blue.packets, blue.connections, blue.overflow), (1, 1, 0));
        assert_eq!((green.packets, green.connections, green.bytes), (1, 1, syn.bytes().len() as u64));
    });
}

/// A packet that opens nothing is counted as a packet and not as a connection.
#[test]
fn only_a_syn_counts_as_a_connection() {
    Rig::run("connections", |rig| {
        for flags in [flags::ACK, flags::ACK | flags::PSH, flags::ACK | flags::FIN, flags::RST] {
            rig.send(&Segment::to_service(flags).bytes());
        }
        let blue = rig.service_counter(0, 0);
        assert_eq!((blue.packets, blue.connections), (4, 0));
    });
}

/// What is sent to a backend to open a connection and what it answers is counted for that backend, so that
/// replies that do not come this way are noticed.
#[test]
fn syns_and_their_answers_are_counted_for_the_backend() {
    Rig::run("answers", |rig| {
        let counted = |rig: &Rig<'_>| {
            [0, 1].map(|backend| {
                let counter = rig.tables.backend_counter(backend).unwrap();
                (counter.syns, counter.syn_acks)
            })
        };
        let all = [flags::SYN, flags::ACK, flags::RST, flags::SYN | flags::ACK, flags::FIN | flags::ACK];
        for flags in all {
            rig.send(&Segment::to_service(flags).bytes());
        }
        assert_eq!(counted(rig), [(1, 0), (0, 0)]);
        rig.tables.flip(0, Environment::Blue).unwrap();
        rig.send(&Segment { sequence: 99, ..Segment::to_service(flags::SYN) }.bytes());
        // What is refused was not sent to anybody.
        rig.send(&Segment { ttl: 1, ..Segment::to_service(flags::SYN) }.bytes());
        rig.send(&Segment { sequence: 77, ..Segment::to_service(flags::SYN) }.bytes());
        assert_eq!(counted(rig), [(1, 0), (1, 0)]);
        for flags in all {
            let backend = &BACKENDS[1];
            let (from, source, destination) = (backend.mac, backend.address, CLIENT);
            rig.send(&Segment { from, source, destination, ..Segment::to_service(flags) }.bytes());
        }
        assert_eq!(counted(rig), [(1, 0), (1, 1)]);
    });
}

/// A backend that is reached by the interface the packet came in by gets it without a detour.
#[test]
fn a_backend_on_the_same_link_is_sent_to_directly() {
    Rig::run("onearm", |rig| {
        let segment = Segment { destination: ODD, ..Segment::to_service(flags::ACK) };
        let sent = segment.forwarded(&BACKENDS[6], WAN_MAC);
        rig.expect(&segment.bytes(), Reason::Forwarded, Action::Tx, &sent.bytes());
    });
}

/// Case 11, and its opposite: with and without another port the checksum is right.
#[test]
fn ports_may_differ_or_not() {
    Rig::run("ports", |rig| {
        for (service, backend) in [(WEB, &BACKENDS[0]), (PLAIN, &BACKENDS[2])] {
            let segment = Segment { destination: service, ..Segment::to_service(flags::ACK) };
            let sent = segment.forwarded(backend, LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}

/// A backend that no route leads to.
#[test]
fn a_packet_that_cannot_reach_its_backend_is_dropped() {
    Rig::run("noroute", |rig| {
        rig.tables.steady(2, Environment::Green).unwrap();
        let segment = Segment { destination: ODD, ..Segment::to_service(flags::ACK) };
        rig.expect_drop(&segment.bytes(), Reason::NoRoute);
    });
}

/// A deployment whose control word is not set has no rule yet: its packets are the kernel's.
#[test]
fn a_deployment_that_is_not_set_up_leaves_its_packets_to_the_kernel() {
    Rig::run("unready", |rig| {
        let segment = Segment { destination: UNREADY, ..Segment::to_service(flags::SYN) };
        rig.expect_untouched(&segment.bytes(), Reason::NotReady);
    });
}

/// Case 27: options shift the TCP header by 4 to 40 bytes.
#[test]
fn header_options_of_every_length_are_kept() {
    Rig::run("options", |rig| {
        for words in 1..=10 {
            let mut options = vec![1; words * 4 - 1];
            options.push(0);
            let segment = Segment { ip_options: options, ..Segment::to_service(flags::ACK) };
            let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}

/// Case 30: what pads a short frame to 60 bytes is not part of the packet, not summed up, not changed.
#[test]
fn padding_is_left_alone() {
    Rig::run("padding", |rig| {
        let padding = vec![0xde, 0xad, 0xbe, 0xef, 0x55, 0xaa];
        let segment = Segment { padding, ..Segment::to_service(flags::ACK) };
        assert_eq!(segment.bytes().len(), 60);
        let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
        rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
    });
}

/// Case 39: a VLAN tag, a priority tag, and two tags leave with the packet as they came.
#[test]
fn tags_are_kept() {
    Rig::run("tags", |rig| {
        let [vlan, priority, outer] = [[0x81, 0, 0x60, 42], [0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 7]];
        for tags in [vec![vlan], vec![priority], vec![outer], vec![outer, vlan], vec![vlan, vlan]] {
            let segment = Segment { tags, ..Segment::to_service(flags::ACK) };
            let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
        let three = Segment { tags: vec![outer, vlan, vlan], ..Segment::to_service(flags::ACK) };
        rig.expect_untouched(&three.bytes(), Reason::OtherProtocol);
    });
}

/// Case 48, second half: DSCP and ECN, identification and fragment flags come out as they went in.
#[test]
fn what_is_not_ours_in_the_header_is_kept() {
    Rig::run("tos", |rig| {
        for (tos, id, fragment) in [(0xb8, 0, 0x4000), (0x03, 0xffff, 0), (0xff, 1, 0x8000)] {
            let segment = Segment { tos, id, fragment, ..Segment::to_service(flags::ACK | flags::URG) };
            let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}
