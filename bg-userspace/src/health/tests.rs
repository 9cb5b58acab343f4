//! Probes against real servers on loopback: good ones, and each kind of bad one. Every server also
//! watches how the probe says goodbye: an RST shows as an error where the end should be.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use super::*;
use crate::config::{Health, HealthKind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a server does with a request.
#[derive(Clone)]
enum Manner {
    /// Answers, and closes as it was asked to.
    Answer(String),
    /// Answers some paths well and others with 503.
    ByPath(&'static str),
    /// Answers, and keeps the connection open until the probe closes it.
    KeepOpen,
    /// Never answers.
    Hang,
    /// Answers with a body that never ends.
    Endless,
    /// Answers byte by byte.
    Slow(Duration),
}

/// A server that counts its connections, and those that ended otherwise than by a clean close.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    resets: Arc<AtomicUsize>,
    request: Arc<std::sync::Mutex<String>>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            ended: Arc::default(),
            resets: Arc::default(),
            request: Arc::default(),
        };
        let (connections, ended) = (Arc::clone(&server.connections), Arc::clone(&server.ended));
        let (resets, request) = (Arc::clone(&server.resets), Arc::clone(&server.request));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (manner, request) = (manner.clone(), Arc::clone(&request));
                let (ended, resets) = (Arc::clone(&ended), Arc::clone(&resets));
                tokio::spawn(async move {
                    if attend(stream, manner, &request).await.is_err() {
                        resets.fetch_add(1, Ordering::SeqCst);
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn resets(&self) -> usize {
        self.resets.load(Ordering::SeqCst)
    }

    /// Waits until the server has seen so many connections to their end.
    async fn saw_ends(&self, count: usize) {
        let ends = async {
            while self.ended.load(Ordering::SeqCst) < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), ends).await.expect("connections end");
    }
}

async fn attend(
    mut stream: TcpStream,
    manner: Manner,
    last: &std::sync::Mutex<String>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            // A TCP probe: it says nothing.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    last.lock().unwrap().clone_from(&request);
    let mut close = true;
    match manner {
        Manner::Answer(answer) => stream.write_all(answer.as_bytes()).await?,
        Manner::ByPath(good) => {
            let answer = if request.starts_with(&format!("GET {good} ")) {
                OK
            } else {
                "HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).await?;
        }
        Manner::KeepOpen => {
            stream.write_all(OK.as_bytes()).await?;
            close = false;
        }
        Manner::Hang => close = false,
        Manner::Endless => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
            return Ok(());
        }
        Manner::Slow(pause) => {
            for byte in OK.bytes() {
                sleep(pause).await;
                stream.write_all(&[byte]).await?;
            }
        }
    }
    if close {
        stream.shutdown().await?;
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.map(drop)
}

fn check(kind: HealthKind) -> Health {
    Health {
        kind,
        port: None,
        interval: Duration::from_millis(100),
        // A busy machine must not make a good server late.
        timeout: Duration::from_secs(10),
        rise: 1,
        fall: 1,
    }
}

fn http(paths: &[&str]) -> Health {
    check(HealthKind::Http {
        paths: paths.iter().map(ToString::to_string).collect(),
        expect: None,
        host: None,
    })
}

/// For servers that are late.
fn impatient() -> Health {
    Health { timeout: Duration::from_millis(250), ..http(&["/health"]) }
}

fn target(address: SocketAddr, check: Health) -> Target {
    Target { key: 1, address, check }
}

/// The first verdict on a target.
async fn verdict(target: Target) -> Verdict {
    let (out, mut reports) = mpsc::channel(16);
    let checker = spawn(vec![target], out);
    let report = timeout(Duration::from_secs(10), reports.recv()).await;
    drop(checker);
    report.expect("a report in time").expect("a report").verdict
}

async fn verdict_on(manner: Manner, check: Health) -> (Verdict, Server) {
    let server = Server::start(manner).await;
    (verdict(target(server.address, check)).await, server)
}

#[track_caller]
fn assert_unhealthy(verdict: Verdict, expected: &str) {
    match verdict {
        Verdict::Unhealthy { reason, refused: false } => {
            assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
        }
        other => panic!("{other:?} instead of unhealthy for {expected:?}"),
    }
}

/// An address that nobody listens on.
async fn vacant() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn good_http_server_is_healthy_and_sees_no_reset() {
    let (verdict, server) = verdict_on(Manner::Answer(OK.to_owned()), http(&["/health"])).await;
    assert_eq!(verdict, Verdict::Healthy);
    server.saw_ends(1).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn request_names_path_host_and_agent_and_asks_to_close() {
    let mut check = http(&["/health?deep=1"]);
    if let HealthKind::Http { host, .. } = &mut check.kind {
        *host = Some("shop.example".to_owned());
    }
    let (_, server) = verdict_on(Manner::Answer(OK.to_owned()), check).await;
    let request = server.request.lock().unwrap().to_lowercase();
    assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
    for header in ["host: shop.example", "connection: close", "user-agent: bluegreen/"] {
        assert!(request.contains(&format!("\r\n{header}")), "{header} is not in {request}");
    }
}

#[tokio::test]
async fn server_that_ignores_connection_close_sees_no_reset_either() {
    let (verdict, server) = verdict_on(Manner::KeepOpen, http(&["/"])).await;
    assert_eq!(verdict, Verdict::Healthy);
    server.saw_ends(1).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn status_500_is_unhealthy() {
    let answer = "HTTP/1.1 500 Oh No\r\nContent-Length: 4\r\n\r\noops".to_owned();
    let (verdict, server) = verdict_on(Manner::Answer(answer), http(&["/health"])).await;
    assert_unhealthy(verdict, "GET /health: status 500, expected 2xx");
    server.saw_ends(1).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn expected_status_is_the_only_good_one() {
    let mut check = http(&["/"]);
    if let HealthKind::Http { expect, .. } = &mut check.kind {
        *expect = Some(204);
    }
    let (verdict, _) = verdict_on(Manner::Answer(OK.to_owned()), check.clone()).await;
    assert_unhealthy(verdict, "status 200, expected 204");
    let answer = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    assert_eq!(verdict_on(Manner::Answer(answer), check).await.0, Verdict::Healthy);
}

#[tokio::test]
async fn redirect_is_no_success() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert_unhealthy(verdict_on(Manner::Answer(answer), http(&["/"])).await.0, "status 302");
}

#[tokio::test]
async fn every_path_must_hold() {
    let manner = Manner::ByPath("/health");
    let (verdict, server) = verdict_on(manner, http(&["/health", "/ready"])).await;
    assert_unhealthy(verdict, "GET /ready: status 503");
    server.saw_ends(2).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn hanging_server_is_unhealthy_after_the_timeout_and_sees_no_reset() {
    let (verdict, server) = verdict_on(Manner::Hang, impatient()).await;
    assert_unhealthy(verdict, "GET /health: no answer within 250ms");
    server.saw_ends(1).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn slow_answer_fails_by_the_time_of_the_whole_probe() {
    let slow = Manner::Slow(Duration::from_millis(50));
    assert_unhealthy(verdict_on(slow, impatient()).await.0, "no answer within 250ms");
    let brisk = Manner::Slow(Duration::from_millis(1));
    assert_eq!(verdict_on(brisk, http(&["/"])).await.0, Verdict::Healthy);
}

#[tokio::test]
async fn endless_body_is_cut_off() {
    assert_unhealthy(verdict_on(Manner::Endless, http(&["/"])).await.0, "larger than 64 KiB");
}

#[tokio::test]
async fn announced_body_that_is_too_large_is_not_read() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx".to_owned();
    assert_unhealthy(verdict_on(Manner::Answer(answer), http(&["/"])).await.0, "64 KiB");
}

#[tokio::test]
async fn endless_head_is_cut_off() {
    let answer = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000));
    let (verdict, _) = verdict_on(Manner::Answer(answer), http(&["/"])).await;
    assert_unhealthy(verdict, "GET /: ");
}

#[tokio::test]
async fn answer_that_is_no_http_is_unhealthy() {
    let answer = "SSH-2.0-OpenSSH_9.2\r\n".to_owned();
    assert_unhealthy(verdict_on(Manner::Answer(answer), http(&["/"])).await.0, "no HTTP");
}

#[tokio::test]
async fn answer_that_breaks_off_is_unhealthy() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort".to_owned();
    let (verdict, _) = verdict_on(Manner::Answer(answer), http(&["/"])).await;
    assert_unhealthy(verdict, "GET /: ");
    let nothing = verdict_on(Manner::Answer(String::new()), http(&["/"])).await.0;
    assert_unhealthy(nothing, "the connection ended before the reply did");
}

#[tokio::test]
async fn absent_server_is_unhealthy_and_refused() {
    for check in [http(&["/"]), check(HealthKind::Tcp)] {
        let expected = Verdict::Unhealthy { reason: "connection refused".to_owned(), refused: true };
        assert_eq!(verdict(target(vacant().await, check)).await, expected);
    }
}

#[tokio::test]
async fn tcp_probe_is_content_with_a_connection_and_ends_it_cleanly() {
    let (verdict, server) = verdict_on(Manner::Hang, check(HealthKind::Tcp)).await;
    assert_eq!(verdict, Verdict::Healthy);
    server.saw_ends(1).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn tcp_probe_reads_a_banner_before_it_closes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let banner = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        // An RST would make this an error.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await
    });
    assert_eq!(verdict(target(address, check(HealthKind::Tcp))).await, Verdict::Healthy);
    assert_eq!(banner.await.unwrap().expect("a clean end"), 0);
}

#[tokio::test]
async fn port_of_the_check_overrides_the_backends() {
    let server = Server::start(Manner::Answer(OK.to_owned())).await;
    let mut check = http(&["/"]);
    check.port = Some(server.address.port());
    assert_eq!(verdict(target(vacant().await, check)).await, Verdict::Healthy);
}

#[tokio::test]
async fn hung_backend_delays_no_other() {
    let hung = Server::start(Manner::Hang).await;
    let good = Server::start(Manner::Answer(OK.to_owned())).await;
    let patient =
        Health { timeout: Duration::from_mins(1), interval: Duration::from_mins(1), ..http(&["/"]) };
    let quick = Health { interval: Duration::from_millis(20), ..http(&["/"]) };
    let mut targets: Vec<_> =
        (0..50).map(|key| Target { key, address: hung.address, check: patient.clone() }).collect();
    targets.push(Target { key: 99, address: good.address, check: quick });
    let (out, mut reports) = mpsc::channel(16);
    let _checker = spawn(targets, out);
    for _ in 0..20 {
        let report = timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap();
        assert_eq!(report.key, 99);
    }
}

#[tokio::test]
async fn every_probe_is_reported_with_the_state_after_it() {
    let good = Server::start(Manner::Answer(OK.to_owned())).await;
    let bad = vacant().await;
    let mut check = http(&["/"]);
    check.interval = Duration::from_millis(30);
    (check.rise, check.fall) = (2, 3);
    let targets = vec![
        Target { key: 1, address: good.address, check: check.clone() },
        Target { key: 2, address: bad, check },
    ];
    let (out, mut reports) = mpsc::channel(16);
    let _checker = spawn(targets, out);
    let mut seen: HashMap<Key, usize> = HashMap::new();
    while seen.len() < 2 || seen.values().any(|&count| count < 5) {
        let report = timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap();
        assert_eq!(report.verdict == Verdict::Healthy, report.key == 1, "{report:?}");
        *seen.entry(report.key).or_default() += 1;
    }
}

#[tokio::test]
async fn dropped_checker_stops_all_probes() {
    let server = Server::start(Manner::Answer(OK.to_owned())).await;
    let mut check = http(&["/"]);
    check.interval = Duration::from_millis(10);
    let (out, mut reports) = mpsc::channel(1);
    let checker = spawn(vec![target(server.address, check)], out);
    reports.recv().await.unwrap();
    drop(checker);
    // The channel closes when the last task is gone.
    let closed = async { while reports.recv().await.is_some() {} };
    timeout(Duration::from_secs(10), closed).await.expect("tasks end");
    let before = server.connections.load(Ordering::SeqCst);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.connections.load(Ordering::SeqCst), before);
    server.saw_ends(before).await;
    assert_eq!(server.resets(), 0);
}

#[tokio::test]
async fn tasks_end_when_nobody_reads_reports() {
    let server = Server::start(Manner::Answer(OK.to_owned())).await;
    let (out, reports) = mpsc::channel(1);
    let _checker = spawn(vec![target(server.address, http(&["/"]))], out.clone());
    drop(reports);
    let alone = async {
        while out.strong_count() > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), alone).await.expect("tasks end");
}
