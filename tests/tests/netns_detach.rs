//! `bgd detach`: what it takes away, what it leaves, and what history tells of it afterwards.

use bg_tests::kill::reboot::{record, state_dir};
use bg_tests::lab::Environment;
use bg_tests::lab::binaries::binary;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::process;
use bg_tests::lab::stage::Stage;
use bg_userspace::api::types::{HistoryEntry, HistoryResult, Outcome};
use bg_userspace::journal::FILE;

const DETACHED: &str = "detached";

fn settings() -> Settings {
    Settings { syn_lifetime: "1s".into(), idle_horizon: "2s".into(), ..Settings::default() }
}

/// Runs it, and says whether it succeeded, and what it said.
fn detach(stage: &Stage) -> (bool, String) {
    let bgd = binary("bgd").unwrap();
    let arguments = ["--config", stage.config().to_str().unwrap(), "detach"];
    let output = process::output(bgd.to_str().unwrap(), &arguments, Some(&stage.topology.node)).unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What history tells of it, newest first.
fn told(stage: &Stage) -> Vec<HistoryEntry> {
    let history: HistoryResult = stage.agent().bgctl(&["history", DEPLOYMENT]).unwrap().done().unwrap();
    history.entries.into_iter().filter(|entry| entry.what == DETACHED).collect()
}

#[test]
fn detached_node_begins_where_it_ended_and_history_tells_who_did_it() {
    let mut stage = Stage::new(1, 1, &settings()).unwrap();
    let switch = stage.agent().flip(Environment::Green).unwrap();
    stage.agent().wait_until_idle().unwrap();
    stage.stop_agent().unwrap();

    let (done, said) = detach(&stage);
    assert!(done, "{said}");
    assert!(stage.topology.attached().unwrap().is_empty(), "{said}");
    let entries = record(&stage).unwrap().history;
    assert_eq!(entries.iter().filter(|entry| entry.what == DETACHED).count(), 1, "{entries:?}");
    // There is nothing left to end.
    let (done, said) = detach(&stage);
    assert!(done, "{said}");

    stage.start_agent().unwrap();
    stage.agent().wait_until_healthy().unwrap();
    let told = told(&stage);
    let [entry] = told.as_slice() else { panic!("told {} times: {told:?}", told.len()) };
    assert_eq!((entry.uid, entry.who.as_str(), entry.outcome), (Some(0), "root", Outcome::Done));
    assert!(entry.generation >= switch.generation, "{entry:?}");
    let load = stage.load(6, false).unwrap();
    assert_eq!(load.tally().open(Environment::Green), 6, "green was live, and is");
    load.stop().unwrap();
}

#[test]
fn detach_under_a_running_agent_is_refused_and_not_told() {
    let stage = Stage::new(1, 1, &settings()).unwrap();
    let attached = stage.topology.attached().unwrap();
    assert!(!attached.is_empty());
    let (done, said) = detach(&stage);
    assert!(!done && said.contains("another bgd"), "{said}");
    assert_eq!(stage.topology.attached().unwrap(), attached);
    assert_eq!(told(&stage), []);
}

#[test]
fn damaged_journal_keeps_nobody_from_detaching() {
    let mut stage = Stage::new(1, 1, &settings()).unwrap();
    stage.stop_agent().unwrap();
    let journal = state_dir(&stage).join(FILE);
    std::fs::write(&journal, "something else\n").unwrap();
    let (done, said) = detach(&stage);
    assert!(done && said.contains("the history does not tell"), "{said}");
    assert!(stage.topology.attached().unwrap().is_empty(), "{said}");
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "something else\n");
}
