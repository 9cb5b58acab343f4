//! What a kernel must be good for: a flip under traffic, and an agent that is killed in the drain and started again.
//! Small, because it also runs in emulated machines, where everything takes ten times as long.
#![forbid(unsafe_code)]

use bg_tests::lab::Environment;
use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::Settings;
use bg_tests::lab::stage::Stage;
use bg_tests::lab::witness::Resets;
use bg_tests::streamer::load::Load;
use bg_userspace::api::types::State;

const CONNECTIONS: u32 = 3;

/// Opens connections, which must all get to an environment.
fn open(stage: &Stage, environment: Environment) -> Load {
    let load = stage.load(CONNECTIONS, false).unwrap();
    assert_eq!(load.tally().open(environment), u64::from(CONNECTIONS));
    load
}

/// Waits until every one of some loads had the time for many answers.
fn assert_answered(loads: &[&Load]) {
    let before: Vec<_> = loads.iter().map(|load| load.tally().answered()).collect();
    let goes_on = || loads.iter().zip(&before).all(|(load, before)| load.tally().answered() > before + 30);
    assert!(eventually(PATIENCE, goes_on), "some connections get no answer any more");
}

#[test]
fn connections_outlive_a_flip_and_the_death_of_the_agent_in_the_drain() {
    let mut stage = Stage::new(1, 1, &Settings { slow_machine: true, ..Settings::default() }).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = open(&stage, Environment::Blue);
    // Connections that come and go all the time, at the moment of the flip too.
    let traffic = stage.load(0, true).unwrap();
    assert_answered(&[&old, &traffic]);
    stage.agent().flip(Environment::Green).unwrap();
    let pinned = open(&stage, Environment::Green);
    assert_answered(&[&old, &traffic, &pinned]);

    stage.kill_agent().unwrap();
    assert_eq!(stage.topology.attached().unwrap(), stage.topology.interfaces());
    let meanwhile = open(&stage, Environment::Green);
    assert_answered(&[&old, &traffic, &pinned, &meanwhile]);

    stage.start_agent().unwrap();
    let is = stage.agent().deployment().unwrap();
    assert_eq!((is.state, is.live), (State::Draining, Environment::Green));
    assert_eq!(old.tally().open(Environment::Blue), u64::from(CONNECTIONS));
    assert_answered(&[&old, &traffic, &pinned, &meanwhile]);
    old.order(|orders| orders.end_blue = true);
    stage.agent().wait_until_idle().unwrap();
    assert_eq!(stage.agent().deployment().unwrap().live, Environment::Green);
    let resets = stage.assert_ended_well([old, traffic, pinned, meanwhile], before);
    // A machine that stands still for a while sends a FIN again that has arrived. It is acknowledged again, to a
    // server that has had its acknowledgement and forgotten the connection: that RST is sent, and breaks nothing.
    assert_eq!(resets.estab_resets, 0);
}
