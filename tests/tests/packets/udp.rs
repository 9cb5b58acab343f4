//! UDP, with and without flow affinity, over both versions of IP: cases 13 to 16, and 35.

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::world::{BACKENDS, LAN_MAC, V6_BACKEND, WEB, v6};
use bg_tests::packets::{Action, Rig, Segment, Transport};

/// The two backends of the first service, blue and green, of the datagram's version of IP.
fn backends(datagram: &Segment) -> [usize; 2] {
    let first = if datagram.destination.is_ipv4() { 0 } else { V6_BACKEND };
    [first, first + 1]
}

/// Over IPv4 and over IPv6.
fn both(datagram: Segment) -> [Segment; 2] {
    [datagram.over_v6(), datagram]
}

#[track_caller]
fn goes_to(rig: &mut Rig<'_>, datagram: &Segment, environment: usize) {
    let backend = &BACKENDS[backends(datagram)[environment]];
    let forwarded = datagram.forwarded(backend, LAN_MAC);
    rig.expect(&datagram.bytes(), Reason::Forwarded, Action::Redirect, &forwarded.bytes());
}

/// A reply of a backend of that environment to the sender of this datagram.
fn reply(datagram: &Segment, environment: usize, payload: &[u8]) -> Segment {
    let backend = &BACKENDS[backends(datagram)[environment]];
    Segment {
        from: backend.mac,
        source: backend.address,
        destination: datagram.source,
        payload: payload.to_vec(),
        ..datagram.clone()
    }
}

/// Case 13, with flow affinity: a flow that was there before a flip stays, one that begins after it goes to the
/// live environment, and both keep their backends through a rollback.
#[test]
fn a_flow_keeps_its_backend_through_switches() {
    Rig::run("udpflow", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for old in both(Segment::datagram(b"odd")) {
            let mut new = old.clone();
            new.source.set_port(40_001);
            rig.tables.steady(0, Environment::Blue).unwrap();
            goes_to(rig, &old, 0);
            rig.tables.flip(0, Environment::Blue).unwrap();
            for _ in 0..3 {
                goes_to(rig, &old, 0);
                goes_to(rig, &new, 1);
            }
            rig.tables.flip(0, Environment::Green).unwrap();
            rig.tables.flip(0, Environment::Blue).unwrap();
            goes_to(rig, &old, 0);
            goes_to(rig, &new, 1);
        }
    });
}

/// Case 13, without flow affinity: every datagram goes to the live environment.
#[test]
fn without_affinity_every_datagram_goes_to_the_live_environment() {
    Rig::run("udpfree", |rig| {
        rig.tables.serve_udp(false).unwrap();
        for datagram in both(Segment::datagram(b"even")) {
            rig.tables.steady(0, Environment::Blue).unwrap();
            goes_to(rig, &datagram, 0);
            rig.tables.flip(0, Environment::Blue).unwrap();
            goes_to(rig, &datagram, 1);
        }
    });
}

/// Replies come from the VIP and its port.
#[test]
fn a_reply_comes_from_the_vip() {
    Rig::run("udpreply", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for datagram in both(Segment::datagram(b"question")) {
            let vip = if datagram.destination.is_ipv4() { WEB } else { v6(WEB) };
            for environment in [0, 1] {
                let reply = reply(&datagram, environment, b"the answer");
                rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(vip).bytes());
            }
        }
    });
}

/// Case 14: over IPv4 a datagram may have no checksum, and has none afterwards.
#[test]
fn a_datagram_without_a_checksum_stays_without() {
    Rig::run("udpzero", |rig| {
        rig.tables.serve_udp(true).unwrap();
        let datagram = Segment { transport: Transport::UdpUnsummed, ..Segment::datagram(b"unsummed") };
        goes_to(rig, &datagram, 0);
        let reply = reply(&datagram, 0, b"unsummed too");
        rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &reply.returned(WEB).bytes());
    });
}

/// Case 15: a checksum that computes to 0 is sent as all ones, whichever value it had before.
#[test]
fn a_checksum_that_becomes_zero_is_sent_as_all_ones() {
    Rig::run("udpones", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for datagram in both(Segment::datagram(&[0; 2])) {
            let backend = &BACKENDS[backends(&datagram)[0]];
            let ones = |payload: u16| Segment { payload: payload.to_be_bytes().to_vec(), ..datagram.clone() };
            let at = datagram.forwarded(backend, LAN_MAC).bytes().len() - 4;
            let zero = (0..=u16::MAX)
                .map(ones)
                .find(|datagram| datagram.forwarded(backend, LAN_MAC).bytes()[at..at + 2] == [0xff; 2]);
            goes_to(rig, &zero.expect("one of all payloads has that sum"), 0);
            // And one that comes as all ones leaves as what it should be.
            let from_ones =
                (0..=u16::MAX).map(ones).find(|datagram| datagram.bytes()[at..at + 2] == [0xff; 2]);
            goes_to(rig, &from_ones.expect("one of all payloads has that sum"), 0);
        }
    });
}

/// Case 16: over IPv6 there is no datagram without a checksum.
#[test]
fn over_ipv6_a_datagram_without_a_checksum_is_dropped() {
    Rig::run("udpsix", |rig| {
        rig.tables.serve_udp(true).unwrap();
        let datagram = Segment { transport: Transport::UdpUnsummed, ..Segment::datagram(b"x") }.over_v6();
        rig.expect_drop(&datagram.bytes(), Reason::NoChecksum);
    });
}

/// Case 18, for UDP: a wrong checksum is wrong by as much afterwards.
#[test]
fn a_wrong_checksum_stays_wrong() {
    Rig::run("udpwrong", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for datagram in both(Segment { tcp_error: 0x0101, ..Segment::datagram(b"wrong") }) {
            goes_to(rig, &datagram, 0);
        }
    });
}

/// Lengths that do not fit are dropped; a datagram shorter than its packet is none of ours to judge.
#[test]
fn a_length_that_does_not_fit_is_dropped() {
    Rig::run("udplength", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for datagram in both(Segment::datagram(&[7; 20])) {
            for length in [0_u16, 7, 29, 0xffff] {
                let mut bytes = datagram.bytes();
                let at = bytes.len() - 24;
                bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
                rig.expect_drop(&bytes, Reason::BadHeader);
            }
        }
    });
}

/// A datagram to a port that is no UDP service, though TCP is served there, is the kernel's; and TCP is not
/// disturbed by UDP on the same port.
#[test]
fn tcp_and_udp_of_one_port_are_two_services() {
    Rig::run("udpother", |rig| {
        let datagram = Segment::datagram(b"nobody");
        rig.expect_untouched(&datagram.bytes(), Reason::NotService);
        rig.tables.serve_udp(true).unwrap();
        goes_to(rig, &datagram, 0);
        goes_to(rig, &Segment::to_service(bg_tests::packets::flags::SYN), 0);
    });
}
