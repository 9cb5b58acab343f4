//! Changes inside an environment, in STEADY and in DRAIN, over chains of current rings: backends that fail,
//! die, come back, join, leave and change weight. What is open stays where it is.

use aya::maps::{Array, Map, MapData};
use bg_common::control::Control;
use bg_common::tables::ticks;
use bg_tests::lab::Environment;
use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, STREAM, Settings};
use bg_tests::lab::fleet::{Fleet, STREAM_PORT};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::tables::pins;
use bg_tests::lab::witness::Resets;
use bg_tests::streamer::load::Load;
use bg_userspace::api::types::{DeploymentStatus, Phase};
use bg_userspace::datapath::clock;
use bg_userspace::rollout;
use rustix::process::Signal;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn address(stage: &Stage, place: usize) -> String {
    format!("{}:{STREAM_PORT}", stage.topology.backends[place].address)
}

/// How many clients a backend has accepted.
fn accepted(stage: &Stage, place: usize) -> usize {
    Fleet::accepted_by(&stage.topology, &stage.topology.backends[place].name).unwrap().len()
}

/// Changes the file, and has the agent read it.
fn reload(stage: &Stage, from: &str, to: &str) {
    let text = std::fs::read_to_string(stage.config()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(stage.config(), text.replacen(from, to, 1)).unwrap();
    let was = stage.agent().deployment().unwrap().generation;
    let reply = stage.agent().bgctl(&["reload"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}");
    wait_for_switch(stage, was);
}

fn wait_for_switch(stage: &Stage, was: u32) {
    let switched = |deployment: &DeploymentStatus| deployment.generation > was;
    stage.agent().wait_for("new connections to go elsewhere", switched).unwrap();
}

/// Turns the health page of one backend over, and waits until new connections follow it.
fn toggle(stage: &mut Stage, place: usize) {
    let was = stage.agent().deployment().unwrap().generation;
    stage.fleet.server(place).unwrap().signal(Signal::USR1).unwrap();
    wait_for_switch(stage, was);
}

/// Opens streams and says how many more the backend has now; all of them live on in the load.
fn opens(stage: &Stage, place: usize, loads: &mut Vec<Load>) -> usize {
    let before = accepted(stage, place);
    loads.push(stage.load(24, false).unwrap());
    accepted(stage, place) - before
}

/// A backend fails, recovers, leaves, joins, gets no weight and its old one; connections are opened after
/// each, and stay where they are through all that follows.
fn chain(stage: &mut Stage, place: usize, loads: &mut Vec<Load>) {
    let listed = format!("\"{}\"", address(stage, place));
    let weightless = format!("{{ address = {listed}, weight = 0 }}");
    assert!(opens(stage, place, loads) > 0);
    toggle(stage, place);
    assert_eq!(opens(stage, place, loads), 0, "a failing backend got new connections");
    toggle(stage, place);
    assert!(opens(stage, place, loads) > 0, "a recovered backend got no connection");
    reload(stage, &format!(", {listed}"), "");
    assert_eq!(opens(stage, place, loads), 0, "a backend that left got new connections");
    let last = format!("\"{}\"]", address(stage, place - 1));
    reload(stage, &last, &last.replace(']', &format!(", {listed}]")));
    assert!(opens(stage, place, loads) > 0, "a backend that joined got no connection");
    reload(stage, &listed, &weightless);
    assert_eq!(opens(stage, place, loads), 0, "a backend of weight 0 got new connections");
    reload(stage, &weightless, &listed);
    assert!(opens(stage, place, loads) > 0, "a backend with its weight again got no connection");
    for load in loads {
        assert_eq!(load.tally().failed(), 0, "{:?}", load.tally().failures());
    }
}

/// The last backend of blue, which stands last in its list.
const LAST_BLUE: usize = 2;
/// The last one of green, of three each.
const LAST_GREEN: usize = 5;

#[test]
fn a_chain_of_changes_in_steady_keeps_every_connection() {
    let mut stage = Stage::new(3, 3, &Settings::default()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let mut loads = vec![stage.load(24, true).unwrap()];
    chain(&mut stage, LAST_BLUE, &mut loads);
    stage.assert_kept(loads, before);
}

#[test]
fn a_chain_of_changes_in_a_drain_keeps_every_connection() {
    let settings = Settings { idle_horizon: "60s".into(), ..Settings::default() };
    let mut stage = Stage::new(3, 3, &settings).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let mut loads = vec![stage.load(24, true).unwrap()];
    // The chain happens in green, while blue drains; and once more in blue, after a rollback.
    stage.agent().flip(Environment::Green).unwrap();
    chain(&mut stage, LAST_GREEN, &mut loads);
    stage.agent().rollback().unwrap();
    chain(&mut stage, LAST_BLUE, &mut loads);
    stage.agent().flip(Environment::Green).unwrap();
    loads.push(stage.load(24, false).unwrap());
    assert_eq!(stage.agent().deployment().unwrap().phase, Phase::Drain);
    stage.assert_kept(loads, before);
}

#[test]
fn a_dead_backend_that_comes_back_takes_new_connections() {
    let settings = Settings { plain_probes: true, ..Settings::default() };
    let mut stage = Stage::new(3, 3, &settings).unwrap();
    let is = |condition: &'static str, address: String| {
        move |deployment: &DeploymentStatus| {
            let mut members = deployment.environments.iter().flat_map(|one| &one.members);
            members.any(|member| member.address == address && member.health == condition)
        }
    };
    let address = address(&stage, LAST_BLUE);
    stage.fleet.server(LAST_BLUE).unwrap().kill().unwrap();
    stage.agent().wait_for("the backend to be dead", is("dead", address.clone())).unwrap();
    let mut loads = Vec::new();
    assert_eq!(opens(&stage, LAST_BLUE, &mut loads), 0);
    let was = stage.agent().deployment().unwrap().generation;
    stage.fleet.revive(&stage.topology, LAST_BLUE).unwrap();
    stage.agent().wait_for("the backend to be well", is("healthy", address)).unwrap();
    wait_for_switch(&stage, was);
    assert!(opens(&stage, LAST_BLUE, &mut loads) > 0);
    for load in loads {
        load.order(|orders| orders.speak = true);
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
}

#[test]
fn more_than_half_failing_together_changes_nothing_and_alarms() {
    let mut stage = Stage::new(2, 1, &Settings::default()).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(12, true).unwrap();
    let was = stage.agent().deployment().unwrap().generation;
    for place in [0, 2] {
        stage.fleet.server(place).unwrap().signal(Signal::USR1).unwrap();
    }
    let alarmed = |deployment: &DeploymentStatus| {
        deployment.warnings.iter().any(|text| text.contains("2 of 3 backends fail their checks together"))
    };
    stage.agent().wait_for("the alarm", alarmed).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stage.agent().deployment().unwrap().generation, was);
    // Failing is not dead: new connections go there as before, and those that are open stay.
    let mut loads = vec![load];
    assert!(opens(&stage, 0, &mut loads) > 0);
    for place in [0, 2] {
        stage.fleet.server(place).unwrap().signal(Signal::USR1).unwrap();
    }
    stage.agent().wait_until_healthy().unwrap();
    stage.agent().wait_for("the alarm to end", |deployment| !alarmed(deployment)).unwrap();
    assert_eq!(stage.agent().deployment().unwrap().generation, was);
    stage.assert_kept(loads, before);
}

/// Without room for pins, new connections go to the environment that drains; sealed, it takes none.
#[test]
fn a_seal_whose_agent_is_gone_ends_by_itself() {
    let settings = Settings { pins: Some(0), idle_horizon: "60s".into(), ..Settings::default() };
    let mut stage = Stage::new(1, 1, &settings).unwrap();
    let load = stage.load(6, false).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    stage.kill_agent().unwrap();
    let path = pins(&stage.topology).unwrap().join("CONTROL");
    let mut words: Array<MapData, u64> = Map::Array(MapData::from_pin(path).unwrap()).try_into().unwrap();
    let control = Control(words.get(&0, 0).unwrap());
    assert_eq!(control.phase(), bg_common::control::Phase::Drain);

    let opens = || {
        let attempt = || TcpStream::connect_timeout(&STREAM.into(), Duration::from_millis(100)).is_ok();
        stage.topology.client.inside(attempt).unwrap()
    };
    assert!(opens());
    let sealed = Instant::now();
    words.set(0, rollout::seal(control, ticks(clock::monotonic())).0, 0).unwrap();
    assert!(!opens(), "something new entered a sealed environment");
    assert!(eventually(PATIENCE, opens), "the seal does not end");
    let lasted = sealed.elapsed();
    assert!(lasted <= Duration::from_millis(2500), "the seal lasted {lasted:?}");
    // The next agent finds it, and the drain goes on.
    stage.start_agent().unwrap();
    let deployment = stage.agent().deployment().unwrap();
    assert_eq!((deployment.name.as_str(), deployment.phase), (DEPLOYMENT, Phase::Drain));
    load.order(|orders| orders.speak = true);
    let tally = load.stop().unwrap();
    assert_eq!((tally.failed(), tally.fates().kept), (0, 6), "{:?}", tally.failures());
}
