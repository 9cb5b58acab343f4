//! The journal where it counts: after a reboot connections go on where they were; a journal that cannot be
//! read, and a disk that is full, stop nobody's traffic.

use bg_common::control::Phase;
use bg_tests::kill::held::Held;
use bg_tests::kill::reboot::{ANOTHER_BOOT, link_up, record, shut_down, state_dir};
use bg_tests::lab::agent::{PATIENCE, refusal};
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::disk::Disk;
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::Topology;
use bg_tests::lab::witness::Resets;
use bg_tests::lab::{Environment, word};
use bg_tests::streamer::load::Load;
use bg_userspace::api::types::{HistoryResult, Outcome, State};
use bg_userspace::journal::FILE;
use std::fs;

const STREAMS: u32 = 9;

fn settings() -> Settings {
    Settings { syn_lifetime: "1s".into(), idle_horizon: "3s".into(), ..Settings::default() }
}

fn held(stage: &Stage) -> Held {
    Held::open(&stage.topology.workdir.bpffs().join("bluegreen")).unwrap()
}

/// New connections reach this environment and no other.
fn assert_opens(stage: &Stage, environment: Environment) {
    let load = stage.load(6, false).unwrap();
    assert_eq!(load.tally().open(environment), 6, "{}", word(environment));
    load.stop().unwrap();
}

fn assert_goes_on(load: &Load) {
    let tally = load.tally();
    let answered = tally.answered();
    assert!(eventually(PATIENCE, || tally.answered() >= answered + 50 || tally.failed() > 0));
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
}

#[test]
fn after_a_reboot_the_same_key_the_same_rings_and_the_same_word_keep_connections() {
    let mut stage = Stage::new(2, 2, &settings()).unwrap();
    // A life before, so that nothing is as at a first load.
    stage.agent().flip(Environment::Green).unwrap();
    stage.agent().wait_until_idle().unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(STREAMS, false).unwrap();
    let (old, key) = (held(&stage).word(0).unwrap(), held(&stage).key().unwrap());
    assert_eq!(old.phase(), Phase::Steady);

    shut_down(&mut stage).unwrap();
    let written = record(&stage).unwrap();
    assert_eq!((written.key, written.deployments[0].word), (key, old.0));
    let service = &written.deployments[0].services[0];
    let ring = {
        let (journal, _) = bg_userspace::journal::Journal::open(&state_dir(&stage)).unwrap();
        journal.load_ring(&service.rings[usize::from(old.base().slot)].unwrap()).unwrap()
    };
    stage.start_agent().unwrap();

    // The node carries no packet yet, and everything is there.
    let held = held(&stage);
    let new = held.word(0).unwrap();
    assert_eq!(held.key().unwrap(), key);
    assert_eq!((new.phase(), new.base(), new.current()), (old.phase(), old.base(), old.current()));
    assert!(new.epoch() > old.epoch(), "{old:?}, then {new:?}");
    assert_eq!(held.ring(service, new.base().slot).unwrap(), ring);
    link_up(&stage).unwrap();
    assert_goes_on(&load);
    stage.agent().wait_until_healthy().unwrap();
    assert_opens(&stage, Environment::Green);
    let status = stage.agent().deployment().unwrap();
    assert_eq!((status.state, status.live), (State::Idle, Environment::Green));
    assert!(status.warnings.is_empty(), "nothing was lost: {:?}", status.warnings);
    let history: HistoryResult = stage.agent().bgctl(&["history", DEPLOYMENT]).unwrap().done().unwrap();
    assert!(history.entries.iter().any(|entry| entry.what == "flip to green"), "{history:?}");
    stage.assert_kept([load], before);
    stage.stop_agent().unwrap();
    assert_ne!(record(&stage).unwrap().boot_id, ANOTHER_BOOT);
}

#[test]
fn after_a_reboot_in_a_drain_base_is_kept_and_lost_pins_are_told() {
    let mut stage = Stage::new(2, 2, &settings()).unwrap();
    let load = stage.load(STREAMS, false).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    // What is pinned cannot be kept, and the promise excludes it.
    let pinned = stage.load(3, false).unwrap();
    assert_eq!(pinned.tally().open(Environment::Green), 3);

    shut_down(&mut stage).unwrap();
    stage.start_agent().unwrap();
    link_up(&stage).unwrap();
    assert_goes_on(&load);
    let status = stage.agent().deployment().unwrap();
    assert_eq!((status.state, status.live), (State::Draining, Environment::Green));
    let told = status.warnings.iter().any(|warning| warning.contains("the pins are lost"));
    assert!(told, "{:?}", status.warnings);
    assert!(!status.last.unwrap_or_default().contains("presumed drained"));
    stage.agent().wait_until_healthy().unwrap();
    assert_opens(&stage, Environment::Green);
    assert_eq!(load.tally().failed(), 0, "{:?}", load.tally().failures());
    assert_eq!(load.tally().open(Environment::Blue), u64::from(STREAMS));
    load.stop().unwrap();
    pinned.stop().unwrap();
}

#[test]
fn a_journal_that_cannot_be_read_is_refused_and_traffic_goes_on() {
    let mut stage = Stage::new(1, 1, &settings()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(STREAMS, true).unwrap();
    stage.stop_agent().unwrap();
    let path = state_dir(&stage).join(FILE);
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let attached = stage.topology.attached().unwrap();
    assert!(!attached.is_empty());
    let cases: [(Vec<u8>, &str); 5] = [
        (good[..good.len() / 2].to_vec(), "is truncated"),
        (Vec::new(), "is truncated"),
        (b"something else\n".to_vec(), "is no journal of bluegreen"),
        (text.replacen("\"version\":1", "\"version\":2", 1).into_bytes(), "start the newer bgd"),
        (text.replacen("\"history\"", "\"hist0ry\"", 1).into_bytes(), "is damaged"),
    ];
    for (bytes, word) in cases {
        fs::write(&path, &bytes).unwrap();
        let (code, said) = refusal(&stage.topology, stage.config()).unwrap();
        assert_eq!(code, 1, "{said}");
        for part in [word, path.to_str().unwrap(), "traffic goes on", "help: "] {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it is");
        assert_eq!(stage.topology.attached().unwrap(), attached);
        assert_goes_on(&load);
    }
    // The way out that the message names: bgd goes by what the kernel holds.
    fs::rename(state_dir(&stage), stage.topology.workdir.join("state.old")).unwrap();
    stage.start_agent().unwrap();
    stage.agent().wait_until_healthy().unwrap();
    let switch = stage.agent().flip(Environment::Green).unwrap();
    assert!(switch.changed);
    assert_opens(&stage, Environment::Green);
    stage.assert_kept([load], before);
}

#[test]
fn on_a_full_disk_a_flip_is_refused_before_anything_changes() {
    let topology = Topology::new(1, 1).unwrap();
    let disk = Disk::mount(&topology.workdir.join("state"), 512).unwrap();
    let stage = Stage::on(topology, &settings()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(STREAMS, true).unwrap();
    let status = stage.agent().deployment().unwrap();

    disk.fill().unwrap();
    let flip = ["flip", DEPLOYMENT, "--to", "green", "--force", "syn-memory", "--reason", "in vain"];
    let refused = stage.agent().bgctl(&flip).unwrap();
    assert_eq!((refused.code, refused.json["error"]["guard"].as_str()), (3, Some("journal")), "{refused:?}");
    let said = refused.json["error"]["message"].as_str().unwrap();
    assert!(said.contains("No space left"), "{said}");
    let after = stage.agent().deployment().unwrap();
    assert_eq!((after.generation, after.live), (status.generation, Environment::Blue));
    let warned = |of: &[String]| of.iter().any(|warning| warning.contains("journal"));
    assert!(warned(&stage.agent().status().unwrap().warnings), "{:?}", stage.agent().status());
    assert_opens(&stage, Environment::Blue);

    disk.empty().unwrap();
    assert!(stage.agent().flip(Environment::Green).unwrap().changed);
    assert!(!warned(&stage.agent().status().unwrap().warnings));
    assert_opens(&stage, Environment::Green);
    let history: HistoryResult = stage.agent().bgctl(&["history", DEPLOYMENT]).unwrap().done().unwrap();
    let tried = history.entries.iter().find(|entry| entry.reason.as_deref() == Some("in vain")).unwrap();
    assert_eq!(tried.outcome, Outcome::Failed, "{history:?}");
    stage.assert_kept([load], before);
}
