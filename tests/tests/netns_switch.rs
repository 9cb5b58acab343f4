//! Switches under traffic: what was open stays where it is, what is new goes where it should, and
//! no kernel at either end resets anything.

use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::witness::Resets;
use bg_tests::lab::{Environment, word};
use bg_tests::streamer::load::Load;
use bg_userspace::api::types::{Phase, State};
use std::time::Duration;

const LONG_LIVED: u32 = 12;

fn stage() -> Stage {
    Stage::new(2, 2, &Settings::default()).unwrap()
}

/// Opens a few streams now, says how many reached `environment`, and ends them.
fn opened_now(stage: &Stage, environment: Environment) -> u64 {
    let load = stage.load(6, false).unwrap();
    let reached = load.tally().open(environment);
    end(load);
    reached
}

/// Ends a load and holds it to its promise.
fn end(load: Load) {
    load.order(|orders| orders.speak = true);
    let tally = load.tally();
    let answered = tally.answered();
    assert!(eventually(PATIENCE, || tally.answered() >= answered + 50 || tally.failed() > 0));
    let tally = load.stop().unwrap();
    let fates = tally.fates();
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    assert_eq!(fates.kept, fates.opened, "{fates:?}");
}

#[test]
fn flow_opened_before_flip_stays_and_new_ones_move() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(LONG_LIVED, true).unwrap();
    let tally = load.tally();
    assert_eq!(tally.open(Environment::Green), 0);

    let switch = stage.agent().flip(Environment::Green).unwrap();
    assert!(switch.changed);
    assert_eq!((switch.from, switch.to), (Environment::Blue, Environment::Green));
    let deployment = stage.agent().deployment().unwrap();
    assert_eq!(deployment.live, Environment::Green);
    assert_eq!((deployment.state, deployment.phase), (State::Draining, Phase::Drain));
    assert_eq!(opened_now(&stage, Environment::Green), 6);
    // The short streams that were open at the flip have ended; the long ones are still on blue, the
    // silent third among them, which sent nothing but keepalive probes meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(tally.open(Environment::Blue), u64::from(LONG_LIVED));
    end(load);
    let growth = Resets::at_the_ends(&stage.topology).unwrap() - before;
    assert_eq!(growth, Resets::default());
}

#[test]
fn rollback_takes_new_connections_back_and_leaves_all_others() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = stage.load(LONG_LIVED, true).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let tried = stage.load(LONG_LIVED, false).unwrap();
    assert_eq!(tried.tally().open(Environment::Green), u64::from(LONG_LIVED));

    let switch = stage.agent().rollback().unwrap();
    assert_eq!((switch.from, switch.to), (Environment::Green, Environment::Blue));
    let deployment = stage.agent().deployment().unwrap();
    assert_eq!((deployment.state, deployment.live), (State::RollingBack, Environment::Blue));
    assert_eq!(opened_now(&stage, Environment::Blue), 6);
    assert_eq!(tried.tally().open(Environment::Green), u64::from(LONG_LIVED));
    end(old);
    end(tried);
    let growth = Resets::at_the_ends(&stage.topology).unwrap() - before;
    assert_eq!(growth, Resets::default());
    stage.agent().wait_until_idle().unwrap();
    assert_eq!(stage.agent().deployment().unwrap().live, Environment::Blue);
}

#[test]
fn many_flips_over_one_base_keep_the_connections_of_each() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let mut loads = vec![stage.load(6, true).unwrap()];
    for turn in 0..3 {
        stage.agent().flip(Environment::Green).unwrap();
        loads.push(stage.load(6, false).unwrap());
        stage.agent().rollback().unwrap();
        loads.push(stage.load(6, false).unwrap());
        for load in &loads {
            assert_eq!(load.tally().failed(), 0, "turn {turn}: {:?}", load.tally().failures());
        }
    }
    loads.into_iter().for_each(end);
    let growth = Resets::at_the_ends(&stage.topology).unwrap() - before;
    assert_eq!(growth, Resets::default());
}

#[test]
fn flip_to_the_live_environment_changes_nothing() {
    let stage = stage();
    let generation = stage.agent().deployment().unwrap().generation;
    let switch = stage.agent().flip(Environment::Blue).unwrap();
    assert!(!switch.changed);
    assert_eq!(stage.agent().deployment().unwrap().generation, generation);
}

#[test]
fn flip_to_an_ill_environment_is_refused_and_changes_nothing() {
    let stage = stage();
    let load = stage.load(6, true).unwrap();
    stage.fleet.toggle_health(&stage.topology, Environment::Green).unwrap();
    let agent = stage.agent();
    agent
        .wait_for("green to be ill", |deployment| {
            let mut environments = deployment.environments.iter();
            environments.any(|one| one.environment == Environment::Green && one.healthy == 0)
        })
        .unwrap();
    let before = agent.deployment().unwrap();
    for arguments in [&["flip", DEPLOYMENT, "--force", "syn-memory"][..], &["flip", DEPLOYMENT, "--dry-run"]]
    {
        let reply = agent.bgctl(arguments).unwrap();
        assert_eq!(reply.code, 3, "{reply:?}");
        assert_eq!(reply.json["error"]["code"], "guard", "{reply:?}");
    }
    let after = agent.deployment().unwrap();
    assert_eq!(after.generation, before.generation);
    assert_eq!((after.live, after.phase), (Environment::Blue, Phase::Steady));
    assert_eq!(opened_now(&stage, Environment::Blue), 6);
    end(load);

    // Well again, it is accepted: the refusal left nothing behind.
    stage.fleet.toggle_health(&stage.topology, Environment::Green).unwrap();
    agent.wait_until_healthy().unwrap();
    let dry = agent.bgctl(&["flip", DEPLOYMENT, "--force", "syn-memory", "--dry-run"]).unwrap();
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(agent.deployment().unwrap().generation, before.generation);
    let reply = agent.bgctl(&["flip", DEPLOYMENT, "--to", word(Environment::Green), "--force", "syn-memory"]);
    assert_eq!(reply.unwrap().code, 0);
}

#[test]
fn a_deployment_that_does_not_exist_is_no_such_thing() {
    let stage = stage();
    for arguments in [&["flip", "nowhere"][..], &["rollback", "nowhere"], &["status", "nowhere"]] {
        let reply = stage.agent().bgctl(arguments).unwrap();
        assert_eq!(reply.code, 7, "{arguments:?}: {reply:?}");
        assert_eq!(reply.json["error"]["code"], "not_found", "{reply:?}");
    }
}
