//! A service over IPv4 and one over IPv6 in one deployment: one store switches both, and connections of
//! both families stay where they are, neighbours that have to be found again included.

use bg_tests::lab::agent::{PATIENCE, refusal};
use bg_tests::lab::binaries::binary;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{self, DEPLOYMENT, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::Topology;
use bg_tests::lab::witness::Resets;
use bg_tests::lab::{Environment, process};
use bg_userspace::api::types::Phase;

fn settings() -> Settings {
    Settings { ipv6: true, ..Settings::default() }
}

fn stage() -> Stage {
    Stage::new(2, 2, &settings()).unwrap()
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

/// Addresses and local routes of the node, of both families.
fn local(topology: &Topology) -> String {
    let shown = ["-4", "-6"].map(|family| {
        let addresses = topology.node.ip(&[family, "addr", "show", "dev", "lo"]).unwrap();
        addresses + &topology.node.ip(&[family, "route", "show", "table", "local"]).unwrap()
    });
    shown.concat()
}

#[test]
fn detach_takes_the_vips_of_both_families_away_again() {
    let topology = Topology::new(1, 1).unwrap();
    let before = local(&topology);
    let mut stage = Stage::on(topology, &settings()).unwrap();
    let meanwhile = local(&stage.topology);
    assert!(["203.0.113.10/32", "2001:db8:203::10/128"].iter().all(|vip| meanwhile.contains(vip)));
    stage.stop_agent().unwrap();
    assert_eq!(local(&stage.topology), meanwhile, "a stop takes nothing away");
    let arguments = ["--config", stage.config().to_str().unwrap(), "detach"];
    process::run(binary("bgd").unwrap().to_str().unwrap(), &arguments, Some(&stage.topology.node)).unwrap();
    assert_eq!(local(&stage.topology), before);
}

#[test]
fn a_node_that_does_not_forward_is_refused_with_what_mends_it() {
    let topology = Topology::new(1, 1).unwrap();
    let file = topology.workdir.write("refused.toml", &config::text(&topology, &settings())).unwrap();
    for (setting, bad, good) in [
        ("net/ipv4/ip_forward", "0", "1"),
        ("net/ipv6/conf/all/forwarding", "0", "1"),
        ("net/ipv6/conf/c0/forwarding", "0", "1"),
        ("net/ipv6/conf/b1/disable_ipv6", "1", "0"),
    ] {
        topology.node.sysctl(setting, bad).unwrap();
        let (code, said) = refusal(&topology, &file).unwrap();
        let help = format!("sysctl -w {}={good}", setting.replace('/', "."));
        assert!(code > 0 && said.contains(&help), "no {help:?} in: {said}");
        assert!(topology.attached().unwrap().is_empty());
        topology.node.sysctl(setting, good).unwrap();
    }
}
