//! Modes dsr and ipip with real backends that answer clients themselves: connections and flows keep their backends
//! through switches, an agent's death and a drain, of which the node sees one direction only.

use bg_common::reason::Reason;
use bg_tests::lab::config::Settings;
use bg_tests::lab::datagrams::{Flow, all_of, ask_all, flows};
use bg_tests::lab::direct::{DSR, DSR6, IPIP, IPIP6};
use bg_tests::lab::fleet::{DIRECT_ECHO_PORT, STREAM_PORT};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::tables::ended;
use bg_tests::lab::talk::{Talk, open};
use bg_tests::lab::topology::{CLIENTS, CLIENTS6, Topology, has_ipv6};
use bg_tests::lab::{Environment, word};
use bg_userspace::api::types::State;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use Environment::{Blue, Green};

fn vips() -> Vec<IpAddr> {
    let vips: [IpAddr; 4] = [DSR.into(), IPIP.into(), DSR6.into(), IPIP6.into()];
    vips.into_iter().filter(|vip| vip.is_ipv4() || has_ipv6()).collect()
}

/// What clients have open.
struct Open {
    talks: Vec<Talk>,
    flows: Vec<Flow>,
    /// Who answered the flows at first.
    servers: Vec<String>,
}

impl Open {
    /// At every service, all of them to that environment.
    fn new(stage: &Stage, environment: Environment) -> Self {
        let (mut talks, mut all) = (Vec::new(), Vec::new());
        for vip in vips() {
            let client: IpAddr = if vip.is_ipv4() { CLIENTS[0].into() } else { CLIENTS6[0].into() };
            talks.extend(open(stage, client, SocketAddr::new(vip, STREAM_PORT), 6).unwrap());
            all.extend(flows(stage, SocketAddr::new(vip, DIRECT_ECHO_PORT), 6));
        }
        for talk in &talks {
            assert!(talk.name().starts_with(word(environment)), "{}", talk.name());
        }
        let servers = ask_all(&mut all);
        assert!(all_of(&servers, environment), "{servers:?}");
        let mut open = Self { talks, flows: all, servers };
        open.go_on();
        open
    }

    /// All of it is answered by whom it was answered before.
    fn go_on(&mut self) {
        self.talks.iter_mut().for_each(|talk| talk.turn().unwrap());
        assert_eq!(ask_all(&mut self.flows), self.servers);
    }
}

fn all_go_on<const N: usize>(all: [&mut Open; N]) {
    all.into_iter().for_each(Open::go_on);
}

#[test]
fn what_is_answered_directly_stays_whole_through_switches_and_a_drain() {
    let mut topology = Topology::new(2, 2).unwrap();
    topology.let_backends_answer().unwrap();
    let mut stage = Stage::on(topology, &Settings { direct: true, ..Settings::default() }).unwrap();
    let mut old = Open::new(&stage, Blue);
    stage.agent().flip(Green).unwrap();
    let mut new = Open::new(&stage, Green);
    // Longer than a flow is remembered without a packet, so that pins alone can tell.
    for _ in 0..6 {
        all_go_on([&mut old, &mut new]);
        std::thread::sleep(Duration::from_millis(500));
    }
    stage.kill_agent().unwrap();
    all_go_on([&mut old, &mut new]);
    stage.start_agent().unwrap();
    stage.agent().wait_until_healthy().unwrap();
    all_go_on([&mut old, &mut new]);
    stage.agent().rollback().unwrap();
    let mut back = Open::new(&stage, Blue);
    all_go_on([&mut old, &mut new, &mut back]);
    drop(new);
    for _ in 0..120 {
        all_go_on([&mut old, &mut back]);
        if stage.agent().deployment().unwrap().state == State::Idle {
            assert_one_way(&stage);
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("the drain does not end: {:?}", stage.agent().deployment().unwrap());
}

/// No reply came this way: the node has seen requests, and nothing that it returned.
fn assert_one_way(stage: &Stage) {
    let count = |reason| ended(&stage.topology, reason).unwrap();
    assert!(count(Reason::Encapsulated) > 100 && count(Reason::Forwarded) > 100);
    assert_eq!([count(Reason::Returned), count(Reason::ReturnedByKernel)], [0, 0]);
    let status = stage.agent().bgctl(&["status"]).unwrap().json.to_string();
    for mode in ["dsr", "ipip"] {
        assert!(status.contains(&format!("\"{mode}\"")), "{status}");
    }
}
