//! SIGKILL at every boundary of what the agent does: each write, fsync and rename, each store and grace
//! period, each step of clearing, enumerated in a life that is not disturbed and then died at one by one.
//! Whatever was open stays whole, new connections go to one environment, the next agent finishes or undoes
//! what was under way, and history tells which.

use bg_common::control::Control;
use bg_tests::kill::acts::{Act, SHARE};
use bg_tests::kill::ground::Ground;
use bg_tests::kill::trap::{Boundary, worth_dying};
use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::Settings;
use bg_tests::lab::{Environment, other};
use bg_userspace::api::types::{HistoryEntry, Outcome, State};
use std::collections::BTreeSet;

/// A death that is to be died.
struct Death {
    act: Act,
    boundary: Boundary,
    /// The boundaries of the act, in order.
    all: Vec<Boundary>,
    lived: u32,
}

impl Death {
    /// Whether the act has come to the first boundary of that name when the agent dies.
    fn is_past(&self, name: &str) -> bool {
        let place = |wanted: &dyn Fn(&&Boundary) -> bool| self.all.iter().position(|b| wanted(&b));
        let first = place(&|boundary| boundary.name == name);
        first.is_some_and(|first| place(&|boundary| **boundary == self.boundary) >= Some(first))
    }
}

fn settings() -> Settings {
    Settings { syn_lifetime: "1s".into(), idle_horizon: "2s".into(), ..Settings::default() }
}

#[test]
fn killed_at_any_boundary_of_a_switch_a_drain_or_a_change_the_agent_harms_nobody() {
    let mut ground = Ground::new(settings()).unwrap();
    let mut left: Vec<Death> = Vec::new();
    // From STEADY back to STEADY, the short way and the whole way; then changes inside an environment.
    let switches = [Act::Flip, Act::Rollback, Act::Drain, Act::Flip, Act::Drain];
    let changes = [Act::Health, Act::Health, Act::Weigh, Act::Weigh, Act::Member, Act::Member];
    for act in switches.into_iter().chain(changes) {
        let all = ground.rehearse(act).unwrap();
        for boundary in worth_dying(&all) {
            let known = |other: &Death| other.act == act && other.boundary == boundary;
            if !left.iter().any(known) {
                left.push(Death { act, boundary, all: all.clone(), lived: 0 });
            }
        }
    }
    eprintln!("{} deaths to die", left.len());
    let passed: BTreeSet<String> = ground.trap.since(0).unwrap().into_iter().map(|b| b.name).collect();
    assert_covers(&passed);

    let mut died = 0;
    while !left.is_empty() {
        let situation = ground.situation().unwrap();
        let possible = |death: &Death| {
            let writes_ring =
                death.boundary.name.starts_with("ring ") && death.boundary.name != "ring remove";
            situation.allows(death.act, writes_ring)
        };
        let Some(place) = left.iter().position(possible) else {
            ground.go_on().unwrap();
            continue;
        };
        let mut death = left.remove(place);
        if die(&mut ground, &death) {
            died += 1;
        } else {
            death.lived += 1;
            // What came once by chance, with a look at all pins every few seconds, may not come again.
            let stands =
                left.iter().any(|other| other.act == death.act && other.boundary.name == death.boundary.name);
            assert!(
                death.lived < 3 || death.boundary.count > 1 || stands,
                "{:?} never reached {}",
                death.act,
                death.boundary
            );
            if death.lived < 3 {
                left.push(death);
            }
        }
    }
    eprintln!("{died} deaths died");
    ground.finish().unwrap();
}

/// New connections are shared as before, or as they shall be; never in between, and the next agent leaves it so.
#[test]
fn killed_at_any_boundary_of_a_share_the_agent_shares_or_does_not() {
    let mut ground = Ground::new(settings()).unwrap();
    let live = ground.status().unwrap().live;
    let mark = ground.trap.passed().unwrap();
    ground.begin(Act::Share).unwrap();
    ground.complete(Act::Share, live).unwrap();
    ground.wait_for_quiet().unwrap();
    let all = ground.trap.since(mark).unwrap();
    take_back(&mut ground);
    let mut died = 0;
    for boundary in worth_dying(&all) {
        let context = format!("killed at {boundary}");
        ground.trap.set(&boundary).unwrap();
        ground.begin(Act::Share).unwrap();
        let dead = ground.has_died(Act::Share, &boundary).unwrap_or_else(|e| panic!("{context}: {e:#}"));
        died += u32::from(dead);
        let share = ground.share_of(other(live)).unwrap();
        assert!(if dead { [0, SHARE].contains(&share) } else { share == SHARE }, "{context}: {share} %");
        ground.all_whole().unwrap_or_else(|e| panic!("{context}: {e:#}"));
        if dead {
            ground.start().unwrap_or_else(|e| panic!("{context}: {e:#}"));
        } else {
            ground.trap.clear().unwrap();
        }
        let status = ground.status().unwrap();
        assert_eq!((status.live, ground.share_of(other(live)).unwrap()), (live, share), "{context}");
        let told = status.share.map_or(0, usize::from);
        assert_eq!(told, share, "{context}: what status says");
        if share == SHARE {
            take_back(&mut ground);
        }
    }
    eprintln!("{died} deaths died");
    assert!(died > 5, "{all:?}");
    ground.finish().unwrap();
}

/// Ends a share: all new connections go where they went, and those that went elsewhere end.
fn take_back(ground: &mut Ground) {
    let live = ground.status().unwrap().live;
    ground.begin(Act::Rollback).unwrap();
    ground.complete(Act::Rollback, live).unwrap();
    assert_eq!(ground.share_of(other(live)).unwrap(), 0);
    ground.begin(Act::Drain).unwrap();
    ground.complete(Act::Drain, live).unwrap();
}

#[test]
fn killed_while_it_buries_a_backend_the_next_one_gives_its_slots_away() {
    let place = 1;
    for name in ["marked dead", "slots given away"] {
        let mut ground = Ground::new(Settings { plain_probes: true, ..settings() }).unwrap();
        // What is open on a dead backend is lost, whatever anybody does.
        ground.end_all_streams().unwrap();
        let boundary = Boundary { count: 1, name: name.to_owned() };
        ground.trap.set(&boundary).unwrap();
        ground.stage.fleet.server(place).unwrap().kill().unwrap();
        let died = ground.dies_within(&boundary, PATIENCE).unwrap();
        assert!(died, "it never reached {name}: {}", ground.stage.agent().log());
        ground.start_alone().unwrap();
        // In base as well as in current, since nobody else could serve what it served.
        let given = eventually(PATIENCE, || ground.slots_of(place).unwrap() == 0);
        assert!(given, "killed at {name}: {}", ground.stage.agent().log());
        ground.open_streams(Environment::Blue).unwrap();
        ground.end_all_streams().unwrap();
    }
}

/// The kinds of boundaries that there must be.
fn assert_covers(passed: &BTreeSet<String>) {
    let files = ["create", "write", "fsync", "rename", "directory fsync"];
    let of = |what: &str| files.map(|step| format!("{what} {step}"));
    let others =
        ["ring remove", "ledger", "store", "grace", "given up", "remembered", "buried", "emptied", "cleared"];
    let wanted = of("journal").into_iter().chain(of("ring")).chain(others.map(str::to_owned));
    for name in wanted {
        assert!(passed.contains(&name), "`{name}` is not among {passed:?}");
    }
}

/// Has the agent die, and looks at what it left and at what the next one makes of it. `false`: it lived.
fn die(ground: &mut Ground, death: &Death) -> bool {
    let context = || format!("{:?}, killed at {}", death.act, death.boundary);
    let before = ground.status().unwrap();
    let newest = ground.history().unwrap().first().map_or(0, |entry| entry.id);
    let target = ground.live_after(death.act).unwrap();
    ground.trap.set(&death.boundary).unwrap();
    ground.begin(death.act).unwrap();
    let died = ground.has_died(death.act, &death.boundary).unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    if !died {
        ground.trap.clear().unwrap();
        ground.complete(death.act, target).unwrap();
        return false;
    }

    // All blue or all green, as the word says and as its rings say; and the journal knows that word.
    let record = ground.record().unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    let held = ground.held().unwrap();
    let deployment = &record.deployments[0];
    let word = held.word(deployment.index).unwrap();
    let live = held.current(deployment).unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    let stored = death.is_past("store");
    let switches = matches!(death.act, Act::Flip | Act::Rollback);
    let expected = if switches && !stored { before.live } else { target };
    assert_eq!(environment(live), expected, "{}: {word:?}", context());
    let known = [Some(deployment.word), deployment.intent.as_ref().map(|intent| intent.word)];
    let same =
        |known: u64| (Control(known).base(), Control(known).current()) == (word.base(), word.current());
    assert!(known.into_iter().flatten().any(same), "{}: {word:?} is not in {deployment:?}", context());
    ground.open_streams(expected).unwrap_or_else(|e| panic!("{}: {e:#}", context()));

    ground.start().unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    let after = ground.status().unwrap();
    assert_eq!(after.live, expected, "{}", context());
    assert!(after.generation >= before.generation, "{}", context());
    if switches {
        let entries = ground.history().unwrap();
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.id > newest).collect();
        assert_tells(&entries, death, stored, &context());
    }
    if !switches || stored {
        ground.complete(death.act, expected).unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    }
    if death.act == Act::Drain {
        assert_eq!(ground.status().unwrap().state, State::Idle, "{}", context());
        let entries = ground.history().unwrap();
        let open: Vec<_> = entries.iter().filter(|entry| entry.outcome == Outcome::Pending).collect();
        assert!(open.is_empty(), "{}: {open:?}", context());
    }
    ground.all_whole().unwrap_or_else(|e| panic!("{}: {e:#}", context()));
    true
}

/// History says what became of an act that the agent died in.
fn assert_tells(entries: &[HistoryEntry], death: &Death, stored: bool, context: &str) {
    let what = if death.act == Act::Flip { "flip to " } else { "rollback to " };
    let told: Vec<_> = entries.iter().filter(|entry| entry.what.starts_with(what)).collect();
    if !death.is_past("journal rename") {
        assert!(told.is_empty(), "{context}: {told:?}");
        return;
    }
    let [entry] = told.as_slice() else { panic!("{context}: {entries:?}") };
    assert_eq!((entry.uid, entry.who.as_str()), (Some(0), "root"), "{context}");
    let outcomes: &[Outcome] =
        if stored { &[Outcome::Pending, Outcome::Done] } else { &[Outcome::NotCarriedOut] };
    assert!(outcomes.contains(&entry.outcome), "{context}: {entry:?}");
    if death.act == Act::Flip {
        assert_eq!(entry.reason.as_deref(), Some("a test"), "{context}");
    }
}

fn environment(environment: bg_common::control::Environment) -> Environment {
    match environment {
        bg_common::control::Environment::Blue => Environment::Blue,
        bg_common::control::Environment::Green => Environment::Green,
    }
}
