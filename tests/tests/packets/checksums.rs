//! Checksums: an update equals a full computation, at the edges too, and repairs nothing.

use bg_common::reason::Reason;
use bg_tests::packets::craft::checksum;
use bg_tests::packets::world::{BACKENDS, CLIENT, LAN_MAC, WEB};
use bg_tests::packets::{Action, Rig, Segment, flags};

/// Checksums that carry, wrap or vanish.
const EDGES: [u16; 6] = [0x0000, 0x0001, 0x7fff, 0x8000, 0xfffd, 0xfffe];

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Both checksums of a frame without tags and options.
fn checksums(segment: &Segment) -> [u16; 2] {
    let bytes = segment.bytes();
    [word(&bytes, 24), word(&bytes, 50)]
}

/// A segment whose two checksums are `wanted`, before or after the rewriting: the identification and the
/// last word of the payload are chosen so.
fn with_checksums(wanted: u16, after: bool, length: usize) -> Segment {
    let find = |set: &dyn Fn(&mut Segment, u16), which: usize, from: &Segment| {
        (0..=u16::MAX)
            .map(|value| {
                let mut segment = from.clone();
                set(&mut segment, value);
                segment
            })
            .find(|segment| {
                let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
                checksums(if after { &sent } else { segment })[which] == wanted
            })
            .expect("some word leads to every checksum but 0xffff")
    };
    let start = Segment { payload: vec![0x5a; length], ..Segment::to_service(flags::ACK | flags::PSH) };
    let segment = find(&|segment, value| segment.id = value, 0, &start);
    find(&|segment, value| segment.payload[..2].copy_from_slice(&value.to_be_bytes()), 1, &segment)
}

/// Case 17: checksums of 0x0000, 0xfffe and others, before and after, with even and odd payloads.
#[test]
fn an_update_equals_a_full_computation_at_the_edges() {
    Rig::run("edges", |rig| {
        for wanted in EDGES {
            for after in [false, true] {
                for length in [2, 3] {
                    let segment = with_checksums(wanted, after, length);
                    let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
                    rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
                }
            }
        }
    });
}

/// Case 17, the other zero: 0xffff on the wire means what 0x0000 means, and comes out right.
#[test]
fn a_checksum_of_all_ones_counts_as_zero() {
    Rig::run("ones", |rig| {
        let zero = with_checksums(0, false, 3);
        let ones = Segment { ip_error: 0xffff, tcp_error: 0xffff, ..zero.clone() };
        assert_eq!(checksums(&ones), [0xffff, 0xffff]);
        let sent = zero.forwarded(&BACKENDS[0], LAN_MAC);
        rig.expect(&ones.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
    });
}

/// Case 18: who receives a broken packet must be able to see that it is broken. The IPv4 header is the
/// same: a router that repaired it would vouch for an address that may be wrong.
#[test]
fn a_wrong_checksum_stays_wrong_by_as_much() {
    Rig::run("wrong", |rig| {
        for error in [1, 0x1234, 0x8000, 0xfffe] {
            for (ip_error, tcp_error) in [(0, error), (error, 0), (error, error)] {
                let segment = Segment { ip_error, tcp_error, ..Segment::to_service(flags::ACK) };
                let sent = segment.forwarded(&BACKENDS[0], LAN_MAC);
                rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
                let header = &sent.ip_bytes()[..20];
                assert_eq!(checksum(header) == 0, ip_error == 0);
            }
        }
    });
}

/// The same on the way back, with odd payloads of every length that a cache line takes.
#[test]
fn replies_have_right_checksums_for_every_payload_length() {
    Rig::run("sum-lengths", |rig| {
        for length in 0..70 {
            let reply = Segment {
                source: BACKENDS[0].address,
                destination: CLIENT,
                payload: (0..length).map(|i: u8| i.wrapping_mul(37)).collect(),
                ..Segment::to_service(flags::ACK)
            };
            let sent = reply.returned(WEB);
            rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &sent.bytes());
        }
    });
}
