//! Packets that are broken, forged, or none of ours. What is to a service and cannot be sound is dropped;
//! what is not ours is the kernel's, however odd.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bg_common::reason::Reason;
use bg_tests::packets::world::{BACKENDS, EDGE, LAN_MAC, WEB};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// The same packet to an address that is no VIP.
fn elsewhere(segment: &Segment) -> Segment {
    Segment { destination: SocketAddr::from(([198, 51, 100, 1], 443)), ..segment.clone() }
}

/// Sends a packet with one byte changed, to a service and elsewhere.
#[track_caller]
fn expect_bad_only_for_services(rig: &mut Rig<'_>, segment: &Segment, at: usize, bytes: &[u8]) {
    let broken = |segment: &Segment| {
        let mut packet = segment.bytes();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    rig.expect_drop(&broken(segment), Reason::BadHeader);
    rig.expect_untouched(&broken(&elsewhere(segment)), Reason::NotService);
}

/// Case 8: of all 64 combinations of flags, exactly those pass that a connection can have.
#[test]
fn flags_that_no_connection_has_are_dropped() {
    use flags::{ACK, FIN, PSH, RST, SYN, URG};
    Rig::run("flags", |rig| {
        let possible = [SYN, SYN | ACK, RST, RST | ACK, ACK, FIN | ACK];
        for flags in 0..64 {
            for congestion in [0, 0xc0] {
                let segment = Segment::to_service(flags | congestion);
                if possible.contains(&(flags & !(PSH | URG))) {
                    let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
                    rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
                } else {
                    rig.expect_drop(&segment.bytes(), Reason::BadFlags);
                    rig.expect_untouched(&elsewhere(&segment).bytes(), Reason::NotService);
                }
            }
        }
    });
}

/// Case 28: a header shorter than a header, or of another version.
#[test]
fn header_length_below_five_and_other_versions_are_dropped() {
    Rig::run("version", |rig| {
        for first in [0x44, 0x43, 0x40, 0x55, 0x65, 0x05, 0xf5, 0x00] {
            expect_bad_only_for_services(rig, &Segment::to_service(flags::SYN), 14, &[first]);
        }
    });
}

/// Case 29: a total length beyond the frame, below the headers, or below what TCP says.
#[test]
fn lengths_that_contradict_each_other_are_dropped() {
    Rig::run("lengths", |rig| {
        let segment = Segment { payload: vec![7; 10], ..Segment::to_service(flags::ACK) };
        for total in [51_u16, 52, 1500, 0xffff, 39, 20, 19, 1, 0] {
            expect_bad_only_for_services(rig, &segment, 16, &total.to_be_bytes());
        }
        // The TCP header claims less than 20 bytes, or more than there are.
        for offset in [0x00, 0x40, 0xd0, 0xf0] {
            expect_bad_only_for_services(rig, &Segment::to_service(flags::ACK), 46, &[offset]);
        }
    });
}

/// Case 31: a frame cut at every byte. As long as the destination cannot be read it is not ours to judge.
#[test]
fn frames_cut_anywhere_are_judged_only_if_they_are_ours() {
    Rig::run("cut", |rig| {
        let options = vec![1; 8];
        let segment = Segment { ip_options: options, ..Segment::to_service(flags::ACK) };
        let (whole, other) = (segment.bytes(), elsewhere(&segment).bytes());
        for length in 14..34 {
            rig.expect_untouched(&whole[..length], Reason::OtherProtocol);
        }
        for length in 34..whole.len() {
            rig.expect_drop(&whole[..length], Reason::Truncated);
            rig.expect_untouched(&other[..length], Reason::NotService);
        }
        let tagged = Segment { tags: vec![[0x81, 0, 0, 42]; 2], ..segment }.bytes();
        for length in 14..22 + 20 {
            rig.expect_untouched(&tagged[..length], Reason::OtherProtocol);
        }
        rig.expect_drop(&tagged[..22 + 20], Reason::Truncated);
    });
}

/// Case 40: what is neither TCP nor UDP, or addressed to many.
#[test]
fn everything_else_on_the_link_is_the_kernels() {
    Rig::run("others", |rig| {
        let frame = |to: [u8; 6], ethertype: [u8; 2], rest: &[u8]| {
            [&to[..], &[2, 0, 0, 0, 9, 7], &ethertype, rest].concat()
        };
        let ours = Segment::to_service(flags::SYN).to;
        let mut icmp = Segment::to_service(0).ip_bytes();
        icmp[9] = 1;
        let mut sctp = icmp.clone();
        sctp[9] = 132;
        for packet in [
            frame([0xff; 6], [8, 6], &[0; 28]),                         // ARP
            frame(ours, [8, 6], &[0; 28]),                              // ARP, unicast
            frame([1, 0x80, 0xc2, 0, 0, 0x0e], [0x88, 0xcc], &[0; 40]), // LLDP
            frame(ours, [0x86, 0xdd], &[0; 60]),                        // IPv6 of nothing
            frame(ours, [0x00, 0x2e], &[0; 46]),                        // 802.3 with a length
            frame(ours, [8, 0], &sctp),
            frame(ours, [8, 0], &icmp),
        ] {
            rig.expect_untouched(&packet, Reason::OtherProtocol);
        }
        for to in [[0xff; 6], [1, 0, 0x5e, 0, 0, 0xfb]] {
            let segment = Segment { to, ..Segment::to_service(flags::SYN) };
            rig.expect_untouched(&segment.bytes(), Reason::ForeignMac);
        }
    });
}

/// Case 48, first half: a bridge or a promiscuous device shows frames for others; every byte of the
/// address counts.
#[test]
fn frames_for_another_hardware_address_are_the_kernels() {
    Rig::run("mac", |rig| {
        for byte in 0..6 {
            let mut segment = Segment::to_service(flags::SYN);
            segment.to[byte] ^= 0x80;
            rig.expect_untouched(&segment.bytes(), Reason::ForeignMac);
        }
    });
}

/// Case 41: no VIP; a VIP with a port that is no service, by the VIP's policy.
#[test]
fn other_destinations_and_ports() {
    Rig::run("elsewhere", |rig| {
        let to = |destination| Segment { destination, ..Segment::to_service(flags::SYN) }.bytes();
        rig.expect_untouched(&to(SocketAddr::from(([203, 0, 113, 9], 443))), Reason::NotService);
        rig.expect_untouched(&to(SocketAddr::new(WEB.ip(), 444)), Reason::NotService);
        rig.expect_untouched(&to(SocketAddr::new(WEB.ip(), 0)), Reason::NotService);
        rig.expect_drop(&to(SocketAddr::new(EDGE.ip(), 444)), Reason::OtherPort);
        // The entry of the VIP itself has port 0: it is no service.
        rig.expect_drop(&to(SocketAddr::new(EDGE.ip(), 0)), Reason::OtherPort);
    });
}

/// Case 44: sources that no client has, and the last ones that some client may have.
#[test]
fn impossible_sources_are_dropped() {
    Rig::run("martians", |rig| {
        let from =
            |ip: IpAddr| Segment { source: SocketAddr::new(ip, 40_000), ..Segment::to_service(flags::SYN) };
        for source in [
            WEB.ip(), // LAND
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::new(127, 255, 255, 255).into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(0, 1, 2, 3).into(),
            Ipv4Addr::new(224, 0, 0, 1).into(),
            Ipv4Addr::new(239, 255, 255, 255).into(),
            Ipv4Addr::new(240, 0, 0, 1).into(),
            Ipv4Addr::BROADCAST.into(),
        ] {
            rig.expect_drop(&from(source).bytes(), Reason::Martian);
            rig.expect_untouched(&elsewhere(&from(source)).bytes(), Reason::NotService);
        }
        for source in
            [Ipv4Addr::new(1, 0, 0, 0), Ipv4Addr::new(126, 1, 1, 1), Ipv4Addr::new(223, 255, 255, 255)]
        {
            let segment = from(source.into());
            let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
            rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
        }
    });
}
