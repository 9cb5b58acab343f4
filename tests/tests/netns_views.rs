//! Which backend a client sees, beyond live and idle: affinity by source, previews and testers, with real
//! connections through real switches.

use bg_tests::lab::clock::eventually;
use bg_tests::lab::config::{STREAM, STREAM_PREVIEW, STREAM6, STREAM6_PREVIEW, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::tables::tester_prefixes;
use bg_tests::lab::talk::{Talk, open};
use bg_tests::lab::topology::{CLIENTS, CLIENTS6, has_ipv6};
use bg_tests::lab::{Environment, word};
use bg_userspace::api::types::{Phase, State};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use Environment::{Blue, Green};

#[test]
fn connections_of_one_client_reach_one_backend() {
    let settings = Settings { by_source: true, ..Settings::default() };
    let stage = Stage::new(4, 4, &settings).unwrap();
    let clients = || CLIENTS.iter().map(|client| IpAddr::from(*client));
    let opened = |environment: Environment| -> Vec<Vec<Talk>> {
        let opened: Vec<_> =
            clients().map(|client| open(&stage, client, STREAM.into(), 12).unwrap()).collect();
        for of_client in &opened {
            let first = of_client[0].name();
            assert!(first.starts_with(word(environment)), "{first}");
            assert!(of_client.iter().all(|talk| talk.name() == first));
        }
        opened
    };
    let mut old = opened(Blue);
    stage.agent().flip(Green).unwrap();
    let mut new = opened(Green);
    stage.agent().rollback().unwrap();
    drop(opened(Blue));
    turn(old.iter_mut().chain(&mut new).flatten());
}

/// The live addresses and their previews, each with a client that can ask it.
fn addresses() -> Vec<(SocketAddr, SocketAddr, [IpAddr; 2])> {
    let mut addresses = vec![(STREAM.into(), STREAM_PREVIEW.into(), [CLIENTS[0].into(), CLIENTS[1].into()])];
    if has_ipv6() {
        addresses.push((STREAM6.into(), STREAM6_PREVIEW.into(), [CLIENTS6[0].into(), CLIENTS6[1].into()]));
    }
    addresses
}

/// Opens some connections, all of which reach that environment.
#[track_caller]
fn reach(stage: &Stage, client: IpAddr, to: SocketAddr, environment: Environment) -> Vec<Talk> {
    let mut talks = open(stage, client, to, 6).unwrap();
    for talk in &talks {
        assert!(talk.name().starts_with(word(environment)), "{client} at {to}: {}", talk.name());
    }
    turn(&mut talks);
    talks
}

#[track_caller]
fn turn<'t>(talks: impl IntoIterator<Item = &'t mut Talk>) {
    for talk in talks {
        talk.turn().unwrap();
    }
}

fn reload(stage: &Stage, from: &str, to: &str) {
    let text = std::fs::read_to_string(stage.config()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(stage.config(), text.replacen(from, to, 1)).unwrap();
    let reply = stage.agent().bgctl(&["reload"]).unwrap();
    assert_eq!(reply.code, 0, "{reply:?}");
}

fn settings() -> Settings {
    Settings { ipv6: has_ipv6(), ..Settings::default() }
}

#[test]
fn previews_lead_to_the_idle_environment_through_switches_and_restarts() {
    let mut stage = Stage::new(2, 2, &Settings { preview: true, ..settings() }).unwrap();
    let all = |stage: &Stage, live: Environment, idle: Environment| -> Vec<Talk> {
        let mut talks = Vec::new();
        for (vip, preview, [client, _]) in addresses() {
            talks.extend(reach(stage, client, vip, live));
            talks.extend(reach(stage, client, preview, idle));
        }
        talks
    };
    let mut first = all(&stage, Blue, Green);
    let status = stage.agent().bgctl(&["status"]).unwrap().json.to_string();
    assert!(status.contains(&format!("{STREAM_PREVIEW}/tcp")), "{status}");
    stage.agent().flip(Green).unwrap();
    let mut second = all(&stage, Green, Blue);
    turn(first.iter_mut().chain(&mut second));
    // An agent that is killed and comes again changes nothing, in a drain.
    stage.kill_agent().unwrap();
    turn(first.iter_mut().chain(&mut second));
    stage.start_agent().unwrap();
    stage.agent().wait_until_healthy().unwrap();
    let mut third = all(&stage, Green, Blue);
    stage.agent().rollback().unwrap();
    let mut fourth = all(&stage, Blue, Green);
    turn(first.iter_mut().chain(&mut second).chain(&mut third).chain(&mut fourth));
    // What is on green holds the drain; without it the drain ends, and the previews live on.
    let green = |talk: &Talk| talk.name().starts_with(word(Green));
    for talks in [&mut first, &mut second, &mut third, &mut fourth] {
        talks.retain(|talk| !green(talk));
    }
    let mut kept: Vec<Talk> = [first, second, third, fourth].into_iter().flatten().collect();
    let mut idle = false;
    for _ in 0..120 {
        turn(&mut kept);
        idle = stage.agent().deployment().unwrap().state == State::Idle;
        if idle {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(idle, "the drain does not end: {:?}", stage.agent().deployment().unwrap());
    assert_eq!(stage.agent().deployment().unwrap().phase, Phase::Steady);
    turn(&mut kept);
    let mut last = all(&stage, Blue, Green);
    turn(kept.iter_mut().chain(&mut last));
}

#[test]
fn testers_come_and_go_and_nobody_is_moved() {
    let testers: Vec<_> = addresses().iter().map(|(.., [_, tester])| format!("\"{tester}\"")).collect();
    let (none, some) = ("testers = []".to_owned(), format!("testers = [{}]", testers.join(", ")));
    let settings = Settings { idle_timeout: Some("30s".into()), ..settings() };
    let mut stage = Stage::new(2, 2, &settings).unwrap();
    let both = |stage: &Stage, others: Environment, testers: Environment| -> Vec<Talk> {
        let reached = addresses().into_iter().flat_map(|(vip, _, [other, tester])| {
            [reach(stage, other, vip, others), reach(stage, tester, vip, testers)]
        });
        reached.flatten().collect()
    };
    let mut talks = both(&stage, Blue, Blue);
    reload(&stage, &none, &some);
    talks.extend(both(&stage, Blue, Green));
    turn(&mut talks);
    stage.agent().flip(Green).unwrap();
    talks.extend(both(&stage, Green, Blue));
    turn(&mut talks);
    stage.stop_agent().unwrap();
    turn(&mut talks);
    stage.start_agent().unwrap();
    stage.agent().wait_until_healthy().unwrap();
    stage.agent().rollback().unwrap();
    talks.extend(both(&stage, Blue, Green));
    turn(&mut talks);
    reload(&stage, &some, &none);
    for _ in 0..8 {
        turn(&mut talks);
        std::thread::sleep(Duration::from_secs(1));
    }
    talks.extend(both(&stage, Blue, Blue));
    turn(&mut talks);
    // When the former testers' connections have ended, nothing is left of it.
    assert_eq!(tester_prefixes(&stage.topology).unwrap(), testers.len());
    drop(talks);
    stage.agent().wait_until_idle().unwrap();
    let forgotten = || tester_prefixes(&stage.topology).unwrap() == 0;
    assert!(eventually(Duration::from_secs(90), forgotten), "former testers are still known");
    drop(both(&stage, Blue, Blue));
}
