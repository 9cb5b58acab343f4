//! What asks the agent for what, and how its answers and refusals come back.

use super::*;
use crate::api::{
    client::ClientError,
    types::{DrainRequest, FlipRequest, ReloadRequest, RollbackRequest},
};

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
async fn agent_that_drops_a_question_is_a_500_with_a_reason() {
    let lab = Lab::start();
    let answer = lab.client().deployment("mute").await;
    assert!(
        matches!(&answer, Err(ClientError::Refused(error)) if error.code == Code::Internal),
        "{answer:?}"
    );
}
