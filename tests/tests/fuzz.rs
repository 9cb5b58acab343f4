//! Bent packets do the same in the kernel and in plain memory, and what is fuzzed on the host begins with what is
//! fuzzed here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bg_common::reason::Reason;
use bg_fuzz::{Act, Step, encode};
use bg_tests::fuzz::{Plan, fuzz, replay, seeds};
use bg_tests::twin::Pair;

/// Packets of a run.
const PACKETS: u64 = 80_000;

#[test]
fn bent_packets_do_the_same_in_kernel_and_host() {
    let plan = Plan { seed: 1, packets: PACKETS, time: Duration::ZERO };
    let tally = Pair::with("fuzz", |pair| fuzz(pair, plan, &mut |_, _| ()));
    let tally = tally.unwrap_or_else(|finding| panic!("{finding}"));
    eprintln!("{tally}");
    // Nothing fails here, and no case is long enough for more answers than there may be.
    let seldom = [Reason::Failed, Reason::Unanswered];
    for reason in Reason::ALL.iter().filter(|reason| !seldom.contains(reason)) {
        assert!(tally.reasons.get(reason.name()) > Some(&10), "{} too seldom", reason.name());
    }
}

/// A case that goes wrong is shortened to what it takes, and goes wrong again by its bytes alone.
#[test]
fn a_difference_is_found_and_can_be_replayed() {
    Pair::with("replay", |pair| {
        let seeds = seeds();
        let flip = &seeds.iter().find(|seed| seed.name == "flip-v4").expect("a seed with this name").steps;
        let case = encode(flip);
        assert!(replay(pair, &case).is_ok());
        let broken = [&case[..], &encode(&[Step::Act(Act::Dead(0))])].concat();
        // The host takes one device for the other, and the kernel's routes do not.
        pair.kernel.devices.swap(0, 1);
        let finding = replay(pair, &broken).expect_err("another device");
        assert!(finding.case.len() < broken.len(), "{finding}");
        let again = replay(pair, &finding.case).expect_err("the same once more");
        assert_eq!(again.case, finding.case);
        assert!(again.to_string().contains(&finding.hex()));
    });
}

#[test]
fn seeds_in_the_repository_are_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(&folder).expect("the corpus");
    let known: BTreeMap<String, Vec<u8>> = files
        .map(|file| file.expect("an entry of the corpus"))
        .map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).expect("a seed")))
        .collect();
    let made = seeds().into_iter().map(|seed| (seed.name, encode(&seed.steps))).collect();
    assert!(known == made, "`cargo xtask fuzz seeds` writes them anew");
}
