//! The real `bgctl` against a small agent behind the real API: what is printed where, and the exit
//! code, which is all that a script has.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bg_userspace::{
    api::{
        Call, Listener, Request, Response,
        types::{Code, DeploymentStatus, DrainResult, Environment, Error, ReloadResult, SwitchResult},
    },
    config::Config,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

type Answer = Result<Response, Error>;

/// An agent with a script of its own.
struct Agent {
    directory: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Agent {
    /// Starts an agent that answers by `answer`, which is told how many requests came before.
    fn start(answer: impl Fn(&Request, usize) -> Answer + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bgd.sock");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let (handle, mut calls) = mpsc::channel::<Call>(8);
                let listener = Listener::bind(&socket).unwrap();
                ready.send(()).unwrap();
                tokio::spawn(listener.serve(handle, std::future::pending()));
                while let Some(call) = calls.recv().await {
                    let before = seen.lock().unwrap().len();
                    let answer = answer(&call.request, before);
                    seen.lock().unwrap().push(call.request);
                    call.reply.send(answer).unwrap();
                }
            });
        });
        is_ready.recv().unwrap();
        Self { directory, requests }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("bgd.sock")
    }

    fn bgctl(&self, line: &str) -> Run {
        run(&self.socket(), line)
    }
}

/// How a command ended.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {:?}", self.out))
    }

    #[track_caller]
    fn assert(&self, code: i32, out: &str, err: &str) {
        let Self { code: found, out: stdout, err: stderr } = self;
        assert_eq!(*found, code, "stdout: {stdout}\nstderr: {stderr}");
        assert!(stdout.contains(out), "{out:?} is not in stdout: {stdout}");
        assert!(stderr.contains(err), "{err:?} is not in stderr: {stderr}");
        assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "colour off a terminal");
    }
}

fn command(socket: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bgctl"));
    command.args(line.split_whitespace()).env("BGCTL_SOCKET", socket);
    command
}

fn run(socket: &Path, line: &str) -> Run {
    let Output { status, stdout, stderr } = command(socket, line).output().unwrap();
    Run {
        code: status.code().expect("it was not killed"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn error(code: Code, guard: Option<&str>, retry_after_s: Option<u64>) -> Answer {
    Err(Error {
        code,
        guard: guard.map(str::to_owned),
        message: "not this way".to_owned(),
        next: Some("another way".to_owned()),
        retry_after_s,
    })
}

fn switch(changed: bool) -> Response {
    Response::Switch(
        serde_json::from_value(json!({
            "deployment": "shop", "changed": changed, "from": "blue", "to": "green",
            "generation": 43, "rollback_possible": true, "store_ns": 41, "stored_at_ns": 1, "grace_ms": 12.25,
        }))
        .unwrap(),
    )
}

fn share(percent: u8) -> Response {
    let Response::Switch(whole) = switch(true) else { unreachable!() };
    Response::Switch(SwitchResult { share: Some(percent), ..whole })
}

fn history(limit: usize) -> Response {
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

fn drain(state: &str, live: &str, leaving: Option<&str>) -> Response {
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

fn shop() -> DeploymentStatus {
    serde_json::from_value(json!({
        "name": "shop", "state": "idle", "phase": "steady", "generation": 42, "live": "blue",
        "environments": [], "services": [], "drain": null, "warnings": [], "last": null,
        "syn_memory": { "false_positive_rate": 0.0, "complete_in_s": 60 },
    }))
    .unwrap()
}

fn status() -> Response {
    Response::Status(
        serde_json::from_value(json!({
            "version": "0.1.0", "uptime_s": 5, "interfaces": [], "deployments": [], "warnings": [],
        }))
        .unwrap(),
    )
}

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

#[test]
fn reload_says_what_is_different_now() {
    let agent = Agent::start(|request, before| match request {
        Request::Reload { body } if before == 0 => {
            assert_eq!(body.reason.as_deref(), Some("weights"));
            let changed = vec!["web: blue 10.0.1.1:8080 has weight 50 now".to_owned()];
            Ok(Response::Reload(ReloadResult { changed }))
        }
        Request::Reload { .. } if before == 1 => Ok(Response::Reload(ReloadResult { changed: Vec::new() })),
        _ => error(Code::Guard, Some("config"), None),
    });
    let done = agent.bgctl("reload --reason weights");
    done.assert(0, "the file is followed now\n  web: blue 10.0.1.1:8080 has weight 50 now\n", "");
    agent.bgctl("reload").assert(0, "nothing was changed", "");
    agent.bgctl("reload").assert(3, "", "not this way");
    assert_eq!(agent.bgctl("reload -o json").json()["error"]["guard"], "config");
}

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

#[test]
fn json_is_one_document() {
    let agent = Agent::start(|_, _| Ok(status()));
    let shown = agent.bgctl("status -o json");
    shown.assert(0, "", "");
    assert_eq!(shown.json()["version"], "0.1.0");
    assert!(shown.err.is_empty(), "{}", shown.err);
}

#[test]
fn config_check_says_all_that_is_wrong_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bgd.toml");
    std::fs::write(&file, Config::example()).unwrap();
    let line = format!("config check {}", file.display());
    let nowhere = Path::new("/nonexistent/bgd.sock");
    run(nowhere, &line).assert(0, ": valid\n  shop: 2 services, 4 blue and 4 green backends", "");
    assert_eq!(run(nowhere, &format!("{line} -o json")).json()["valid"], true);

    let wrong = Config::example().replace("xdp_mode", "xdp_mod").replace("4093", "4094");
    std::fs::write(&file, wrong).unwrap();
    let checked = run(nowhere, &line);
    let place = format!("{}:6: unknown key `xdp_mod` in [node]", file.display());
    checked.assert(1, "", &place);
    checked.assert(1, "", "  help: did you mean `xdp_mode`?");
    checked.assert(1, "", "which is no prime\n  help: ring_size = 4099\n  next: mend 2 problems");
    let json = run(nowhere, &format!("{line} -o json")).json();
    assert_eq!(json["error"]["problems"][0]["line"], 6);
    assert_eq!(json["error"]["problems"].as_array().unwrap().len(), 2);
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

#[test]
fn peer_of_another_user_and_group_is_refused() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
        eprintln!("NOT RUN, it needs root: a foreign peer is refused");
        return;
    }
    let agent = Agent::start(|_, _| Ok(status()));
    // The binary where everybody can run it, since the build's place may be private.
    let binary = agent.directory.path().join("bgctl");
    std::fs::copy(env!("CARGO_BIN_EXE_bgctl"), &binary).unwrap();
    set_mode(&binary, 0o755);
    set_mode(agent.directory.path(), 0o755);
    let as_nobody = || {
        let mut command = Command::new(&binary);
        command.uid(NOBODY).gid(NOBODY).arg("status").env("BGCTL_SOCKET", agent.socket());
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let (code, stderr) = as_nobody();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("may not connect to"), "the mode keeps them out: {stderr}");
    // Somebody opened the socket to all the world; the agent still asks who it is.
    set_mode(&agent.socket(), 0o666);
    let (code, stderr) = as_nobody();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("(uid 65534, gid 65534) may not control"), "{stderr}");
    assert!(agent.requests.lock().unwrap().is_empty());
    // Their group is the socket's: that is how access is given.
    std::os::unix::fs::chown(agent.socket(), None, Some(NOBODY)).unwrap();
    assert_eq!(as_nobody(), (Some(0), String::new()));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
