//! The API over a real socket, with a small agent that answers what each test needs. Requests that
//! no client of ours would send are written by hand.

mod bodies;
mod connections;
mod requests;

use std::{path::PathBuf, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    client::Client,
    types::{
        Code, DrainResult, Environment, Error, HistoryResult, ReloadResult, State, Status, SwitchResult,
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
