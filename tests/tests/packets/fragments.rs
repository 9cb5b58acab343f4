//! Fragments: the first one goes the way of any packet, the later ones follow it. Cases 32 to 34, and 37.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::{DF, IcmpError};
use bg_tests::packets::extension::{DESTINATION, HOP_BY_HOP, options};
use bg_tests::packets::world::{
    BACKENDS, Backend, CLIENT_MAC, EDGE, LAN_MAC, SILENT, THIN_CLIENT, THIN_MAC, THIN_MTU, V6_BACKEND, WEB,
    v6,
};
use bg_tests::packets::{Action, Rig, Segment, Transport, flags};

/// Where a packet of the cases is cut, bytes behind its IP header.
const CUTS: [usize; 2] = [800, 1480];

/// Packets of the client to the first service that need three fragments: UDP and TCP, over both versions.
fn packets() -> Vec<Segment> {
    let payload: Vec<u8> = (0..2001_u32).map(|i| (i * 7) as u8).collect();
    let bare = Segment { payload, fragment: 0, ..Segment::to_service(flags::ACK) };
    let shapes = [
        bare.clone(),
        Segment { transport: Transport::Udp, ..bare.clone() },
        Segment { tags: vec![[0x81, 0, 0x60, 42]], tcp_options: vec![1; 12], tos: 0xb9, ..bare.clone() },
        Segment { transport: Transport::Udp, ip_options: vec![1; 8], tcp_error: 0x0101, ..bare },
    ];
    let both = shapes.iter().flat_map(|shape| [shape.clone(), shape.over_v6()]);
    both.zip(1..).map(|(shape, number)| Segment { id: number * 100, ..shape }).collect()
}

/// The backend of that environment, of the packet's version of IP.
fn backend(packet: &Segment, environment: usize) -> &'static Backend {
    &BACKENDS[environment + if packet.destination.is_ipv4() { 0 } else { V6_BACKEND }]
}

/// Expects that a fragment leaves for its backend, as the part of the whole packet that has been forwarded.
#[track_caller]
fn forwarded(rig: &mut Rig<'_>, packet: &Segment, number: usize, to: &Backend) {
    let sent = packet.forwarded(to, LAN_MAC).split(&CUTS);
    rig.expect(&packet.split(&CUTS)[number], Reason::Forwarded, Action::Redirect, &sent[number]);
}

/// Case 32, 33 and 37: with the same backend, whatever else has been switched meanwhile.
#[test]
fn later_fragments_follow_the_first() {
    Rig::run("frag", |rig| {
        rig.tables.serve_udp(false).unwrap();
        for packet in packets() {
            rig.tables.steady(0, Environment::Blue).unwrap();
            let blue = backend(&packet, 0);
            for number in [0, 1, 2, 2, 1] {
                forwarded(rig, &packet, number, blue);
            }
            rig.tables.steady(0, Environment::Green).unwrap();
            forwarded(rig, &packet, 1, blue);
            // The next packet that has the number is another one.
            forwarded(rig, &packet, 0, backend(&packet, 1));
            forwarded(rig, &packet, 2, backend(&packet, 1));
        }
        assert_eq!(rig.service_counter(0, 0).packets, 4 * 6);
        assert_eq!(rig.service_counter(0, 1).packets, 4 * 2);
    });
}

/// Case 33: without the first one nobody knows where to; only what is to a VIP is judged.
#[test]
fn later_fragments_of_unknown_packets_are_dropped_if_they_are_ours() {
    Rig::run("fragunknown", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for packet in packets() {
            let whole = packet.split(&CUTS);
            rig.expect_drop(&whole[1], Reason::UnknownFragment);
            rig.send(&whole[0]);
            let other = packet.destination.is_ipv4().then(|| {
                let transport =
                    if packet.transport == Transport::Tcp { Transport::Udp } else { Transport::Tcp };
                Segment { transport, ..packet.clone() }
            });
            let mut stranger = packet.clone();
            stranger.source.set_ip(if packet.source.is_ipv4() {
                "192.0.2.8".parse().unwrap()
            } else {
                "2001:db8:c000::208".parse().unwrap()
            });
            let next = Segment { id: packet.id + 1, ..packet.clone() };
            for unknown in [Some(stranger), Some(next), other].into_iter().flatten() {
                rig.expect_drop(&unknown.split(&CUTS)[1], Reason::UnknownFragment);
            }
            let reply = reply(&packet, 0);
            rig.expect_untouched(&reply.split(&CUTS)[1], Reason::LaterFragment);
            forwarded(rig, &packet, 1, backend(&packet, 0));
            // Half a minute later it is another packet's.
            rig.tables.age_fragments(28).unwrap();
            rig.expect_drop(&whole[1], Reason::UnknownFragment);
        }
    });
}

/// A backend's answer to a packet.
fn reply(packet: &Segment, environment: usize) -> Segment {
    let backend = backend(packet, environment);
    Segment { from: backend.mac, source: backend.address, destination: packet.source, ..packet.clone() }
}

/// Replies are fragmented too, and come from the VIP as a whole.
#[test]
fn fragments_of_a_reply_come_from_the_vip() {
    Rig::run("fragreply", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for packet in packets() {
            for environment in [0, 1] {
                let reply = reply(&packet, environment);
                let sent = reply.returned(packet.destination).split(&CUTS);
                for (fragment, sent) in reply.split(&CUTS).iter().zip(&sent) {
                    rig.expect(fragment, Reason::Returned, Action::Tx, sent);
                }
            }
        }
    });
}

/// Behind what else is in front of a fragment's header, and behind it.
#[test]
fn extension_headers_around_fragments_are_kept() {
    Rig::run("fragchain", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for packet in packets().into_iter().filter(|packet| packet.destination.is_ipv6()) {
            let packet =
                Segment { extensions: vec![options(HOP_BY_HOP, 8), options(DESTINATION, 24)], ..packet };
            for number in 0..3 {
                forwarded(rig, &packet, number, backend(&packet, 0));
            }
            // Options that are fragmented with the rest: the later ones would not say whose they are.
            let inner = Segment { extensions: vec![options(DESTINATION, 16)], ..packet.clone() }.ip_bytes();
            let mut header = inner[..40].to_vec();
            header[6] = DESTINATION;
            let bare = Segment { extensions: vec![], ..packet };
            let first = bare.fragment_frame(&header, 0, &inner[40..840], true);
            rig.expect_untouched(&first, Reason::OtherProtocol);
            let later = bare.fragment_frame(&header, 800, &inner[840..], false);
            rig.expect_untouched(&later, Reason::OtherProtocol);
        }
    });
}

/// Case 34: a first one that cuts the transport header, a later one that lies over the first, and what fits no
/// packet.
#[test]
fn fragments_that_could_hide_ports_are_dropped() {
    Rig::run("fragtiny", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for packet in packets() {
            let front = packet.front();
            let data = &packet.ip_bytes()[front.len()..];
            let tcp = packet.transport == Transport::Tcp;
            // Where the frame ends with it, nothing of the rest can be read; padding looks like it.
            let padded = Segment { padding: vec![0; 30], ..packet.clone() };
            for length in [8, 16].into_iter().filter(|_| tcp) {
                let cut = packet.fragment_frame(&front, 0, &data[..length], true);
                rig.expect_drop(&cut, Reason::Truncated);
                let cut = padded.fragment_frame(&front, 0, &data[..length], true);
                rig.expect_drop(&cut, Reason::BadFragment);
            }
            if tcp && !packet.tcp_options.is_empty() {
                let cut = padded.fragment_frame(&front, 0, &data[..24], true);
                rig.expect_drop(&cut, Reason::BadFragment);
            }
            // No other can begin where it ends.
            for length in [799, 801, 804] {
                let odd = packet.fragment_frame(&front, 0, &data[..length], true);
                rig.expect_drop(&odd, Reason::BadFragment);
            }
            rig.expect_drop(&packet.split(&CUTS)[1], Reason::UnknownFragment);

            forwarded(rig, &packet, 0, backend(&packet, 0));
            for start in [8, 16, 24, 792] {
                let over = packet.fragment_frame(&front, start, &data[start..1480], true);
                rig.expect_drop(&over, Reason::BadFragment);
            }
            for (start, length, more) in
                [(800, 0, false), (800, 9, true), (65_528, 8, false), (65_000, 600, true)]
            {
                let odd = packet.fragment_frame(&front, start, &vec![1; length], more);
                rig.expect_drop(&odd, Reason::BadFragment);
            }
            let mut cut = packet.split(&CUTS)[1].clone();
            cut.truncate(cut.len() - 1);
            rig.expect_drop(&cut, Reason::BadFragment);
            forwarded(rig, &packet, 1, backend(&packet, 0));
        }
    });
}

/// Somebody else's first fragment leads the later ones astray only until the true one has come.
#[test]
fn the_last_first_fragment_counts() {
    Rig::run("fragforged", |rig| {
        rig.tables.serve_udp(true).unwrap();
        rig.tables.flip(0, Environment::Blue).unwrap();
        for packet in packets().into_iter().filter(|packet| packet.transport == Transport::Udp) {
            let mut forged = packet.clone();
            forged.source.set_port(packet.source.port() ^ 1);
            rig.tables.steady(0, Environment::Blue).unwrap();
            forwarded(rig, &packet, 0, backend(&packet, 0));
            rig.tables.steady(0, Environment::Green).unwrap();
            forwarded(rig, &forged, 0, backend(&packet, 1));
            forwarded(rig, &packet, 1, backend(&packet, 1));
            rig.tables.steady(0, Environment::Blue).unwrap();
            forwarded(rig, &packet, 0, backend(&packet, 0));
            forwarded(rig, &packet, 1, backend(&packet, 0));
        }
    });
}

/// Nobody is told about a later fragment; the first one's sender is.
#[test]
fn fragments_without_hops_left_end_here() {
    Rig::run("fragttl", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for packet in packets() {
            let late = Segment { ttl: 1, ..packet.clone() };
            let first = late.split(&CUTS)[0].clone();
            let link = 14 + 4 * late.tags.len();
            let whole = late.split(&CUTS)[0][link..].to_vec();
            let (kind, length) =
                if late.destination.is_ipv4() { (11, late.front().len() + 8) } else { (3, 1232) };
            let mut quote = whole;
            quote.truncate(length);
            let told = IcmpError { quote, ..IcmpError::about(&late, kind, 0, [0; 4]) };
            rig.expect(&first, Reason::TimeExceeded, Action::Tx, &told.bytes());
            rig.expect_drop(&late.split(&CUTS)[1], Reason::UnknownFragment);
            forwarded(rig, &packet, 0, backend(&packet, 0));
            rig.expect_drop(&late.split(&CUTS)[1], Reason::FragmentTtl);
            let reply = reply(&packet, 0);
            rig.send(&reply.split(&CUTS)[0]);
            let late = Segment { ttl: 1, ..reply };
            rig.expect_untouched(&late.split(&CUTS)[1], Reason::ReturnTtl);
        }
    });
}

/// What does not fit the way out: the kernel cuts it further, or over IPv6 the sender is told.
#[test]
fn fragments_larger_than_the_way_out() {
    Rig::run("fragmtu", |rig| {
        rig.tables.serve_udp(true).unwrap();
        rig.tables.steady(1, Environment::Green).unwrap();
        let cuts = [80, 1440];
        let packet = Segment {
            destination: EDGE,
            payload: vec![0x5a; 2000],
            fragment: 0,
            ..Segment::to_service(flags::ACK)
        };
        let sent = packet.forwarded(&BACKENDS[5], THIN_MAC).split(&cuts);
        let whole = packet.split(&cuts);
        rig.expect(&whole[0], Reason::Forwarded, Action::Redirect, &sent[0]);
        let rewritten = Segment { destination: BACKENDS[5].address, ..packet.clone() }.split(&cuts);
        rig.expect(&whole[1], Reason::ForwardedByKernel, Action::Pass, &rewritten[1]);
        rig.expect(&whole[2], Reason::Forwarded, Action::Redirect, &sent[2]);

        let packet = packet.over_v6();
        let sent = packet.forwarded(&BACKENDS[V6_BACKEND + 5], THIN_MAC).split(&cuts);
        let whole = packet.split(&cuts);
        rig.expect(&whole[0], Reason::Forwarded, Action::Redirect, &sent[0]);
        let mtu = THIN_MTU.to_be_bytes();
        let quote = whole[1][14..14 + 1232].to_vec();
        let told = IcmpError { quote, ..IcmpError::about(&packet, 2, 0, [0, 0, mtu[0], mtu[1]]) };
        rig.expect(&whole[1], Reason::FragmentationNeeded, Action::Tx, &told.bytes());
    });
}

/// A backend whose neighbour is not known: the kernel sends all of them.
#[test]
fn fragments_to_a_silent_backend_are_the_kernels() {
    Rig::run("fragsilent", |rig| {
        let packet = Segment {
            destination: EDGE,
            payload: vec![0x5a; 2000],
            fragment: 0,
            ..Segment::to_service(flags::ACK)
        };
        for (packet, silent) in [(packet.over_v6(), SILENT + V6_BACKEND), (packet, SILENT)] {
            let rewritten = Segment { destination: BACKENDS[silent].address, ..packet.clone() };
            for (came, leaves) in packet.split(&CUTS).iter().zip(&rewritten.split(&CUTS)) {
                rig.expect(came, Reason::ForwardedByKernel, Action::Pass, leaves);
            }
        }
    });
}

/// A VIP's other ports are the kernel's, and so are the fragments of what comes there.
#[test]
fn fragments_to_other_ports_of_a_vip_stay_together() {
    Rig::run("fragother", |rig| {
        for mut packet in packets() {
            packet.destination.set_port(9999);
            for fragment in packet.split(&CUTS).iter().take(1) {
                rig.expect_untouched(fragment, Reason::NotService);
            }
            for fragment in packet.split(&CUTS).iter().skip(1) {
                rig.expect_untouched(fragment, Reason::LaterFragment);
            }
        }
        // Where other ports are dropped, so are they.
        let packet = Segment { payload: vec![1; 2000], fragment: 0, ..Segment::to_service(flags::ACK) };
        let mut dropped = Segment { destination: EDGE, ..packet.clone() };
        dropped.destination.set_port(9999);
        rig.expect_drop(&dropped.split(&CUTS)[0], Reason::OtherPort);
        rig.expect_drop(&dropped.split(&CUTS)[1], Reason::UnknownFragment);
        // To others, from others.
        let foreign = Segment { destination: BACKENDS[1].address, ..packet };
        rig.expect_untouched(&foreign.split(&CUTS)[0], Reason::NotService);
        rig.expect_untouched(&foreign.split(&CUTS)[1], Reason::LaterFragment);
    });
}

/// Nobody is there: the first fragment is answered, and the later ones have nowhere to go.
#[test]
fn fragments_for_nobody_are_refused() {
    Rig::run("fragrefused", |rig| {
        rig.tables.remove_backend(0).unwrap();
        let packet = Segment { payload: vec![1; 2000], fragment: 0, ..Segment::to_service(flags::ACK) };
        let rst = Segment { payload: vec![], fragment: DF, ..packet.clone() }.refused();
        rig.expect(&packet.split(&CUTS)[0], Reason::Refused, Action::Tx, &rst.bytes());
        rig.expect_drop(&packet.split(&CUTS)[1], Reason::UnknownFragment);
    });
}

/// A backend's reply that has grown too large for the clients' side, in fragments that do not fit either.
#[test]
fn fragments_of_a_reply_larger_than_the_way_back() {
    Rig::run("fragback", |rig| {
        let reply = Segment {
            from: BACKENDS[0].mac,
            source: BACKENDS[0].address,
            destination: THIN_CLIENT,
            payload: vec![0x5a; 2000],
            fragment: 0,
            ..Segment::to_service(flags::ACK)
        };
        let cuts = [80, 1440];
        let whole = reply.split(&cuts);
        let sent = Segment { to: CLIENT_MAC, from: THIN_MAC, source: WEB, ttl: 63, ..reply.clone() };
        rig.expect(&whole[0], Reason::Returned, Action::Redirect, &sent.split(&cuts)[0]);
        let rewritten = Segment { source: WEB, ..reply.clone() };
        rig.expect(&whole[1], Reason::ReturnedByKernel, Action::Pass, &rewritten.split(&cuts)[1]);
        let reply = Segment { source: BACKENDS[V6_BACKEND].address, ..reply.over_v6() };
        let whole = reply.split(&cuts);
        let sent = Segment { to: CLIENT_MAC, from: THIN_MAC, source: v6(WEB), ttl: 63, ..reply };
        rig.expect(&whole[0], Reason::Returned, Action::Redirect, &sent.split(&cuts)[0]);
        rig.expect_untouched(&whole[1], Reason::ReturnTooBig);
    });
}
