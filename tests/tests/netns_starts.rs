//! SIGKILL at every boundary of a start: of the first one, of one after a reboot, and of one that finishes
//! what another death has left. The next start stands where it should, and connections are whole.

use bg_tests::kill::acts::Act;
use bg_tests::kill::ground::Ground;
use bg_tests::kill::reboot::{link_up, shut_down};
use bg_tests::kill::trap::{Boundary, worth_dying};
use bg_tests::lab::Environment;
use bg_tests::lab::binaries::binary;
use bg_tests::lab::config::Settings;
use bg_tests::lab::process;
use bg_userspace::api::types::Outcome;
use std::collections::BTreeSet;

fn settings() -> Settings {
    Settings { syn_lifetime: "1s".into(), idle_horizon: "2s".into(), ..Settings::default() }
}

fn boundary(count: u32, name: &str) -> Boundary {
    Boundary { count, name: name.to_owned() }
}

/// The boundaries of a start that is not disturbed. The agent is down before and after.
fn rehearse(ground: &mut Ground) -> Vec<Boundary> {
    let mark = ground.trap.passed().unwrap();
    ground.start_alone().unwrap();
    ground.wait_for_quiet().unwrap();
    worth_dying(&ground.trap.since(mark).unwrap())
}

fn assert_has(boundaries: &[Boundary], names: &[&str]) {
    for name in names {
        assert!(boundaries.iter().any(|boundary| boundary.name == *name), "no {name} in {boundaries:?}");
    }
}

/// Nothing is in the kernel and nothing on disk.
fn wipe(ground: &mut Ground) {
    let topology = &ground.stage.topology;
    let (bgd, config) = (binary("bgd").unwrap(), ground.stage.config());
    let arguments = ["--config", config.to_str().unwrap(), "detach"];
    process::run(bgd.to_str().unwrap(), &arguments, Some(&topology.node)).unwrap();
    assert!(topology.attached().unwrap().is_empty());
    std::fs::remove_dir_all(topology.workdir.join("state")).unwrap();
}

#[test]
fn killed_in_its_first_start_the_next_one_serves() {
    let mut ground = Ground::new(settings()).unwrap();
    ground.end_all_streams().unwrap();
    ground.stage.kill_agent().unwrap();
    wipe(&mut ground);
    let boundaries = rehearse(&mut ground);
    assert_has(&boundaries, &["installed", "attached", "VIPs added", "ring rename", "journal rename"]);
    for boundary in boundaries {
        ground.stage.kill_agent().unwrap();
        wipe(&mut ground);
        assert!(ground.start_to_die(&boundary).unwrap(), "it never reached {boundary}");
        ground.start().unwrap_or_else(|e| panic!("{boundary}: {e:#}"));
        ground.open_streams(Environment::Blue).unwrap_or_else(|e| panic!("{boundary}: {e:#}"));
        ground.end_all_streams().unwrap();
    }
}

#[test]
fn killed_in_its_start_after_a_reboot_the_next_one_restores_the_same() {
    let mut ground = Ground::new(settings()).unwrap();
    ground.rehearse(Act::Flip).unwrap();
    ground.rehearse(Act::Drain).unwrap();
    // What is only half open when a node goes down is not open: long streams alone.
    ground.end_all_streams().unwrap();
    ground.open_streams(Environment::Green).unwrap();
    let key = ground.held().unwrap().key().unwrap();
    shut_down(&mut ground.stage).unwrap();
    let boundaries = rehearse(&mut ground);
    link_up(&ground.stage).unwrap();
    assert_has(&boundaries, &["installed", "attached", "VIPs added", "journal rename"]);
    for boundary in boundaries {
        let word = ground.held().unwrap().word(0).unwrap();
        shut_down(&mut ground.stage).unwrap();
        assert!(ground.start_to_die(&boundary).unwrap(), "it never reached {boundary}");
        ground.start_alone().unwrap_or_else(|e| panic!("{boundary}: {e:#}"));
        let held = ground.held().unwrap();
        assert_eq!(held.key().unwrap(), key, "{boundary}");
        assert_eq!(held.word(0).unwrap().base(), word.base(), "{boundary}");
        link_up(&ground.stage).unwrap();
        ground.wait_until_known().unwrap();
        ground.all_whole().unwrap_or_else(|e| panic!("{boundary}: {e:#}"));
        ground.open_streams(Environment::Green).unwrap_or_else(|e| panic!("{boundary}: {e:#}"));
    }
    ground.finish().unwrap();
}

#[test]
fn killed_while_it_finishes_what_another_left_the_third_one_finishes() {
    let mut ground = Ground::new(settings()).unwrap();
    let mut seen = BTreeSet::new();
    for (act, first) in [(Act::Flip, boundary(1, "store")), (Act::Drain, boundary(2, "buried"))] {
        die(&mut ground, act, &first);
        let mut boundaries = rehearse(&mut ground);
        // Every kind of step, not every pin; and none that was seen after the other act.
        boundaries.retain(|boundary| boundary.count == 1 && seen.insert(boundary.name.clone()));
        for second in boundaries {
            die(&mut ground, act, &first);
            let context = format!("{act:?}, killed at {first}, and then at {second}");
            // Pins come and go: another start may have fewer of them to free.
            let died = ground.start_to_die(&second).unwrap_or_else(|e| panic!("{context}: {e:#}"));
            assert!(died || second.count > 1, "{context}: it lived");
            if died {
                ground.start().unwrap_or_else(|e| panic!("{context}: {e:#}"));
            }
            let live = ground.status().unwrap().live;
            ground.complete(act, live).unwrap_or_else(|e| panic!("{context}: {e:#}"));
            ground.open_streams(live).unwrap_or_else(|e| panic!("{context}: {e:#}"));
            let newest = ground.history().unwrap().remove(0);
            let outcome = if act == Act::Flip { Outcome::Pending } else { Outcome::Done };
            assert_eq!(newest.outcome, outcome, "{context}: {newest:?}");
        }
    }
    for name in ["installed", "remembered", "buried", "grace", "emptied", "cleared", "journal rename"] {
        assert!(seen.contains(name), "{name} is not in {seen:?}");
    }
    ground.finish().unwrap();
}

/// Has an agent die in an act, whatever has to come before it.
fn die(ground: &mut Ground, act: Act, boundary: &Boundary) {
    ground.trap.clear().unwrap();
    while !ground.situation().unwrap().allows(act, false) {
        ground.go_on().unwrap();
    }
    ground.trap.set(boundary).unwrap();
    ground.begin(act).unwrap();
    assert!(ground.has_died(act, boundary).unwrap(), "{act:?} never reached {boundary}");
    ground.trap.clear().unwrap();
}
