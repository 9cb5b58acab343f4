//! Flip and rollback.

use bg_userspace::api::{
    Request, Response,
    types::{Code, Environment},
};
use serde_json::json;

use crate::agent::Agent;
use crate::answers::{error, share, shop, switch};

#[test]
fn flip_asks_for_what_was_typed_and_says_what_to_do_next() {
    let agent = Agent::start(|_, _| Ok(switch(true)));
    let done = agent.bgctl("flip shop --to green --reason v2 --force health");
    done.assert(0, "green is live", "");
    done.assert(0, "next: bgctl drain shop --wait | bgctl rollback shop", "");
    let requests = agent.requests.lock().unwrap();
    let [Request::Flip { name, body }] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(name, "shop");
    let sent = serde_json::to_value(body).unwrap();
    assert_eq!(
        sent,
        json!({
            "to": "green", "share": null, "force": ["health"], "reason": "v2", "dry_run": false,
            "if_generation": null,
        })
    );
}

#[test]
fn flip_to_the_live_environment_and_dry_run_say_that_nothing_changed() {
    let agent = Agent::start(|request, _| match request {
        Request::Deployment { .. } => Ok(Response::Deployment(shop())),
        _ => Ok(switch(false)),
    });
    agent.bgctl("flip shop").assert(0, "green is live already; nothing was changed", "");
    agent.bgctl("flip shop --dry-run").assert(0, "no guard refuses a flip to green", "");
    assert_eq!(agent.bgctl("flip shop -o json").json()["changed"], false);
}

#[test]
fn flip_waits_for_the_syn_memory_and_goes_on_to_the_same_environment() {
    let agent = Agent::start(|request, before| match request {
        Request::Deployment { .. } => Ok(Response::Deployment(shop())),
        _ if before < 3 => error(Code::Guard, Some("syn-memory"), Some(0)),
        _ => Ok(switch(true)),
    });
    agent.bgctl("flip shop").assert(0, "green is live", "");
    let requests = agent.requests.lock().unwrap();
    let targets = requests.iter().filter_map(|request| match request {
        Request::Flip { body, .. } => Some((body.to, body.if_generation)),
        _ => None,
    });
    // The idle environment is the one that was idle when the operator asked; a flip by somebody else
    // meanwhile is a conflict and not undone.
    let asked = (Some(Environment::Green), Some(42));
    assert_eq!(targets.collect::<Vec<_>>(), [asked; 3]);
}

#[test]
fn flip_that_may_not_wait_or_waited_in_vain_is_refused() {
    let agent = Agent::start(|request, _| match request {
        Request::Deployment { .. } => Ok(Response::Deployment(shop())),
        _ => error(Code::Guard, Some("syn-memory"), Some(60)),
    });
    agent.bgctl("flip shop --no-wait").assert(3, "", "not this way");
    agent.bgctl("flip shop --dry-run").assert(3, "", "not this way");
    let flips = || {
        let requests = agent.requests.lock().unwrap();
        requests.iter().filter(|request| matches!(request, Request::Flip { .. })).count()
    };
    assert_eq!(flips(), 2, "each asked once");
    agent.bgctl("flip shop --timeout 300ms").assert(3, "", "not this way");
    assert!(flips() > 3, "it tried again at the end");
}

#[test]
fn guard_that_time_does_not_mend_is_not_waited_for() {
    let agent = Agent::start(|_, _| error(Code::Guard, Some("health"), Some(1)));
    agent.bgctl("flip shop").assert(3, "", "not this way");
    assert_eq!(agent.requests.lock().unwrap().len(), 1);
}

#[test]
fn rollback_says_so() {
    let agent = Agent::start(|_, _| Ok(switch(true)));
    agent.bgctl("rollback shop").assert(0, "rolled back, green is live", "");
}

#[test]
fn flip_with_a_share_asks_for_it_and_says_who_gets_what() {
    let agent = Agent::start(|request, _| match request {
        Request::Deployment { .. } => Ok(Response::Deployment(shop())),
        _ => Ok(share(25)),
    });
    let done = agent.bgctl("flip shop --share 25");
    done.assert(0, "shop: green gets 25 % of new connections, blue the rest   generation 43", "");
    done.assert(0, "next: bgctl status shop | bgctl flip shop | bgctl rollback shop", "");
    agent.bgctl("flip shop --share 25 --dry-run").assert(
        0,
        "next: bgctl flip shop --to green --share 25",
        "",
    );
    let requests = agent.requests.lock().unwrap();
    let asked = requests.iter().find_map(|request| match request {
        Request::Flip { body, .. } => Some((body.to, body.share)),
        _ => None,
    });
    assert_eq!(asked, Some((Some(Environment::Green), Some(25))));
    drop(requests);
    agent.bgctl("flip shop --share 0").assert(2, "", "0 is not in 1..=100");
}
