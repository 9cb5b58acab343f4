//! The laboratory itself, with plain routing in place of the agent: its clients, captures, counters
//! and logs must be right before they may judge anything, and must notice a break when there is one.

use bg_tests::lab::capture::Capture;
use bg_tests::lab::clock::{eventually, realtime_ns};
use bg_tests::lab::fleet::{Fleet, STREAM_PORT};
use bg_tests::lab::nginx::{self, AccessLog, HTTP_PORT};
use bg_tests::lab::topology::{CLIENTS, CLIENTS6, Topology};
use bg_tests::lab::witness::Resets;
use bg_tests::streamer::load::{Clients, Http, Load, Streams};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn clients(topology: &Topology, web: bool) -> Clients {
    let backend = topology.backends[0].address;
    let streams = Streams {
        target: (backend, STREAM_PORT).into(),
        long_lived: 9,
        silent_third: true,
        pace: Duration::from_millis(20),
        churn: Some(Duration::from_millis(20)),
    };
    let http = Http {
        target: (backend, HTTP_PORT).into(),
        keep_alive: 2,
        closing: 2,
        pace: Duration::from_millis(5),
    };
    Clients {
        sources: CLIENTS.iter().map(|address| (*address).into()).collect(),
        streams: Some(streams),
        http: web.then_some(http),
    }
}

/// The streams once more, over IPv6.
fn clients6(topology: &Topology) -> Clients {
    let mut clients = clients(topology, false);
    clients.sources = CLIENTS6.iter().map(|address| (*address).into()).collect();
    if let Some(streams) = &mut clients.streams {
        streams.target = (topology.backends[0].address6, STREAM_PORT).into();
    }
    clients
}

#[test]
fn routed_load_is_verified_logged_captured_and_ends_without_a_reset() {
    let topology = Topology::new(1, 1).unwrap();
    let _fleet = Fleet::start(&topology).unwrap();
    let _nginx = nginx::start(&topology).unwrap();
    std::thread::sleep(Duration::from_millis(500)); // nginx says nowhere that it listens
    let capture = Capture::start(&topology).unwrap();
    let before = Resets::at_the_ends(&topology).unwrap();
    let start = realtime_ns();
    let loads = [clients(&topology, true), clients6(&topology)];
    let loads = loads.map(|clients| Load::start(&topology.client, clients));
    let mut opened = 0;
    for load in loads {
        let tally = load.tally();
        let busy = eventually(PATIENCE, || tally.answered() > 1500 || tally.failed() > 0);
        load.order(|orders| orders.speak = true);
        std::thread::sleep(Duration::from_millis(300));
        let tally = load.stop().unwrap();
        assert!(busy && tally.failed() == 0, "{:?}", tally.failures());
        let fates = tally.fates();
        assert_eq!(fates.kept, fates.opened);
        assert!(fates.opened > 9, "the short streams are missing: {fates:?}");
        opened += fates.opened;
    }
    assert_eq!(Resets::at_the_ends(&topology).unwrap() - before, Resets::default());

    let captured = capture.finish().unwrap();
    let end = realtime_ns();
    assert_eq!(captured.resets_between(start, end), 0);
    let mut accepted = Fleet::accepted(&topology).unwrap();
    assert_eq!(accepted.len() as u64, opened);
    assert!(accepted.iter().any(|one| one.client.is_ipv6()));
    for mut log in AccessLog::all(&topology) {
        eventually(Duration::from_millis(500), || log.follow(|_| ()).is_err());
        assert_eq!(log.refused, 0);
        accepted.extend(&log.accepted);
    }
    assert_eq!(captured.opened_between(start, end), accepted.len());
    for one in accepted {
        let opening = captured.opening(one.client, one.at_ns);
        let opening = opening.expect("every accepted connection was captured");
        assert!(one.at_ns - opening.at_ns < 1_000_000_000, "{one:?} {opening:?}");
    }
}

#[test]
fn a_killed_server_is_noticed_by_every_witness() {
    let topology = Topology::new(1, 0).unwrap();
    let mut fleet = Fleet::start(&topology).unwrap();
    let capture = Capture::start(&topology).unwrap();
    let load = Load::start(&topology.client, clients(&topology, false));
    let tally = load.tally();
    assert!(eventually(PATIENCE, || tally.fates().opened >= 9));
    let before = Resets::at_the_ends(&topology).unwrap();
    let killed = realtime_ns();
    fleet.server(0).unwrap().kill().unwrap();
    assert!(eventually(PATIENCE, || tally.fates().broken >= 9));
    let tally = load.stop().unwrap();
    assert!(tally.failed_between(killed, realtime_ns()) >= 9);
    let growth = Resets::at_the_ends(&topology).unwrap() - before;
    assert!(growth.out_rsts > 0, "{growth:?}");
    assert!(growth.estab_resets > 0, "{growth:?}");
    let captured = capture.finish().unwrap();
    assert!(captured.resets_between(killed, realtime_ns()) > 0);
}

#[test]
fn nothing_is_left_behind() {
    let (names, path) = {
        let topology = Topology::new(1, 1).unwrap();
        let ends = topology.ends().map(|end| end.name().to_owned());
        (ends.collect::<Vec<_>>(), topology.workdir.path().to_owned())
    };
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name}");
    }
    assert!(!path.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&path.display().to_string()));
}
