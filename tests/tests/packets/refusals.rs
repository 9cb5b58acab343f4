//! No backend for a packet: its sender hears so, case 42.

use bg_common::control::{Environment, Phase};
use bg_common::reason::Reason;
use bg_tests::packets::craft::IcmpError;
use bg_tests::packets::extension::{DESTINATION, HOP_BY_HOP, options};
use bg_tests::packets::world::{BACKENDS, LAN_MAC, V6_BACKEND};
use bg_tests::packets::{Action, Rig, Segment, Transport, flags};

/// Nobody is left in blue, over either version of IP.
fn empty_blue(rig: &mut Rig<'_>) {
    rig.tables.remove_backend(0).unwrap();
    rig.tables.remove_backend(V6_BACKEND as u16).unwrap();
}

/// Segments of several shapes over both versions: bare, padded, tagged, with options, with data.
fn shapes() -> Vec<Segment> {
    let bare = Segment::to_service(0);
    let tags = vec![[0x88, 0xa8, 0, 7], [0x81, 0, 0, 42]];
    let shapes = [
        bare.clone(),
        Segment { padding: vec![0xee; 6], ..bare.clone() },
        Segment { tags: vec![[0x81, 0, 0x60, 42]], payload: vec![1], ..bare.clone() },
        Segment { tags, ip_options: vec![1; 40], tcp_options: vec![1; 40], ..bare.clone() },
        Segment { payload: vec![3; 1400], tos: 0xff, ttl: 2, ..bare.clone() },
        Segment { ip_error: 0x0101, tcp_error: 0x0202, ..bare },
    ];
    shapes.iter().flat_map(|shape| [shape.clone(), shape.over_v6()]).collect()
}

#[test]
fn a_segment_for_nobody_is_answered_with_a_rst() {
    Rig::run("refused", |rig| {
        empty_blue(rig);
        for shape in shapes() {
            for flags in [
                flags::SYN,
                flags::ACK,
                flags::ACK | flags::PSH,
                flags::FIN | flags::ACK,
                flags::SYN | flags::ACK,
            ] {
                let acknowledgement = if flags & flags::ACK == 0 { 0 } else { 0x0a0b_0c0d };
                let segment = Segment { flags, acknowledgement, ..shape.clone() };
                let rst = segment.refused();
                rig.expect(&segment.bytes(), Reason::Refused, Action::Tx, &rst.bytes());
            }
        }
        let walked = Segment {
            extensions: vec![options(HOP_BY_HOP, 8), options(DESTINATION, 24)],
            flow_label: 0x1_2345,
            payload: vec![5; 9],
            ..Segment::to_service(flags::SYN).over_v6()
        };
        rig.expect(&walked.bytes(), Reason::Refused, Action::Tx, &walked.refused().bytes());
    });
}

/// The acknowledgement wraps with the sequence number.
#[test]
fn the_answer_acknowledges_all_of_the_segment() {
    Rig::run("refusedend", |rig| {
        empty_blue(rig);
        let segment =
            Segment { sequence: u32::MAX - 2, payload: vec![1; 9], ..Segment::to_service(flags::SYN) };
        let rst = Segment { sequence: 0, payload: vec![], ..segment.clone() }.refused();
        let rst = Segment { acknowledgement: 7, ..rst };
        rig.expect(&segment.bytes(), Reason::Refused, Action::Tx, &rst.bytes());
    });
}

/// Two hosts that answer one another's RSTs would do so for ever.
#[test]
fn a_rst_is_never_answered() {
    Rig::run("refusedrst", |rig| {
        empty_blue(rig);
        for shape in shapes() {
            for flags in [flags::RST, flags::RST | flags::ACK] {
                rig.expect_drop(&Segment { flags, ..shape.clone() }.bytes(), Reason::NoBackend);
            }
        }
        // Nor is an error about a segment of somebody who is not there.
        let reply = Segment {
            source: Segment::to_service(0).destination,
            destination: Segment::to_service(0).source,
            ..Segment::to_service(flags::ACK)
        };
        let error = IcmpError {
            to: Segment::to_service(0).to,
            from: Segment::to_service(0).from,
            vip: reply.destination.ip(),
            client: reply.source.ip(),
            ..IcmpError::about(&reply, 3, 3, [0; 4])
        };
        rig.expect_drop(&error.bytes(), Reason::NoBackend);
    });
}

#[test]
fn a_datagram_for_nobody_is_answered_as_to_an_unreachable_port() {
    Rig::run("refusedudp", |rig| {
        rig.tables.serve_udp(true).unwrap();
        empty_blue(rig);
        for shape in shapes() {
            for transport in [Transport::Udp, Transport::UdpUnsummed] {
                let datagram = Segment { transport, ..shape.clone() };
                if datagram.destination.is_ipv4() {
                    let told = IcmpError::about(&datagram, 3, 3, [0; 4]);
                    rig.expect(&datagram.bytes(), Reason::Refused, Action::Tx, &told.bytes());
                } else if transport == Transport::Udp {
                    let told = IcmpError::about(&datagram, 1, 4, [0; 4]);
                    rig.expect(&datagram.bytes(), Reason::Refused, Action::Tx, &told.bytes());
                }
            }
        }
    });
}

/// New connections go to current, and are refused if nobody is there, whoever is in base. Those of base go on.
#[test]
fn an_empty_environment_refuses_what_is_its_own() {
    Rig::run("refusednew", |rig| {
        rig.tables.remove_backend(1).unwrap();
        rig.tables.flip(0, Environment::Blue).unwrap();
        let syn = Segment::to_service(flags::SYN);
        rig.expect(&syn.bytes(), Reason::Refused, Action::Tx, &syn.refused().bytes());
        let ack = Segment::to_service(flags::ACK);
        let sent = ack.forwarded(&BACKENDS[0], LAN_MAC);
        rig.expect(&ack.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        assert_eq!(rig.tables.pins().unwrap(), []);
    });
}

/// A connection whose backend is dead belongs to base again: a backend there does not know it, and resets it; if
/// there is none, the node does.
#[test]
fn a_connection_of_a_dead_backend_gets_a_rst() {
    Rig::run("refuseddead", |rig| {
        rig.tables.flip(0, Environment::Blue).unwrap();
        rig.send(&Segment::to_service(flags::SYN).bytes());
        let ack = Segment { sequence: 0x0102_0305, ..Segment::to_service(flags::ACK) };
        let sent = ack.forwarded(&BACKENDS[1], LAN_MAC);
        rig.expect(&ack.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        rig.tables.kill(1).unwrap();
        let sent = ack.forwarded(&BACKENDS[0], LAN_MAC);
        rig.expect(&ack.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        empty_blue(rig);
        rig.expect(&ack.bytes(), Reason::Refused, Action::Tx, &ack.refused().bytes());
        // After the drain too.
        rig.tables.control(0, Phase::Steady, Environment::Blue, Environment::Blue).unwrap();
        rig.expect(&ack.bytes(), Reason::Refused, Action::Tx, &ack.refused().bytes());
    });
}

/// Only so many errors are sent in a time; RSTs, which are smaller than what they answer, always.
#[test]
fn errors_are_limited_in_their_rate() {
    Rig::run("allowance", |rig| {
        rig.tables.serve_udp(true).unwrap();
        empty_blue(rig);
        let datagram = Segment::datagram(b"anybody?");
        let late = Segment { ttl: 1, ..Segment::to_service(flags::ACK) };
        let [first, second] =
            [IcmpError::about(&datagram, 3, 3, [0; 4]), IcmpError::about(&late, 11, 0, [0; 4])];
        rig.expect(&datagram.bytes(), Reason::Refused, Action::Tx, &first.bytes());
        rig.expect(&late.bytes(), Reason::TimeExceeded, Action::Tx, &second.bytes());
        rig.tables.spend_answers().unwrap();
        rig.expect_drop(&datagram.bytes(), Reason::Unanswered);
        rig.expect_drop(&late.bytes(), Reason::Unanswered);
        let ack = Segment::to_service(flags::ACK);
        rig.expect(&ack.bytes(), Reason::Refused, Action::Tx, &ack.refused().bytes());
    });
}
