//! Drains: they wait for the last connection of the environment that is left, end by themselves,
//! and close what is left over only when the operator said so.

use bg_tests::lab::Environment;
use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::witness::Resets;
use bg_userspace::api::types::{Phase, State};
use std::time::Duration;

#[test]
fn drain_ends_on_the_other_base_when_the_old_connections_are_gone() {
    let stage = Stage::new(2, 2, &Settings::default()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(9, true).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let new = stage.load(9, false).unwrap();
    load.order(|orders| orders.end_blue = true);
    let reply = stage.agent().bgctl(&["drain", DEPLOYMENT, "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}");

    let deployment = stage.agent().deployment().unwrap();
    assert_eq!((deployment.state, deployment.phase), (State::Idle, Phase::Steady));
    assert_eq!(deployment.live, Environment::Green);
    assert!(deployment.drain.is_none(), "{deployment:?}");
    // Green is base now: its connections, opened with pins, live on without them.
    assert_eq!(new.tally().open(Environment::Green), 9);
    let answered = new.tally().answered();
    assert!(eventually(PATIENCE, || new.tally().answered() > answered + 50));
    let later = stage.load(6, false).unwrap();
    assert_eq!(later.tally().open(Environment::Green), 6);

    // And the way back is a flip like any other.
    stage.agent().flip(Environment::Blue).unwrap();
    let back = stage.load(6, false).unwrap();
    assert_eq!(back.tally().open(Environment::Blue), 6);
    stage.assert_kept([load, new, later, back], before);
}

#[test]
fn a_silent_connection_holds_the_drain_by_its_keepalive_probes() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let load = stage.load(1, false).unwrap(); // the first of three is the silent one
    stage.agent().flip(Environment::Green).unwrap();
    // Longer than the idle horizon of five seconds.
    let reply = stage.agent().bgctl(&["drain", DEPLOYMENT, "--wait", "--timeout", "9s"]).unwrap();
    assert_eq!(reply.code, 4, "the drain ended under a living connection: {reply:?}");
    let deployment = stage.agent().deployment().unwrap();
    assert_eq!(deployment.state, State::Draining);
    let drain = deployment.drain.expect("a drain is going on");
    assert!(drain.flows >= 1, "{drain:?}");
    load.order(|orders| orders.speak = true);
    let tally = load.tally();
    let answered = tally.answered();
    assert!(eventually(PATIENCE, || tally.answered() > answered + 5));
    let tally = load.stop().unwrap();
    assert_eq!((tally.failed(), tally.fates().kept), (0, 1), "{:?}", tally.failures());
    stage.agent().wait_until_idle().unwrap();
}

#[test]
fn the_deadline_closes_stragglers_and_nobody_else() {
    let settings = Settings { deadline: Some("4s".into()), ..Settings::default() };
    let stage = Stage::new(1, 1, &settings).unwrap();
    let old = stage.load(6, false).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let new = stage.load(6, false).unwrap();
    stage.agent().wait_until_idle().unwrap();
    assert_eq!(stage.agent().deployment().unwrap().phase, Phase::Steady);
    old.order(|orders| orders.speak = true);
    let tally = old.tally();
    assert!(eventually(PATIENCE, || tally.fates().broken == 6), "stragglers live on: {:?}", tally.fates());
    // Closed by a RST, not left to time out.
    let reset = tally.failures().iter().filter(|failure| failure.what.contains("reset")).count();
    assert_eq!(reset, 6, "{:?}", tally.failures());
    old.stop().unwrap();
    let tally = new.stop().unwrap();
    assert_eq!((tally.failed(), tally.fates().kept), (0, 6), "{:?}", tally.failures());
}

#[test]
fn an_operator_may_finish_a_drain() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let old = stage.load(6, false).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let new = stage.load(6, false).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let reply = stage.agent().bgctl(&["drain", DEPLOYMENT, "finish"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}");
    stage.agent().wait_until_idle().unwrap();
    old.order(|orders| orders.speak = true);
    assert!(eventually(PATIENCE, || old.tally().fates().broken == 6));
    let tally = new.stop().unwrap();
    assert_eq!((tally.failed(), tally.fates().kept), (0, 6), "{:?}", tally.failures());
}
