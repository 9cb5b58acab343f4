//! Exit codes, and what is printed where, whatever was asked.

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use bg_userspace::api::types::Code;

use crate::agent::{Agent, command, run};
use crate::answers::{error, status};

#[test]
fn without_an_agent_the_exit_code_is_6_and_it_says_where_it_looked() {
    let socket = Path::new("/nonexistent/bgd.sock");
    run(socket, "status").assert(6, "", "bgctl: no agent answers at /nonexistent/bgd.sock");
    run(socket, "status").assert(6, "", "  next: start bgd");
    let failed = run(socket, "-o json flip shop");
    failed.assert(6, "", "");
    assert_eq!(failed.json()["error"]["code"], "no_agent");
    assert!(failed.err.is_empty(), "{}", failed.err);
}

#[test]
fn socket_on_the_command_line_wins_over_the_environment() {
    run(Path::new("/nonexistent/a.sock"), "--socket /nonexistent/b.sock status").assert(6, "", "b.sock");
}

#[test]
fn usage_errors_are_2_and_json_where_json_was_asked_for() {
    let socket = Path::new("/nonexistent/bgd.sock");
    run(socket, "flip").assert(2, "", "Usage");
    let failed = run(socket, "flip -o json");
    failed.assert(2, "", "");
    assert_eq!(failed.json()["error"]["code"], "bad_request");
    run(socket, "--help").assert(0, "Exit codes", "");
    run(socket, "--version").assert(0, "bgctl ", "");
}

#[test]
fn refusals_have_their_exit_codes_in_both_formats() {
    let cases = [
        (Code::Guard, 3),
        (Code::Conflict, 8),
        (Code::NotFound, 7),
        (Code::BadRequest, 2),
        (Code::Internal, 1),
        (Code::Forbidden, 1),
    ];
    for (code, exit) in cases {
        let agent = Agent::start(move |_, _| error(code, None, None));
        agent.bgctl("flip shop").assert(exit, "", "bgctl: not this way\n  next: another way\n");
        let failed = agent.bgctl("-o json rollback shop");
        failed.assert(exit, "", "");
        assert_eq!(failed.json()["error"]["code"], serde_json::to_value(code).unwrap());
        assert!(failed.err.is_empty(), "{}", failed.err);
    }
}

#[test]
fn json_is_one_document() {
    let agent = Agent::start(|_, _| Ok(status()));
    let shown = agent.bgctl("status -o json");
    shown.assert(0, "", "");
    assert_eq!(shown.json()["version"], "0.1.0");
    assert!(shown.err.is_empty(), "{}", shown.err);
}

#[test]
fn completion_is_made_for_each_shell() {
    let nowhere = Path::new("/nonexistent/bgd.sock");
    for shell in ["bash", "zsh", "fish"] {
        run(nowhere, &format!("completion {shell}")).assert(0, "bgctl", "");
    }
}

#[test]
fn reader_that_went_away_makes_no_panic() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let agent = Agent::start(|_, _| {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(status())
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command(&agent.socket(), "status").stdout(writer).stderr(Stdio::piped()).spawn();
    let Output { status, stderr, .. } = child.unwrap().wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
}
