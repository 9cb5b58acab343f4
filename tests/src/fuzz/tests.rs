//! Bending gives every kind of change, and cases that can be had again.

use bg_fuzz::{Step, decode, encode};

use super::{mutated, seeds};
use crate::twin::Random;

#[test]
fn seeds_survive_their_bytes_and_have_names_of_their_own() {
    let seeds = seeds();
    let mut names: Vec<_> = seeds.iter().map(|seed| &seed.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), seeds.len());
    for seed in seeds {
        assert_eq!(decode(&encode(&seed.steps)), seed.steps, "{}", seed.name);
    }
}

#[test]
fn bent_cases_differ_in_every_way_and_follow_from_the_seed() {
    let seeds = seeds();
    let bend = |number: u64| {
        let mut random = Random::new(number);
        let [case, other] = [0, 1].map(|_| &seeds[random.below(seeds.len() as u32) as usize].steps);
        (case.clone(), mutated(case, other, &mut random))
    };
    let (mut longer, mut shorter, mut acts, mut same) = (0, 0, 0, 0);
    for number in 0..4000 {
        let (was, is) = bend(number);
        assert_eq!(bend(number).1, is);
        let bytes = |steps: &[Step]| steps.iter().map(length).sum::<usize>();
        longer += u32::from(bytes(&is) > bytes(&was));
        shorter += u32::from(bytes(&is) < bytes(&was));
        acts += u32::from(is.iter().filter(|step| matches!(step, Step::Act(_))).count() > 0);
        same += u32::from(was == is);
    }
    assert!(longer > 200 && shorter > 200 && acts > 500 && same < 1000, "{longer} {shorter} {acts} {same}");
}

fn length(step: &Step) -> usize {
    if let Step::Packet { bytes, .. } = step { bytes.len() } else { 0 }
}
