//! UDP through real switches: flows keep their backends, datagrams without affinity follow the live environment
//! at once, and a drain ends when the flows of the old environment have fallen silent.

use bg_tests::lab::Environment;
use bg_tests::lab::config::{ECHO, ECHO6, LOOSE, Settings};
use bg_tests::lab::datagrams::{all_of, ask_all, flows};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::has_ipv6;
use bg_userspace::api::types::{Phase, State};
use std::net::SocketAddr;
use std::time::Duration;

/// The services that keep flows together.
fn kept() -> Vec<SocketAddr> {
    let mut kept = vec![ECHO.into()];
    if has_ipv6() {
        kept.push(ECHO6.into());
    }
    kept
}

#[test]
fn flows_keep_their_backends_and_loose_datagrams_follow_the_live_environment() {
    let settings = Settings { udp: true, ipv6: has_ipv6(), ..Settings::default() };
    let stage = Stage::new(2, 2, &settings).unwrap();
    let services = kept();
    let mut loose = flows(&stage, LOOSE.into(), 8);
    assert!(all_of(&ask_all(&mut loose), Environment::Blue));
    let mut old: Vec<_> = services.iter().flat_map(|service| flows(&stage, *service, 12)).collect();
    let before = ask_all(&mut old);
    assert!(all_of(&before, Environment::Blue), "{before:?}");

    stage.agent().flip(Environment::Green).unwrap();
    let mut new: Vec<_> = services.iter().flat_map(|service| flows(&stage, *service, 12)).collect();
    let after = ask_all(&mut new);
    assert!(all_of(&after, Environment::Green), "{after:?}");
    assert!(all_of(&ask_all(&mut loose), Environment::Green));
    // Longer than a tuple is remembered: it is heard of again and again.
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!((ask_all(&mut old), ask_all(&mut new)), (before.clone(), after.clone()));
    }
    let deployment = stage.agent().deployment().unwrap();
    assert_eq!((deployment.state, deployment.phase), (State::Draining, Phase::Drain));

    stage.agent().rollback().unwrap();
    assert!(all_of(&ask_all(&mut loose), Environment::Blue));
    for _ in 0..4 {
        assert_eq!((ask_all(&mut old), ask_all(&mut new)), (before.clone(), after.clone()));
        std::thread::sleep(Duration::from_millis(500));
    }
    // Green's flows fall silent, the drain ends, and blue's have not noticed anything.
    drop(new);
    for _ in 0..60 {
        assert_eq!(ask_all(&mut old), before);
        if stage.agent().deployment().unwrap().state == State::Idle {
            let status = stage.agent().bgctl(&["status"]).unwrap().json.to_string();
            assert!(status.contains("/udp"), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("the drain does not end: {:?}", stage.agent().deployment().unwrap());
}
