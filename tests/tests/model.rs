//! The promise, checked: the real rule and the agent's real procedures in every order of events, and every
//! mutant of them refuted. `cargo xtask model` searches deeper.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use bg_common::mutant::{Mutant, Stop};
use bg_tests::lab::namespace::Namespace;
use bg_tests::model::kernel::{self, Kernel};
use bg_tests::model::machine::Host;
use bg_tests::model::state::{Fault, Packet};
use bg_tests::model::{Action, Finding, Limits, Replayed, Setup, World, cases, check, replay, shortened};

/// Nothing of what is searched to its end takes nearly as long, on a machine that has nothing else to do.
const LONGEST: Duration = Duration::from_mins(9);

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
fn every_mutant_is_refuted_on_the_host_and_in_the_kernel() {
    kernel::inside("mutants", |namespace| {
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
            let held = replay(&World::new(right, Host(right)), &actions);
            assert_eq!(held.fault, None, "{}", mutant.name());
            // The same events through the program.
            let ways = ways(setup);
            let through = |setup| -> Vec<_> {
                ways.iter().map(|&way| through_the_kernel(setup, way, &actions, namespace)).collect()
            };
            let wrong = through(setup);
            assert!(wrong.iter().any(|replayed| replayed.fault.is_some()), "{}: {wrong:?}", mutant.name());
            let right = through(right);
            assert!(right.iter().all(|replayed| replayed.fault.is_none()), "{}: {right:?}", mutant.name());
            let faults = wrong.iter().filter_map(|replayed| replayed.fault);
            say(&format!("  in the kernel: {}", faults.map(Fault::text).collect::<Vec<_>>().join("; ")));
        }
    });
}

/// The traces of two mutants are not possible for an agent that waits: this is what it waits for.
#[test]
fn no_grace_period_ends_while_a_packet_is_in_the_program() {
    const LONG: Duration = Duration::from_millis(80);
    kernel::inside("grace", |namespace| {
        let world = World::new(Setup::PLAIN, Host(Setup::PLAIN));
        let kernel = Kernel::load(Setup::PLAIN, Some(Stop::Word), 1, namespace).expect("load the program");
        let opened = world.next(&world.start(), Action::Open).expect("the client opens a connection");
        let syn = world.seen(&opened, Packet::Syn(0)).expect("and sends a SYN");
        let (gone, (ended, took)) = kernel
            .stopped(&opened, opened.word, &syn, |_, _, grace| {
                thread::scope(|scope| {
                    let waiting = scope.spawn(|| grace.wait().expect("a grace period"));
                    thread::sleep(LONG);
                    let ended = waiting.is_finished();
                    kernel.let_go();
                    (ended, waiting.join().expect("it ends"))
                })
            })
            .expect("a packet that has read its word stops");
        assert_eq!(gone, Ok(0), "the packet");
        assert!(!ended, "the grace period ended after {took:?}, before the packet did");
    });
}

/// Where a packet of a configuration stops, and the how manieth time it comes there.
type Way = (Option<Stop>, u64);

/// A trace has one access at which packets meet; the program has places that are each like some of them.
fn ways(setup: Setup) -> Vec<Way> {
    if setup.meetings {
        let stops = [(Stop::Word, 1), (Stop::PinLock, 1), (Stop::Recent, 3)];
        stops.into_iter().flat_map(|(stop, times)| (1..=times).map(move |nth| (Some(stop), nth))).collect()
    } else {
        vec![(setup.late.then_some(Stop::Word), 1)]
    }
}

fn through_the_kernel(setup: Setup, way: Way, actions: &[Action], namespace: &Namespace) -> Replayed {
    let (stop, nth) = way;
    let kernel = Kernel::load(setup, stop, nth, namespace).expect("load the program with a mutant");
    replay(&World::new(setup, kernel), actions)
}
