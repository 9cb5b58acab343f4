//! Things that die: a backend, and the agent itself in the middle of a drain.

use bg_tests::lab::Environment;
use bg_tests::lab::agent::{PATIENCE, bgctl};
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::fleet::Fleet;
use bg_tests::lab::stage::Stage;
use bg_tests::lab::witness::Resets;
use bg_userspace::api::types::{DeploymentStatus, State};
use rustix::process::Signal;

/// How many clients the first backend has accepted.
fn accepted_by_first(stage: &Stage) -> u64 {
    let first = stage.topology.backends[0].name.as_str();
    Fleet::accepted_by(&stage.topology, first).unwrap().len() as u64
}

/// Waits until the first backend is said to be in this condition.
fn wait_for_first(stage: &Stage, condition: &str) {
    let address = format!("{}:", stage.topology.backends[0].address);
    stage
        .agent()
        .wait_for(&format!("the first backend to be {condition}"), |deployment| {
            let mut members = deployment.environments.iter().flat_map(|one| &one.members);
            members.any(|member| member.address.starts_with(&address) && member.health == condition)
        })
        .unwrap();
}

/// Opens streams, all of which must succeed, on blue but none on its first backend.
fn assert_new_ones_avoid_first(stage: &Stage) {
    let before = accepted_by_first(stage);
    for _ in 0..3 {
        let new = stage.load(20, false).unwrap();
        assert_eq!(new.tally().open(Environment::Blue), 20);
        let tally = new.stop().unwrap();
        assert_eq!((tally.failed(), tally.fates().kept), (0, 20), "{:?}", tally.failures());
    }
    assert_eq!(accepted_by_first(stage), before);
}

#[test]
fn new_connections_avoid_a_dead_backend_and_the_others_notice_nothing() {
    // Only a refusal by the service's own port proves that the service is dead there.
    let settings = Settings { plain_probes: true, ..Settings::default() };
    let mut stage = Stage::new(3, 3, &settings).unwrap();
    let load = stage.load(30, false).unwrap();
    load.order(|orders| orders.speak = true);
    let victims = accepted_by_first(&stage);
    assert!((1..30).contains(&victims), "no spread: {victims} of 30 on one of three");
    stage.fleet.server(0).unwrap().kill().unwrap();
    wait_for_first(&stage, "dead");
    assert_new_ones_avoid_first(&stage);
    let tally = load.tally();
    assert!(eventually(PATIENCE, || tally.fates().broken == victims), "{:?}", tally.fates());
    let tally = load.stop().unwrap();
    assert_eq!(tally.fates().kept, 30 - victims, "{:?}", tally.failures());
    assert_eq!(tally.fates().moved, 0);
}

#[test]
fn an_ill_backend_keeps_its_connections_and_gets_no_new_ones() {
    let mut stage = Stage::new(3, 3, &Settings::default()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(30, false).unwrap();
    assert!((1..30).contains(&accepted_by_first(&stage)));
    stage.fleet.server(0).unwrap().signal(Signal::USR1).unwrap();
    wait_for_first(&stage, "unhealthy");
    let moved = |deployment: &DeploymentStatus| deployment.generation > 1;
    stage.agent().wait_for("new connections to go to the others", moved).unwrap();
    assert_new_ones_avoid_first(&stage);

    // Well again, it takes its share of the new ones; those of the time between stay where they are.
    let between = stage.load(10, false).unwrap();
    let was = stage.agent().deployment().unwrap().generation;
    stage.fleet.server(0).unwrap().signal(Signal::USR1).unwrap();
    wait_for_first(&stage, "healthy");
    let moved = |deployment: &DeploymentStatus| deployment.generation > was;
    stage.agent().wait_for("new connections to come back", moved).unwrap();
    let share = accepted_by_first(&stage);
    let after = stage.load(30, false).unwrap();
    assert!(accepted_by_first(&stage) > share);
    stage.assert_kept([load, between, after], before);
}

#[test]
fn traffic_and_pins_outlive_the_agent_and_the_next_one_goes_on_with_the_drain() {
    let mut stage = Stage::new(2, 2, &Settings::default()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = stage.load(12, true).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let pinned = stage.load(12, false).unwrap();
    let was = stage.agent().deployment().unwrap();
    let socket = stage.agent().socket().to_owned();

    stage.kill_agent().unwrap();
    assert_eq!(bgctl(&socket, &["status"]).unwrap().code, 6);
    assert_eq!(stage.topology.attached().unwrap(), stage.topology.interfaces());
    let meanwhile = stage.load(12, false).unwrap();
    assert_eq!(meanwhile.tally().open(Environment::Green), 12);
    let answered = (old.tally().answered(), pinned.tally().answered());
    assert!(eventually(PATIENCE, || {
        old.tally().answered() > answered.0 + 100 && pinned.tally().answered() > answered.1 + 100
    }));

    stage.start_agent().unwrap();
    let is = stage.agent().deployment().unwrap();
    assert_eq!((is.state, is.live), (State::Draining, Environment::Green));
    assert!(is.generation >= was.generation, "{} after {}", is.generation, was.generation);
    assert_eq!(is.drain.as_ref().unwrap().leaving, Environment::Blue);
    old.order(|orders| orders.end_blue = true);
    let reply = stage.agent().bgctl(&["drain", DEPLOYMENT, "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}; {:?}", stage.agent().deployment());
    stage.assert_kept([old, pinned, meanwhile], before);
}

#[test]
fn an_agent_that_is_told_to_end_leaves_traffic_alone() {
    let mut stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let load = stage.load(6, true).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let generation = stage.agent().deployment().unwrap().generation;
    stage.stop_agent().unwrap();
    let meanwhile = stage.load(6, false).unwrap();
    assert_eq!(meanwhile.tally().open(Environment::Green), 6);
    stage.start_agent().unwrap();
    assert_eq!(stage.agent().deployment().unwrap().generation, generation);
    for load in [load, meanwhile] {
        load.order(|orders| orders.speak = true);
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
    assert!(Fleet::accepted(&stage.topology).unwrap().len() >= 12);
}
