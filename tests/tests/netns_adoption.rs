//! The agent replaced under load, again and again: it hands its program over without a lost packet, and at
//! no time is there none, or more than one.

use aya::programs::loaded_programs;
use bg_tests::lab::agent::launch;
use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{PLAIN, Settings};
use bg_tests::lab::counted::Counted;
use bg_tests::lab::fleet::PLAIN_PORT;
use bg_tests::lab::process::run;
use bg_tests::lab::stage::Stage;
use bg_tests::lab::tables::forwarded;
use bg_tests::lab::topology::Topology;
use bg_tests::lab::witness::Resets;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// How often the agent is replaced.
const TURNS: u64 = 54;
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at the node's interfaces until told to stop: each must carry a program every time. Returns how
/// often it looked.
fn watch(node: &str, interfaces: usize, stop: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !stop.load(SeqCst) {
        let links = run("ip", &["-n", node, "-json", "link", "show"], None).unwrap();
        let links: Vec<serde_json::Value> = serde_json::from_str(&links).unwrap();
        let programs: Vec<_> = links.iter().filter_map(|link| link["xdp"]["prog"]["id"].as_u64()).collect();
        assert_eq!(programs.len(), interfaces, "an interface without a program: {programs:?}");
        looks += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    looks
}

/// Replaces the agent: killed, told to end, or killed while the next one is still starting.
fn replace(stage: &mut Stage, turn: u64) {
    match turn % 3 {
        0 => stage.kill_agent().unwrap(),
        1 => stage.stop_agent().unwrap(),
        _ => {
            stage.kill_agent().unwrap();
            let mut next = launch(&stage.topology, stage.config()).unwrap();
            // Anywhere between its first step and serving.
            std::thread::sleep(Duration::from_millis(turn * 7 % 120));
            next.end(Signal::KILL, PATIENCE).unwrap();
        }
    }
    stage.start_agent().unwrap();
}

/// The one program that every interface carries.
fn the_program(topology: &Topology) -> u64 {
    let programs: BTreeSet<_> = topology.programs().unwrap().into_iter().collect();
    assert_eq!(programs.len(), 1, "{programs:?}");
    programs.into_iter().next().unwrap()
}

#[test]
fn an_agent_that_is_replaced_loses_no_packet() {
    let settings = Settings { plain: true, ..Settings::default() };
    let mut stage = Stage::new(2, 2, &settings).unwrap();
    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let load = stage.load(12, true).unwrap();
    let forwarded_before = forwarded(&stage.topology, "plain").unwrap();
    let counted = Counted::start(&stage.topology, PLAIN, PLAIN_PORT).unwrap();
    let stop = AtomicBool::new(false);
    let mut programs = vec![the_program(&stage.topology)];
    let node = stage.topology.node.name().to_owned();
    let interfaces = stage.topology.interfaces().len();
    let looks = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&node, interfaces, &stop));
        for turn in 0..TURNS {
            let arrived = counted.arrived();
            let keeps = turn % 4 == 3;
            if !keeps {
                stage.topology.disown_program().unwrap();
            }
            replace(&mut stage, turn);
            let (before, now) = (programs[programs.len() - 1], the_program(&stage.topology));
            assert_eq!(before == now, keeps, "turn {turn}: {before} was there, and now {now}");
            programs.push(now);
            let goes_on = || counted.arrived() > arrived + 200;
            let goes_on = eventually(PATIENCE, goes_on) || watcher.is_finished();
            assert!(goes_on, "turn {turn}: the counted packets do not arrive any more");
        }
        stop.store(true, SeqCst);
        watcher.join().unwrap()
    });
    let outcome = counted.finish().unwrap();
    outcome.all_arrived_once().unwrap();
    let forwarded = forwarded(&stage.topology, "plain").unwrap() - forwarded_before;
    assert_eq!(forwarded, outcome.sent, "the program counted others than were sent");
    let last = the_program(&stage.topology);
    let gone = || {
        let loaded: BTreeSet<_> =
            loaded_programs().flatten().map(|program| u64::from(program.id())).collect();
        programs.iter().filter(|program| loaded.contains(program)).all(|program| *program == last)
    };
    assert!(eventually(PATIENCE, gone), "programs of earlier agents are still there");
    programs.dedup();
    eprintln!("{} packets, {} programs, looked {looks} times", outcome.sent, programs.len());
    stage.assert_kept([load], before);
}
