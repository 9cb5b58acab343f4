//! `bgctl drain`.

use bg_userspace::api::Request;
use serde_json::json;

use crate::agent::Agent;
use crate::answers::drain;

#[test]
fn drain_shows_how_it_goes() {
    let agent = Agent::start(|_, _| Ok(drain("draining", "green", Some("blue"))));
    let shown = agent.bgctl("drain shop");
    shown.assert(0, "shop: green is live, blue drains for 5s", "");
    shown.assert(0, "3 flows of 9 seen, last packet 1s ago, no deadline", "");
    assert_eq!(agent.bgctl("drain shop status -o json").json()["drain"]["flows"], 3);
}

#[test]
fn drain_acts_send_what_they_mean() {
    let agent = Agent::start(|_, _| Ok(drain("draining", "green", Some("blue"))));
    agent.bgctl("drain shop extend 10m").assert(0, "", "");
    agent.bgctl("drain shop finish --reason late").assert(0, "", "");
    let requests = agent.requests.lock().unwrap();
    let bodies = requests.iter().map(|request| match request {
        Request::Drain { body, .. } => serde_json::to_value(body).unwrap(),
        other => panic!("{other:?}"),
    });
    let expected = [
        json!({ "extend_s": 600, "finish": false, "reason": null }),
        json!({ "extend_s": null, "finish": true, "reason": "late" }),
    ];
    assert_eq!(bodies.collect::<Vec<_>>(), expected);
}

#[test]
fn drain_wait_ends_well_when_nothing_drains_any_more() {
    let agent = Agent::start(|_, before| match before {
        0..2 => Ok(drain("draining", "green", Some("blue"))),
        _ => Ok(drain("idle", "green", None)),
    });
    agent.bgctl("drain shop --wait").assert(0, "nothing drains, green is live", "");
}

#[test]
fn drain_wait_that_runs_out_is_4_and_prints_one_document() {
    let agent = Agent::start(|_, _| Ok(drain("draining", "green", Some("blue"))));
    agent.bgctl("drain shop --wait --timeout 100ms").assert(4, "the wait is over, the drain is not", "");
    let ended = agent.bgctl("drain shop --wait --timeout 100ms -o json");
    ended.assert(4, "", "");
    assert_eq!(ended.json()["state"], "draining");
}

#[test]
fn drain_wait_tells_a_rollback_and_another_flip() {
    let agent = Agent::start(|_, before| match before {
        0 => Ok(drain("draining", "green", Some("blue"))),
        _ => Ok(drain("rolling_back", "blue", Some("green"))),
    });
    agent.bgctl("drain shop --wait").assert(5, "it was rolled back", "");
    let agent = Agent::start(|_, before| match before {
        0 => Ok(drain("rolling_back", "blue", Some("green"))),
        _ => Ok(drain("draining", "green", Some("blue"))),
    });
    agent.bgctl("drain shop --wait").assert(8, "somebody else switched", "");
}
