//! `bgctl history`.

use std::process::Output;

use bg_userspace::api::{Request, types::Code};
use serde_json::json;

use crate::agent::{Agent, command};
use crate::answers::{error, history};

#[test]
fn history_tells_who_what_when_why_and_how_it_ended() {
    let agent = Agent::start(|request, _| match request {
        Request::History { limit, .. } => Ok(history(*limit)),
        other => panic!("{other:?}"),
    });
    let shown = agent.bgctl("history shop");
    for part in ["2026-11-23 ", " ago", "ada (uid 1000)", "flip to green", "release 1.9.1", "done", "drained"]
    {
        shown.assert(0, part, "");
    }
    assert!(!shown.out.contains('\t'), "{}", shown.out);
    assert_eq!(shown.out.matches("flip to green").count(), 3);
    let json = agent.bgctl("history shop --limit 2 -o json").json();
    assert_eq!(json["entries"].as_array().unwrap().len(), 2);
    assert_eq!((&json["entries"][0]["id"], &json["entries"][0]["uid"]), (&json!(2), &json!(1000)));
    agent.bgctl("history shop --limit 0").assert(2, "", "limit");
    let agent = Agent::start(|_, _| error(Code::NotFound, None, None));
    agent.bgctl("history shop").assert(7, "", "not this way");
}

#[test]
fn times_of_the_history_are_local() {
    let agent = Agent::start(|_, _| Ok(history(1)));
    let mut command = command(&agent.socket(), "history shop");
    let Output { stdout, .. } = command.env("TZ", "XST-2").output().unwrap();
    let shown = String::from_utf8(stdout).unwrap();
    assert!(shown.contains("2026-11-23 11:16:33 XST"), "{shown}");
}
