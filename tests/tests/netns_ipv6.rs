//! A service over IPv4 and one over IPv6 in one deployment: one store switches both, and connections of
//! both families stay where they are, neighbours that have to be found again included.

use bg_tests::lab::Environment;
use bg_tests::lab::agent::PATIENCE;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::witness::Resets;
use bg_userspace::api::types::Phase;

fn stage() -> Stage {
    Stage::new(2, 2, &Settings { ipv6: true, ..Settings::default() }).unwrap()
}

#[test]
fn one_flip_moves_both_families_and_keeps_the_connections_of_both() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = [stage.load(9, true).unwrap(), stage.load6(9, true).unwrap()];
    let was = stage.agent().deployment().unwrap();
    assert_eq!(was.services.len(), 2);
    stage.agent().flip(Environment::Green).unwrap();
    assert_eq!(stage.agent().deployment().unwrap().generation, was.generation + 1, "more than one store");
    let new = [stage.load(9, false).unwrap(), stage.load6(9, false).unwrap()];
    for (old, new) in old.iter().zip(&new) {
        assert!(old.tally().open(Environment::Blue) >= 9, "a long-lived one is gone");
        assert_eq!(new.tally().open(Environment::Green), 9);
        old.order(|orders| orders.end_blue = true);
    }
    let reply = stage.agent().bgctl(&["drain", DEPLOYMENT, "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}");
    assert_eq!(stage.agent().deployment().unwrap().phase, Phase::Steady);
    stage.assert_kept(old.into_iter().chain(new), before);
}

#[test]
fn a_rollback_takes_both_families_back() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = [stage.load(6, true).unwrap(), stage.load6(6, true).unwrap()];
    stage.agent().flip(Environment::Green).unwrap();
    let tried = [stage.load(6, false).unwrap(), stage.load6(6, false).unwrap()];
    stage.agent().rollback().unwrap();
    let back = [stage.load(6, false).unwrap(), stage.load6(6, false).unwrap()];
    for (tried, back) in tried.iter().zip(&back) {
        assert_eq!(tried.tally().open(Environment::Green), 6);
        assert_eq!(back.tally().open(Environment::Blue), 6);
    }
    stage.assert_kept(old.into_iter().chain(tried).chain(back), before);
}

/// The kernel has to find the neighbours of both ways anew: what the program hands to it arrives, a reply
/// with the VIP as its source included.
#[test]
fn neighbours_that_are_forgotten_are_found_again() {
    let stage = stage();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load6(9, true).unwrap();
    for _ in 0..5 {
        for interface in stage.topology.interfaces() {
            stage.topology.node.ip(&["-6", "neigh", "flush", "dev", &interface]).unwrap();
        }
        let tally = load.tally();
        let answered = tally.answered();
        assert!(eventually(PATIENCE, || tally.answered() > answered + 100 || tally.failed() > 0));
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
    stage.assert_kept([load], before);
}

#[test]
fn the_vip_is_there_for_its_clients_alone_and_goes_with_the_agents_duty() {
    let mut stage = stage();
    let addresses = |stage: &Stage| stage.topology.node.ip(&["-6", "addr", "show", "dev", "lo"]).unwrap();
    let shown = addresses(&stage);
    assert!(shown.contains("2001:db8:203::10/128") && shown.contains("deprecated"), "{shown}");
    assert!(shown.contains("nodad") && !shown.contains("tentative"), "{shown}");
    stage.kill_agent().unwrap();
    assert!(addresses(&stage).contains("2001:db8:203::10/128"), "it went with the agent");
}
