//! IPv6: headers, extension headers and fragments, sound and broken.

use bg_common::reason::Reason;
use bg_tests::packets::extension::{DESTINATION, HOP_BY_HOP, fragment, options, routing};
use bg_tests::packets::over_v6::{elsewhere, expect_forwarded, expect_returned, from_backend, to_service};
use bg_tests::packets::{Rig, Segment, flags};

const ESP: u8 = 50;
const AH: u8 = 51;
const NO_NEXT: u8 = 59;

/// Case 36: chains of headers are walked, in both directions, and kept as they are.
#[test]
fn extension_headers_are_walked() {
    Rig::run("v6chain", |rig| {
        let chains = [
            vec![options(HOP_BY_HOP, 8)],
            vec![options(DESTINATION, 8)],
            vec![options(DESTINATION, 1400)],
            vec![routing(0)],
            vec![options(HOP_BY_HOP, 16), options(DESTINATION, 32), routing(0), options(DESTINATION, 8)],
            vec![fragment(0, false)],
            vec![options(HOP_BY_HOP, 8), routing(0), fragment(0, false), options(DESTINATION, 264)],
            vec![options(DESTINATION, 8); 8],
        ];
        for extensions in chains {
            let segment = Segment { extensions, payload: vec![5; 3], ..to_service(flags::ACK) };
            expect_forwarded(rig, &segment, 0);
            rig.expect_untouched(&elsewhere(&segment).bytes(), Reason::NotService);
            let reply = Segment { extensions: segment.extensions, ..from_backend(0, flags::ACK) };
            expect_returned(rig, &reply);
        }
    });
}

/// Cases 36 and 38: what is beyond the bound, out of place, unknown or secret is the kernel's.
#[test]
fn other_headers_are_the_kernels() {
    Rig::run("v6kernel", |rig| {
        let chains = [
            vec![options(DESTINATION, 8); 9],
            vec![options(DESTINATION, 2048)],
            vec![options(DESTINATION, 1024), options(DESTINATION, 1024)],
            vec![options(DESTINATION, 8), options(HOP_BY_HOP, 8)],
            vec![routing(1)],
            vec![fragment(0, false), fragment(0, false)],
            vec![options(AH, 24)],
            vec![options(ESP, 24)],
            vec![options(NO_NEXT, 8)],
            vec![options(135, 8)],
            vec![options(253, 8)],
            vec![options(58, 8)], // neighbour discovery and the like
            vec![options(HOP_BY_HOP, 8), options(58, 24)], // MLD
        ];
        for extensions in chains {
            let segment = Segment { extensions, ..to_service(flags::SYN) };
            rig.expect_untouched(&segment.bytes(), Reason::OtherProtocol);
        }
    });
}

/// Cases 8, 28, 29, 30, 31: broken ones, judged only if they are to a service.
#[test]
fn broken_packets_are_dropped_only_if_they_are_ours() {
    Rig::run("v6broken", |rig| {
        let possible = [2, 18, 4, 20, 16, 17];
        for flags in 0..64 {
            let segment = to_service(flags);
            if possible.contains(&(flags & !(flags::PSH | flags::URG))) {
                expect_forwarded(rig, &segment, 0);
            } else {
                rig.expect_drop(&segment.bytes(), Reason::BadFlags);
            }
        }
        let segment = Segment { payload: vec![7; 10], ..to_service(flags::ACK) };
        let mut bad: Vec<(usize, Vec<u8>)> = [0x40, 0x50, 0x70, 0x00].map(|v| (14, vec![v])).to_vec();
        bad.extend([31_u16, 1500, 0xffff, 19, 1, 0].map(|length| (18, length.to_be_bytes().to_vec())));
        bad.extend([0x00, 0x40, 0xf0].map(|offset| (66, vec![offset])));
        for (at, value) in bad {
            for (segment, ours) in [(&segment, true), (&elsewhere(&segment), false)] {
                let mut packet = segment.bytes();
                packet[at..at + value.len()].copy_from_slice(&value);
                if ours {
                    rig.expect_drop(&packet, Reason::BadHeader);
                } else {
                    rig.expect_untouched(&packet, Reason::NotService);
                }
            }
        }
        let padded = Segment { padding: vec![0xde; 6], ..to_service(flags::ACK) };
        expect_forwarded(rig, &padded, 0);

        let segment = Segment { extensions: vec![options(DESTINATION, 16)], ..to_service(flags::ACK) };
        let (whole, other) = (segment.bytes(), elsewhere(&segment).bytes());
        // Up to the header that says what follows it nobody can tell whether it is TCP.
        for length in 14..14 + 48 {
            rig.expect_untouched(&whole[..length], Reason::OtherProtocol);
        }
        for length in 14 + 48..whole.len() {
            rig.expect_drop(&whole[..length], Reason::Truncated);
            rig.expect_untouched(&other[..length], Reason::NotService);
        }
    });
}
