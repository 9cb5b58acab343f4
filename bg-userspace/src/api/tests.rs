//! The API over a real socket, with a small agent that answers what each test needs. Requests that
//! no client of ours would send are written by hand.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    client::{Client, ClientError},
    types::{
        Code, DrainRequest, DrainResult, Environment, Error, FlipRequest, HistoryResult, ReloadRequest,
        ReloadResult, RollbackRequest, State, Status, SwitchResult,
    },
    *,
};

/// An API and its agent.
struct Lab {
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    asked: mpsc::UnboundedReceiver<(Who, Request)>,
}

impl Lab {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (handle, mut calls) = mpsc::channel::<Call>(8);
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let answer = answer(&call.request);
                tell.send((call.who, call.request)).ok();
                // An agent that says nothing is one that fell over.
                if let Some(answer) = answer {
                    call.reply.send(answer).ok();
                }
            }
        });
        let listener = Listener::bind(&directory.path().join("bgd.sock")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(listener.serve(handle, async {
            stopped.await.ok();
        }));
        Self { directory, stop: Some(stop), server, asked }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("bgd.sock")
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Sends bytes, and reads until the server closes: head and body.
    async fn raw(&self, request: &str) -> (String, Value) {
        let mut stream = self.connect().await;
        // A server that has heard enough may close before all is sent.
        stream.write_all(request.as_bytes()).await.ok();
        read(stream).await
    }

    async fn post(&self, path: &str, body: &str) -> (String, Value) {
        let length = body.len();
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: bgd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

async fn read(mut stream: UnixStream) -> (String, Value) {
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    // A server that did not read everything resets the connection behind its reply.
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the server closes").ok();
    let reply = String::from_utf8(reply).expect("a reply of text");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
    (head.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {reply:?}")))
}

/// What the agent says; nothing for the deployment `mute`.
fn answer(request: &Request) -> Option<Result<Response, Error>> {
    let name = match request {
        Request::Status => return Some(Ok(Response::Status(status()))),
        Request::Reload { .. } => {
            let changed = vec!["backend 10.0.2.3:8080 joins green of web".to_owned()];
            return Some(Ok(Response::Reload(ReloadResult { changed })));
        }
        Request::Deployment { name }
        | Request::DrainStatus { name }
        | Request::Flip { name, .. }
        | Request::Rollback { name, .. }
        | Request::Drain { name, .. }
        | Request::History { name, .. } => name.clone(),
    };
    match (name.as_str(), request) {
        ("mute", _) => None,
        ("shop", Request::Flip { .. } | Request::Rollback { .. }) => {
            Some(Ok(Response::Switch(SwitchResult {
                deployment: name,
                changed: true,
                from: Environment::Blue,
                to: Environment::Green,
                share: None,
                generation: 7,
                rollback_possible: true,
                store_ns: 41,
                stored_at_ns: 1,
                grace_ms: 9.5,
            })))
        }
        ("shop", Request::History { .. }) => {
            Some(Ok(Response::History(HistoryResult { deployment: name, entries: Vec::new() })))
        }
        ("shop", _) => Some(Ok(Response::Drain(DrainResult {
            deployment: name,
            state: State::Idle,
            generation: 7,
            live: Environment::Green,
            drain: None,
            last: None,
        }))),
        ("sick", _) => Some(Err(Error {
            code: Code::Guard,
            guard: Some("health".to_owned()),
            message: "green has 1 of 2 backends healthy".to_owned(),
            next: Some("mend it, or --force health".to_owned()),
            retry_after_s: Some(9),
        })),
        _ => Some(Err(Error {
            code: Code::NotFound,
            guard: None,
            message: format!("there is no deployment {name}"),
            next: None,
            retry_after_s: None,
        })),
    }
}

fn status() -> Status {
    Status {
        version: "0".to_owned(),
        uptime_s: 1,
        interfaces: Vec::new(),
        deployments: Vec::new(),
        warnings: Vec::new(),
    }
}

#[track_caller]
fn assert_error((head, body): &(String, Value), status: u16, code: &str, message: &str) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}\n{body}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert_eq!(body["error"]["code"], code, "{body}");
    let said = body["error"]["message"].as_str().unwrap();
    assert!(said.contains(message), "{said:?} does not say {message:?}");
    assert!(body["error"].as_object().unwrap().contains_key("next"), "{body}");
}

#[tokio::test]
async fn requests_reach_the_agent_with_who_asked_and_answers_come_back() {
    let mut lab = Lab::start();
    let client = lab.client();
    assert_eq!(client.status().await.unwrap().version, "0");
    let (who, request) = lab.asked.recv().await.unwrap();
    assert!(matches!(request, Request::Status));
    assert_eq!(who.uid, rustix::process::geteuid().as_raw());
    assert_eq!(who.gid, rustix::process::getegid().as_raw());
    assert_eq!(who.pid, Some(std::process::id().cast_signed()));

    let flip = FlipRequest {
        to: Some(Environment::Green),
        share: Some(25),
        force: vec!["health".to_owned()],
        reason: Some("v2".to_owned()),
        dry_run: true,
        if_generation: Some(3),
    };
    assert_eq!(client.flip("shop", &flip).await.unwrap().generation, 7);
    let Some((_, Request::Flip { name, body })) = lab.asked.recv().await else {
        panic!("no flip arrived");
    };
    assert_eq!((name.as_str(), body.to, body.dry_run), ("shop", flip.to, true));
    assert_eq!((body.force, body.reason, body.share), (flip.force, flip.reason, Some(25)));

    client.rollback("shop", &RollbackRequest::default()).await.unwrap();
    assert!(matches!(lab.asked.recv().await, Some((_, Request::Rollback { .. }))));
    assert!(client.drain_status("shop").await.unwrap().drain.is_none());
    assert!(matches!(lab.asked.recv().await, Some((_, Request::DrainStatus { .. }))));
    let extend = DrainRequest { extend_s: Some(600), ..DrainRequest::default() };
    client.drain("shop", &extend).await.unwrap();
    let Some((_, Request::Drain { body, .. })) = lab.asked.recv().await else {
        panic!("no drain arrived");
    };
    assert_eq!((body.extend_s, body.finish), (Some(600), false));

    assert_eq!(client.history("shop", 5).await.unwrap().deployment, "shop");
    let Some((_, Request::History { name, limit })) = lab.asked.recv().await else {
        panic!("no question for history arrived");
    };
    assert_eq!((name.as_str(), limit), ("shop", 5));
    let reload = ReloadRequest { reason: Some("a third backend".to_owned()) };
    assert_eq!(client.reload(&reload).await.unwrap().changed.len(), 1);
    let Some((_, Request::Reload { body })) = lab.asked.recv().await else {
        panic!("no reload arrived");
    };
    assert_eq!(body.reason, reload.reason);
}

#[tokio::test]
async fn history_is_asked_for_with_a_limit_or_without_one() {
    let mut lab = Lab::start();
    let path = "/v1/deployments/shop/history";
    for (query, wanted) in [("", 1000), ("?", 1000), ("?limit=3", 3)] {
        let get = format!("GET {path}{query} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
        assert!(lab.raw(&get).await.0.starts_with("HTTP/1.1 200"), "{query}");
        let asked = lab.asked.recv().await;
        assert!(matches!(asked, Some((_, Request::History { limit, .. })) if limit == wanted), "{asked:?}");
    }
    for query in ["?limit=0", "?limit=-1", "?limit=x", "?last=3", "?limit=3&limit=4"] {
        let get = format!("GET {path}{query} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
        assert_error(&lab.raw(&get).await, 400, "bad_request", "the query does not fit");
    }
}

#[tokio::test]
async fn share_is_a_percentage() {
    let lab = Lab::start();
    let flip = "/v1/deployments/shop/flip";
    for share in ["1", "100", "null"] {
        let (head, body) = lab.post(flip, &format!("{{\"share\": {share}}}")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{share}: {body}");
    }
    for share in ["0", "101"] {
        let reply = lab.post(flip, &format!("{{\"share\": {share}}}")).await;
        assert_error(&reply, 400, "bad_request", "no percentage from 1 to 100");
    }
    assert_error(&lab.post(flip, "{\"share\": 300}").await, 400, "bad_request", "300");
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let lab = Lab::start();
    let mut stream = lab.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: bgd\r\n\r\n").await.unwrap();
        let mut reply = [0; 4096];
        let read = stream.read(&mut reply).await.unwrap();
        assert!(reply[..read].starts_with(b"HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn guard_refusal_is_409_and_keeps_its_fields() {
    let lab = Lab::start();
    let reply = lab.post("/v1/deployments/sick/flip", "{}").await;
    assert_error(&reply, 409, "guard", "1 of 2");
    assert!(reply.0.to_lowercase().contains("retry-after: 9"), "{}", reply.0);
    let refused = lab.client().flip("sick", &FlipRequest::default()).await;
    let Err(ClientError::Refused(error)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!((error.code, error.guard.as_deref()), (Code::Guard, Some("health")));
    assert_eq!((error.next.as_deref(), error.retry_after_s), (Some("mend it, or --force health"), Some(9)));
}

#[tokio::test]
async fn unknown_deployment_is_404_whatever_its_name() {
    let lab = Lab::start();
    for name in ["none", "a/b", "%41", "..", "ä ö", ""] {
        let answer = lab.client().deployment(name).await;
        let Err(ClientError::Refused(error)) = answer else {
            panic!("{name:?}: {answer:?}");
        };
        assert_eq!(error.code, Code::NotFound, "{name:?}");
    }
    let reply = lab.raw("GET /v1/deployments/%ff HTTP/1.1\r\nHost: bgd\r\nConnection: close\r\n\r\n").await;
    assert_error(&reply, 404, "not_found", "no text");
}

#[tokio::test]
async fn unknown_path_is_404_and_wrong_method_is_405_in_json() {
    let lab = Lab::start();
    let reply = lab.post("/v2/status", "{}").await;
    assert_error(&reply, 404, "not_found", "no such path");
    let reply = lab.post("/v1/status", "{}").await;
    assert_error(&reply, 405, "bad_request", "does not take this method");
    assert!(reply.0.to_lowercase().contains("allow: get"), "{}", reply.0);
    let reply =
        lab.raw("GET /v1/deployments/shop/flip HTTP/1.1\r\nHost: bgd\r\nConnection: close\r\n\r\n").await;
    assert_error(&reply, 405, "bad_request", "does not take this method");
}

#[tokio::test]
async fn body_that_is_no_json_is_400() {
    let mut lab = Lab::start();
    for body in ["to=green", "{\"to\":", "{} {}", "\u{1}"] {
        let reply = lab.post("/v1/deployments/shop/flip", body).await;
        assert_error(&reply, 400, "bad_request", "no JSON");
    }
    assert!(lab.asked.try_recv().is_err(), "nothing of it reached the agent");
}

#[tokio::test]
async fn body_that_does_not_fit_is_400_and_names_the_field() {
    let mut lab = Lab::start();
    let flip = "/v1/deployments/shop/flip";
    let reply = lab.post(flip, "{\"dry-run\": true}").await;
    assert_error(&reply, 400, "bad_request", "unknown field `dry-run`");
    assert_error(&lab.post(flip, "{\"to\": \"red\"}").await, 400, "bad_request", "`red`");
    assert_error(&lab.post(flip, "[\"green\"]").await, 400, "bad_request", "no object");
    let long = json!({ "reason": "x".repeat(1025) }).to_string();
    assert_error(&lab.post(flip, &long).await, 400, "bad_request", "1024");
    let reply = lab.post("/v1/deployments/shop/rollback", "{\"to\": \"blue\"}").await;
    assert_error(&reply, 400, "bad_request", "unknown field `to`");
    assert!(lab.asked.try_recv().is_err(), "nothing of it reached the agent");
}

#[tokio::test]
async fn empty_body_asks_for_the_defaults() {
    let mut lab = Lab::start();
    let (head, _) = lab.post("/v1/deployments/shop/flip", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(matches!(lab.asked.recv().await, Some((_, Request::Flip { .. }))));
}

#[tokio::test]
async fn drain_is_extended_or_finished_and_not_both() {
    let lab = Lab::start();
    let path = "/v1/deployments/shop/drain";
    for body in ["{}", "", "{\"extend_s\": 0}", "{\"extend_s\": 5, \"finish\": true}"] {
        assert_error(&lab.post(path, body).await, 400, "bad_request", "either extended or finished");
    }
    for body in ["{\"finish\": true}", "{\"extend_s\": 5}"] {
        assert!(lab.post(path, body).await.0.starts_with("HTTP/1.1 200"), "{body}");
    }
}

#[tokio::test]
async fn body_over_64_kib_is_413() {
    let mut lab = Lab::start();
    let path = "/v1/deployments/shop/flip";
    // Blanks around a JSON value are JSON.
    let (head, _) = lab.post(path, &format!("{{}}{}", " ".repeat((64 << 10) - 2))).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    lab.asked.recv().await.unwrap();
    let reply = lab.post(path, &format!("{{}}{}", " ".repeat((64 << 10) - 1))).await;
    assert_error(&reply, 413, "too_large", "64 KiB");
    let reply = lab.post(path, &" ".repeat(4 << 20)).await;
    assert_error(&reply, 413, "too_large", "64 KiB");
    assert!(lab.asked.try_recv().is_err(), "nothing of it reached the agent");
}

#[tokio::test]
async fn endless_chunked_body_is_413() {
    let lab = Lab::start();
    let stream = lab.connect().await;
    let (mut from, mut to) = stream.into_split();
    let sender = tokio::spawn(async move {
        let head = "POST /v1/deployments/shop/flip HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        to.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        while to.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let mut reply = [0; 12];
    from.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 413");
    drop(from);
    sender.await.unwrap();
}

#[tokio::test]
async fn body_that_never_ends_is_408_after_ten_seconds() {
    let mut lab = Lab::start();
    let begin = Instant::now();
    let head = "POST /v1/deployments/shop/flip HTTP/1.1\r\nHost: bgd\r\nContent-Length: 100\r\n\r\n{";
    let reply = lab.raw(head).await;
    assert_error(&reply, 408, "timeout", "did not end within 10 s");
    assert!(begin.elapsed() >= body::PATIENCE, "after {:?}", begin.elapsed());
    assert!(lab.asked.try_recv().is_err(), "nothing of it reached the agent");
}

#[tokio::test]
async fn head_that_never_ends_is_closed_after_ten_seconds_and_disturbs_nobody() {
    let lab = Lab::start();
    let mut stream = lab.connect().await;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHo").await.unwrap();
    let begin = Instant::now();
    lab.client().status().await.expect("others are served");
    let mut reply = Vec::new();
    let closed = stream.read_to_end(&mut reply);
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("it is closed").ok();
    assert!(begin.elapsed() + Duration::from_secs(1) >= connection::PATIENCE);
}

#[tokio::test]
async fn request_that_is_no_http_is_refused() {
    let lab = Lab::start();
    let mut stream = lab.connect().await;
    stream.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    lab.client().status().await.expect("others are served");
}

#[tokio::test]
async fn agent_that_drops_a_question_is_a_500_with_a_reason() {
    let lab = Lab::start();
    let answer = lab.client().deployment("mute").await;
    assert!(
        matches!(&answer, Err(ClientError::Refused(error)) if error.code == Code::Internal),
        "{answer:?}"
    );
}

#[tokio::test]
async fn connections_are_bounded_and_waiting_ones_are_served_when_one_ends() {
    let lab = Lab::start();
    let mut held = Vec::new();
    for _ in 0..listener::MAX_CONNECTIONS {
        let mut stream = lab.connect().await;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: bgd\r\n\r\n").await.unwrap();
        let mut reply = [0; 4096];
        assert!(stream.read(&mut reply).await.unwrap() > 0);
        held.push(stream);
    }
    let client = lab.client();
    let mut waiting = tokio::spawn(async move { client.status().await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "the bound was not kept");
    held.pop();
    let served = tokio::time::timeout(Duration::from_secs(9), waiting).await;
    served.expect("served when one ends").unwrap().unwrap();
}

#[tokio::test]
async fn second_agent_is_refused_and_the_first_lives_on() {
    let lab = Lab::start();
    assert!(matches!(Listener::bind(&lab.socket()), Err(BindError::InUse(_))));
    // Even if the lock is gone: somebody answers.
    std::fs::remove_file(lab.directory.path().join("bgd.sock.lock")).unwrap();
    assert!(matches!(Listener::bind(&lab.socket()), Err(BindError::InUse(_))));
    lab.client().status().await.expect("the first agent is unharmed");
}

#[tokio::test]
async fn requests_under_way_are_answered_at_the_end_and_the_socket_is_gone() {
    let mut lab = Lab::start();
    let mut stream = lab.connect().await;
    let request = "POST /v1/deployments/shop/flip HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // The server has it when it asks for nothing more than the body.
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(b"{}").await.unwrap();
    let (head, body) = read(stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body["generation"], 7);
    lab.server.await.unwrap();
    assert!(!lab.directory.path().join("bgd.sock").exists());
}

#[tokio::test]
async fn client_without_an_agent_says_where_it_looked() {
    let client = Client::new("/nonexistent/bgd.sock");
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoAgent { .. }));
    assert!(error.to_string().contains("/nonexistent/bgd.sock"), "{error}");
    assert!(error.next().unwrap().contains("--socket"));
}

#[tokio::test]
async fn client_of_something_else_says_that_the_answer_did_not_come() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 hello\r\n").await.unwrap();
    });
    let error = Client::new(path).status().await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}
