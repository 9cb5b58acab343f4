//! Bodies: no JSON, what does not fit, too long, never ending.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::api::body;

#[tokio::test]
async fn empty_body_asks_for_the_defaults() {
    let mut lab = Lab::start();
    let (head, _) = lab.post("/v1/deployments/shop/flip", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(matches!(lab.asked.recv().await, Some((_, Request::Flip { .. }))));
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
