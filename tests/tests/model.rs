//! The promise, checked: the real rule and the agent's real procedures in every order of events, and every
//! mutant of them refuted. `cargo xtask model` searches deeper.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::time::Duration;

use bg_common::mutant::Mutant;
use bg_tests::model::machine::Host;
use bg_tests::model::{Finding, Limits, Setup, World, cases, check, replay, shortened};

/// Nothing of what is searched to its end takes nearly as long.
const LONGEST: Duration = Duration::from_mins(5);

/// Past the test harness, which keeps what passes to itself.
fn say(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

fn search(setup: &Setup, limits: Limits) -> Finding {
    let found = check(*setup, limits, |_, _, _| ());
    say(&format!(
        "{:<34} {:>9} states, {:>2} steps, {:.1} s",
        setup.name,
        found.states,
        found.depth,
        found.took.as_secs_f64()
    ));
    if let Some((fault, actions)) = &found.violation {
        panic!("{}: {}\n{:#?}", setup.name, fault.text(), shortened(*setup, actions).1);
    }
    found
}

#[test]
fn every_property_holds_in_every_order_of_events() {
    let mut states = 0;
    for setup in cases::HOLD {
        let found = search(setup, Limits { depth: None, threads: 2, time: Some(LONGEST) });
        assert!(found.complete, "{} was not searched to its end", setup.name);
        states += found.states;
    }
    say(&format!("{states} states in all, every one of them looked at"));
}

#[test]
fn every_property_holds_for_some_steps_of_everything_together() {
    for setup in cases::DEEP {
        search(setup, Limits { depth: None, threads: 2, time: Some(Duration::from_secs(10)) });
    }
}

#[test]
fn packets_that_meet_at_any_word_keep_every_property() {
    for setup in cases::MEET {
        search(setup, Limits { depth: None, threads: 2, time: Some(Duration::from_secs(20)) });
    }
}

#[test]
fn every_mutant_is_refuted() {
    for &mutant in Mutant::ALL {
        let setup = cases::refuting(mutant);
        let limits = Limits { depth: None, threads: 1, time: Some(LONGEST) };
        let found = check(setup, limits, |_, _, _| ());
        let (_, actions) = found.violation.unwrap_or_else(|| panic!("{} is not refuted", mutant.name()));
        let (fault, actions) = shortened(setup, &actions);
        say(&format!("{}: {}\n  {}", mutant.name(), mutant.text(), fault.text()));
        say(&format!("  in {} steps: {actions:?}", actions.len()));
        // The same events with the rule as it is.
        let right = Setup { mutant: None, ..setup };
        assert_eq!(replay(&World::new(right, Host(right)), &actions), None, "{}", mutant.name());
    }
}
