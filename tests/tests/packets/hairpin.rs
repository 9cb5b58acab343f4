//! A backend that is a client of its own VIP, case 43; and tags both ways, case 39.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::world::{BACKENDS, LAN_MAC, V6_BACKEND};
use bg_tests::packets::{Action, Rig, Segment, Transport, flags};

/// A packet of the blue backend to its own service, over both versions.
fn own(transport: Transport) -> [(Segment, usize); 2] {
    let mut packet = Segment { transport, from: BACKENDS[0].mac, ..Segment::to_service(flags::SYN) };
    packet.source.set_ip(BACKENDS[0].address.ip());
    [(packet.over_v6(), V6_BACKEND), (packet, 0)]
}

/// Another backend serves it, and its replies come back as any other. Itself cannot: what comes from outside with
/// its own address it would drop, and the connection would hang as much.
#[test]
fn a_backend_is_served_by_another_and_never_by_itself() {
    Rig::run("hairpin", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for transport in [Transport::Tcp, Transport::Udp] {
            for (packet, first) in own(transport) {
                rig.tables.steady(0, Environment::Blue).unwrap();
                rig.expect_drop(&packet.bytes(), Reason::Hairpin);
                rig.tables.steady(0, Environment::Green).unwrap();
                let green = BACKENDS[first + 1];
                let sent = packet.forwarded(&green, LAN_MAC);
                rig.expect(&packet.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
                let reply = Segment { flags: flags::SYN | flags::ACK, ..packet.answered(&green) };
                let returned =
                    Segment { to: BACKENDS[first].mac, from: LAN_MAC, ..reply.returned(packet.destination) };
                rig.expect(&reply.bytes(), Reason::Returned, Action::Redirect, &returned.bytes());
            }
        }
    });
}

/// A VLAN tag, a priority tag, and two tags, over both versions and transports, and back.
#[test]
fn tags_are_kept_both_ways() {
    Rig::run("tagsback", |rig| {
        rig.tables.serve_udp(true).unwrap();
        let [vlan, priority, outer] = [[0x81, 0, 0x60, 42], [0x81, 0, 0xe0, 0], [0x88, 0xa8, 0, 7]];
        for tags in [vec![vlan], vec![priority], vec![outer], vec![outer, vlan], vec![priority, vlan]] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let packet = Segment {
                    transport,
                    tags: tags.clone(),
                    payload: vec![1, 2, 3],
                    ..Segment::to_service(flags::ACK)
                };
                for (packet, first) in [(packet.over_v6(), V6_BACKEND), (packet, 0)] {
                    rig.expect_both_ways(&packet, &BACKENDS[first]);
                }
            }
        }
    });
}
