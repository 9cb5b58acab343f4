//! Frames that take several buffers, case 47: more than a page, of which the program sees the first part.

use bg_common::reason::Reason;
use bg_tests::packets::craft::IcmpError;
use bg_tests::packets::world::{BACKENDS, V6_BACKEND};
use bg_tests::packets::{Action, Rig, Segment, Transport, flags};

/// Packets of nearly 9,000 bytes to the service, and the first backend of their version.
fn packets() -> Vec<(Segment, usize)> {
    let payload: Vec<u8> = (0..8800_u32).map(|i| (i * 13) as u8).collect();
    let tcp = Segment { payload, ..Segment::to_service(flags::ACK) };
    let udp = Segment { transport: Transport::Udp, ..tcp.clone() };
    vec![(tcp.clone(), 0), (tcp.over_v6(), V6_BACKEND), (udp.clone(), 0), (udp.over_v6(), V6_BACKEND)]
}

#[test]
fn frames_of_several_buffers_are_forwarded_and_returned() {
    Rig::run("jumbo", |rig| {
        let links = ["link set lan mtu 9000", "link set wan-far mtu 9000", "link set wan mtu 9000"];
        rig.namespace.ip_all(&links.map(String::from)).unwrap();
        rig.tables.serve_udp(true).unwrap();
        for (packet, first) in packets() {
            rig.expect_both_ways(&packet, &BACKENDS[first]);
            let mut cut = packet.bytes();
            cut.truncate(cut.len() - 1);
            rig.expect_drop(&cut, Reason::BadHeader);
        }
    });
}

#[test]
fn frames_of_several_buffers_are_answered() {
    Rig::run("jumboanswer", |rig| {
        for (packet, _) in packets().into_iter().filter(|(packet, _)| packet.transport == Transport::Tcp) {
            let told = if packet.destination.is_ipv4() {
                IcmpError::about(&packet, 3, 4, [0, 0, 5, 220])
            } else {
                IcmpError::about(&packet, 2, 0, [0, 0, 5, 220])
            };
            rig.expect(&packet.bytes(), Reason::FragmentationNeeded, Action::Tx, &told.bytes());
        }
        rig.tables.remove_backend(0).unwrap();
        rig.tables.remove_backend(V6_BACKEND as u16).unwrap();
        for (packet, _) in packets().into_iter().filter(|(packet, _)| packet.transport == Transport::Tcp) {
            let rst = packet.refused();
            rig.expect(&packet.bytes(), Reason::Refused, Action::Tx, &rst.bytes());
        }
    });
}
