//! Abuse of the control socket: whatever is sent, the answer is a JSON error, and the agent and the
//! routing stay as they are.

use bg_tests::lab::config::{DEPLOYMENT, Settings};
use bg_tests::lab::stage::Stage;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Sends raw bytes, keeps the connection open, and reads the answer: status and body.
fn answer(stage: &Stage, bytes: &[u8]) -> (u16, Value) {
    let mut socket = UnixStream::connect(stage.agent().socket()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    // A peer that has heard enough may close before all is written.
    socket.write_all(bytes).ok();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => all.extend(&buffer[..count]),
        }
        if complete(&all) {
            break;
        }
    }
    let text = String::from_utf8(all).unwrap();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text:?}"));
    (status.unwrap(), body)
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.is_some_and(|(_, value)| value.parse().is_ok_and(|length: usize| body.len() >= length))
}

fn post(path: &str, length: usize, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bgd\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn bad_requests_get_json_errors_and_change_nothing() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let before = stage.agent().deployment().unwrap();
    let flip = format!("/v1/deployments/{DEPLOYMENT}/flip");
    let unknown_key = r#"{"too": "green"}"#;
    let no_environment = r#"{"to": "red"}"#;
    let drain = format!("/v1/deployments/{DEPLOYMENT}/drain");
    let both = r#"{"extend_s": 5, "finish": true}"#;
    let many = "{\"reason\": \"".to_owned() + &"x".repeat(70_000) + "\"}";
    let deep = "[".repeat(20_000);
    let mut endless =
        format!("POST {flip} HTTP/1.1\r\nHost: bgd\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..400 {
        endless.extend(b"1000\r\n");
        endless.extend(vec![b' '; 0x1000]);
        endless.extend(b"\r\n");
    }
    let cases: [(&str, Vec<u8>, u16, &str); 10] = [
        ("no JSON", post(&flip, 8, "not json"), 400, "bad_request"),
        ("unknown key", post(&flip, unknown_key.len(), unknown_key), 400, "bad_request"),
        ("unknown environment", post(&flip, no_environment.len(), no_environment), 400, "bad_request"),
        ("two acts at once", post(&drain, both.len(), both), 400, "bad_request"),
        ("nested too deep", post(&flip, deep.len(), &deep), 400, "bad_request"),
        ("a body too large", post(&flip, many.len(), &many), 413, "too_large"),
        ("chunks without end", endless, 413, "too_large"),
        ("a body that never ends", post(&flip, 100, "{\"to\": "), 408, "timeout"),
        ("no such path", b"GET /v2/status HTTP/1.1\r\nHost: bgd\r\n\r\n".to_vec(), 404, "not_found"),
        ("no such deployment", post("/v1/deployments/nowhere/flip", 2, "{}"), 404, "not_found"),
    ];
    for (name, bytes, status, code) in cases {
        let (found, body) = answer(&stage, &bytes);
        assert_eq!(found, status, "{name}: {body}");
        assert_eq!(body["error"]["code"], code, "{name}: {body}");
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{name}: {body}");
    }
    let after = stage.agent().deployment().unwrap();
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.live, before.live);
}

#[test]
fn idle_and_broken_peers_do_not_keep_others_out() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    // Half of what the agent takes at a time: silent, or with half a head.
    let mut silent = Vec::new();
    for number in 0..32 {
        let mut socket = UnixStream::connect(stage.agent().socket()).unwrap();
        if number % 2 == 0 {
            socket.write_all(b"POST /v1/depl").unwrap();
        }
        silent.push(socket);
    }
    assert_eq!(stage.agent().bgctl(&["status"]).unwrap().code, 0);
    let load = stage.load(3, false).unwrap();
    load.order(|orders| orders.speak = true);
    assert_eq!(load.stop().unwrap().failed(), 0);
    drop(silent);
    assert_eq!(stage.agent().bgctl(&["status"]).unwrap().code, 0);
}

#[test]
fn the_socket_is_closed_to_strangers() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let mode = std::fs::metadata(stage.agent().socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
