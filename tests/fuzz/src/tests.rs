//! The seeds keep every rule, and a broken rule is seen.

use std::fs;
use std::path::Path;

use bg_common::reason::Reason;

use super::*;

/// The cases that fuzzing begins with, each with its name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(&folder).expect("the corpus: `cargo xtask fuzz seeds` makes it");
    let mut seeds: Vec<_> = files
        .map(|file| file.expect("an entry of the corpus"))
        .map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).expect("a seed")))
        .collect();
    seeds.sort();
    assert!(seeds.len() > 20, "{} seeds", seeds.len());
    seeds
}

/// What came of every packet of the seeds.
fn arrivals() -> Vec<Arrival> {
    let of_case = |bytes: &[u8]| {
        let mut judge = Judge::new(node::host());
        decode(bytes).iter().filter_map(|step| judge.take(step)).collect::<Vec<_>>()
    };
    seeds().iter().flat_map(|(_, bytes)| of_case(bytes)).collect()
}

fn reason(arrival: &Arrival) -> Reason {
    judged(arrival).expect("the seeds keep every rule")
}

#[test]
fn seeds_keep_every_rule_and_come_to_nearly_every_end() {
    let seen: Vec<Reason> = arrivals().iter().map(reason).collect();
    let left: Vec<_> = Reason::ALL.iter().filter(|reason| !seen.contains(reason)).collect();
    // The host's memory refuses nothing, and no case is long enough for more answers than there may be.
    let seldom = [Reason::Failed, Reason::Unanswered];
    assert!(left.iter().all(|reason| seldom.contains(reason)), "{left:?}");
}

/// Every few bytes; `cargo xtask fuzz` does more, and better.
#[test]
fn cut_and_spoilt_seeds_keep_every_rule() {
    for (number, (_, bytes)) in seeds().into_iter().enumerate() {
        for at in (number % 7..bytes.len()).step_by(7) {
            run(&bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 1 << (at % 8);
            run(&spoilt);
        }
    }
}

/// The judge is one only if it sees what is wrong with a packet that was right.
#[test]
fn one_wrong_byte_is_seen() {
    let mut faults = [0; 6];
    let mut direct = [0; 4];
    for right in arrivals() {
        let spoil = |change: &dyn Fn(&mut Arrival)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            judged(&wrong).err()
        };
        let flip = |at: usize| move |wrong: &mut Arrival| wrong.is[at] ^= 1;
        assert!(spoil(&|wrong| wrong.counted.clear()).is_some());
        assert!(spoil(&|wrong| wrong.counted[0].1.bytes += 1).is_some());
        let longer = spoil(&|wrong| wrong.is.push(0)).is_some();
        let sums = sums::sums(&right.came);
        if let Some(kind) = answered_directly(&right) {
            assert!(longer);
            for at in (0..right.is.len()).filter(|&at| !hashed(&right, at)) {
                assert!(spoil(&flip(at)).is_some(), "byte {at} of {right:02x?}");
            }
            assert!(spoil(&|wrong| wrong.is.truncate(wrong.is.len() - 1)).is_some());
            direct[kind] += 1;
            continue;
        }
        match reason(&right) {
            Reason::Forwarded | Reason::Returned if sums[..2].contains(&sums::Sum::Right) => {
                assert!(longer && spoil(&flip(30)).is_some(), "{right:02x?}");
                assert!(spoil(&flip(6)).is_some() && spoil(&flip(12)).is_some());
                faults[0] += 1;
            }
            Reason::ErrorForwarded | Reason::ErrorReturned if sums[1] == sums::Sum::Right => {
                // In the quote's addresses.
                assert!(longer && spoil(&flip(14 + 20 + 8 + 15)).is_some(), "{right:02x?}");
                faults[1] += 1;
            }
            Reason::TimeExceeded | Reason::FragmentationNeeded => {
                assert!(spoil(&flip(right.is.len() - 1)).is_some() && spoil(&flip(0)).is_some());
                faults[2] += 1;
            }
            Reason::NotService | Reason::OwnTraffic | Reason::OtherProtocol if !right.is.is_empty() => {
                assert!(longer && spoil(&flip(right.is.len() - 1)).is_some());
                faults[3] += 1;
            }
            Reason::ForwardedByKernel | Reason::ReturnedByKernel => {
                assert!(longer);
                faults[4] += 1;
            }
            _ => {
                assert!(spoil(&|wrong| wrong.action = bg_ebpf::verdict::Action::Redirect(99)).is_some());
                faults[5] += 1;
            }
        }
    }
    assert!(faults.iter().all(|&count| count > 1), "{faults:?}");
    assert!(direct.iter().all(|&count| count > 1), "{direct:?}");
}

/// Whether a packet was sent on to a backend that answers its client itself: as it came, within one of IPv4 or of
/// IPv6, or within one that the kernel sends.
fn answered_directly(arrival: &Arrival) -> Option<usize> {
    let sent = matches!(
        reason(arrival),
        Reason::Forwarded | Reason::Encapsulated | Reason::ErrorForwarded | Reason::ForwardedByKernel
    );
    crate::direct::to_vip(&arrival.came).filter(|_| sent)?;
    Some(match (arrival.is.len() - arrival.came.len(), reason(arrival)) {
        (_, Reason::ForwardedByKernel) => 3,
        (0, _) => 0,
        (20, _) => 1,
        _ => 2,
    })
}

/// Whether a byte is part of the flow's hash, which the judge does not know, and of nothing else: one byte of an
/// outer source of IPv6, whose others are the flow label too.
fn hashed(arrival: &Arrival, at: usize) -> bool {
    let start = sums::ip_at(&arrival.is).expect("it is IP");
    arrival.is.len() - arrival.came.len() == 40 && at == start + 20
}

/// The two ways to a checksum agree where they can: what is mended is right.
#[test]
fn mended_frames_are_right() {
    let mut right = 0;
    for mut frame in arrivals().into_iter().map(|arrival| arrival.came) {
        sums::mend(&mut frame);
        let sums = sums::sums(&frame);
        assert!(!sums.contains(&sums::Sum::Wrong), "{sums:?} of {frame:02x?}");
        right += sums.iter().filter(|sum| **sum == sums::Sum::Right).count();
    }
    assert!(right > 100, "{right}");
}
