//! Which backend a client sees, beyond live and idle: affinity by source.

use bg_tests::lab::config::{STREAM, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::talk::{Talk, open};
use bg_tests::lab::topology::CLIENTS;
use bg_tests::lab::{Environment, word};
use std::net::IpAddr;

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
    let mut old = opened(Environment::Blue);
    stage.agent().flip(Environment::Green).unwrap();
    let mut new = opened(Environment::Green);
    stage.agent().rollback().unwrap();
    drop(opened(Environment::Blue));
    for talk in old.iter_mut().chain(&mut new).flatten() {
        talk.turn().unwrap();
    }
}
