//! What the agent answers.

use bg_userspace::api::{
    Response,
    types::{Code, DeploymentStatus, DrainResult, Error, SwitchResult},
};
use serde_json::json;

use crate::agent::Answer;

pub(crate) fn error(code: Code, guard: Option<&str>, retry_after_s: Option<u64>) -> Answer {
    Err(Error {
        code,
        guard: guard.map(str::to_owned),
        message: "not this way".to_owned(),
        next: Some("another way".to_owned()),
        retry_after_s,
    })
}

pub(crate) fn switch(changed: bool) -> Response {
    Response::Switch(
        serde_json::from_value(json!({
            "deployment": "shop", "changed": changed, "from": "blue", "to": "green",
            "generation": 43, "rollback_possible": true, "store_ns": 41, "stored_at_ns": 1, "grace_ms": 12.25,
        }))
        .unwrap(),
    )
}

pub(crate) fn share(percent: u8) -> Response {
    let Response::Switch(whole) = switch(true) else { unreachable!() };
    Response::Switch(SwitchResult { share: Some(percent), ..whole })
}

pub(crate) fn history(limit: usize) -> Response {
    let entry = |id: usize| {
        json!({
            "id": id, "at_ms": 1_795_425_393_000_u64, "uid": 1000, "who": "ada", "what": "flip to green",
            "reason": "release 1.9.1", "generation": 41, "outcome": "done", "ended_at_ms": null,
            "text": "blue is presumed drained",
        })
    };
    let entries: Vec<_> = (1..=limit.min(3)).rev().map(entry).collect();
    let result = json!({ "deployment": "shop", "entries": entries });
    Response::History(serde_json::from_value(result).unwrap())
}

pub(crate) fn drain(state: &str, live: &str, leaving: Option<&str>) -> Response {
    let drain = leaving.map(|leaving| {
        json!({
            "leaving": leaving, "age_s": 5, "flows": 3, "seen": 9, "last_seen_s": 1, "pins": 2,
            "overflow": 0, "idle_horizon_s": 600, "deadline_s": null, "waiting_for": "3 flows",
        })
    });
    let result: DrainResult = serde_json::from_value(json!({
        "deployment": "shop", "state": state, "generation": 43, "live": live, "drain": drain,
        "last": "flipped to green",
    }))
    .unwrap();
    Response::Drain(result)
}

pub(crate) fn shop() -> DeploymentStatus {
    serde_json::from_value(json!({
        "name": "shop", "state": "idle", "phase": "steady", "generation": 42, "live": "blue",
        "environments": [], "services": [], "testers": [], "drain": null, "warnings": [], "last": null,
        "syn_memory": { "false_positive_rate": 0.0, "complete_in_s": 60 },
    }))
    .unwrap()
}

pub(crate) fn status() -> Response {
    Response::Status(
        serde_json::from_value(json!({
            "version": "0.1.0", "uptime_s": 5, "interfaces": [], "deployments": [], "warnings": [],
        }))
        .unwrap(),
    )
}
