//! A small agent behind the real API, and the real `bgctl` that asks it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use bg_userspace::api::{Call, Listener, Request, Response, types::Error};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) type Answer = Result<Response, Error>;

/// An agent with a script of its own.
pub(crate) struct Agent {
    pub(crate) directory: TempDir,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
}

impl Agent {
    /// Starts an agent that answers by `answer`, which is told how many requests came before.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Answer + Send + 'static) -> Self {
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

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("bgd.sock")
    }

    pub(crate) fn bgctl(&self, line: &str) -> Run {
        run(&self.socket(), line)
    }
}

/// How a command ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {:?}", self.out))
    }

    #[track_caller]
    pub(crate) fn assert(&self, code: i32, out: &str, err: &str) {
        let Self { code: found, out: stdout, err: stderr } = self;
        assert_eq!(*found, code, "stdout: {stdout}\nstderr: {stderr}");
        assert!(stdout.contains(out), "{out:?} is not in stdout: {stdout}");
        assert!(stderr.contains(err), "{err:?} is not in stderr: {stderr}");
        assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "colour off a terminal");
    }
}

pub(crate) fn command(socket: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bgctl"));
    command.args(line.split_whitespace()).env("BGCTL_SOCKET", socket);
    command
}

pub(crate) fn run(socket: &Path, line: &str) -> Run {
    let Output { status, stdout, stderr } = command(socket, line).output().unwrap();
    Run {
        code: status.code().expect("it was not killed"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
