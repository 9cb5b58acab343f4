//! Connections: how many, how long, what else speaks on them, and their end.

use std::time::Instant;

use super::*;
use crate::api::{BindError, client::ClientError, connection, listener};

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
