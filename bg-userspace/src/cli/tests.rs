//! The screens, word for word, and the grammar of the command line.

use clap::{CommandFactory as _, Parser as _};
use serde_json::{Value, json};

use super::{
    args::{Args, Command, DrainAct},
    status,
    text::Paint,
};
use crate::api::types::{DeploymentStatus, Status};

fn draining() -> Value {
    json!({
        "name": "shop",
        "state": "draining",
        "phase": "drain",
        "generation": 42,
        "live": "green",
        "environments": [
            {
                "environment": "blue", "healthy": 1, "backends": 2,
                "connections": 98_204, "packets": 12_345_678,
                "members": [
                    {
                        "service": "web", "address": "10.0.1.1:8080", "health": "healthy", "reason": null,
                        "weight": 100, "leaving": false, "syns": 9, "syn_acks": 9,
                    },
                    {
                        "service": "web", "address": "10.0.1.2:8080", "health": "unhealthy",
                        "reason": "GET /ready: status 503, expected 2xx",
                        "weight": 100, "leaving": false, "syns": 0, "syn_acks": 0,
                    },
                ],
            },
            {
                "environment": "green", "healthy": 2, "backends": 2,
                "connections": 1, "packets": 91_823, "members": [],
            },
        ],
        "services": [
            { "name": "web", "vip": "203.0.113.10:443/tcp", "mode": "nat" },
            { "name": "admin", "vip": "203.0.113.10:8443/tcp", "mode": "nat" },
        ],
        "testers": [],
        "drain": {
            "leaving": "blue", "age_s": 252, "flows": 12, "seen": 1_204, "last_seen_s": 3,
            "pins": 340, "overflow": 2, "idle_horizon_s": 600, "deadline_s": 1_560,
            "waiting_for": "12 flows to end",
        },
        "syn_memory": { "false_positive_rate": 0.0, "complete_in_s": 0 },
        "warnings": ["replies of 10.0.1.2 do not\u{1b}[2J pass this node"],
        "last": "flipped to green by ada: v2",
    })
}

fn screen(status: Value) -> String {
    let status: DeploymentStatus = serde_json::from_value(status).unwrap();
    status::screen(Paint::new(false), &status).join("\n")
}

#[test]
fn status_of_a_drain_fits_one_screen() {
    let expected = "\
shop   generation 42   ● DRAINING blue for 4m12s, rollback possible
    blue   1/2 healthy   98,204 connections   12,345,678 packets
      10.0.1.2:8080 of web is unhealthy: GET /ready: status 503, expected 2xx
  ▶ green  2/2 healthy   1 connection   91,823 packets
  12 flows of 1,204 seen, last packet 3s ago, closes in 26m00s
  340 pins, gone counts who is silent for 10m00s
  2 connections went to blue after the switch, and are safe there
  waits for: 12 flows to end
  web    203.0.113.10:443/tcp   nat
  admin  203.0.113.10:8443/tcp  nat
  ! replies of 10.0.1.2 do not [2J pass this node
  last: flipped to green by ada: v2
  next: bgctl drain shop --wait | bgctl rollback shop";
    assert_eq!(screen(draining()), expected);
}

#[test]
fn quiet_deployment_says_little() {
    let mut status = draining();
    status["state"] = json!("idle");
    status["phase"] = json!("steady");
    status["drain"] = Value::Null;
    status["last"] = Value::Null;
    status["warnings"] = json!([]);
    let screen = screen(status);
    assert!(screen.starts_with("shop   generation 42   ● IDLE\n"), "{screen}");
    assert!(screen.ends_with("\n  next: bgctl flip shop"), "{screen}");
    for absent in ["waits", "last", "SYN", "!"] {
        assert!(!screen.contains(absent), "{absent} in {screen}");
    }
}

#[test]
fn rollback_is_told_from_a_flip() {
    let mut status = draining();
    status["state"] = json!("rolling_back");
    status["phase"] = json!("seal");
    let screen = screen(status);
    assert!(screen.contains("● ROLLING BACK, draining blue for 4m12s, last count\n"), "{screen}");
    assert!(screen.ends_with("next: bgctl drain shop --wait"), "{screen}");
}

#[test]
fn shares_are_shown_while_new_connections_are_shared() {
    let mut status = draining();
    status["state"] = json!("shifting");
    status["live"] = json!("blue");
    status["share"] = json!(25);
    status["drain"] = Value::Null;
    let screen = screen(status);
    let first =
        "shop   generation 42   ● SHIFTING, green 25 % of new connections, rollback possible\n  ▶ blue ";
    assert!(screen.starts_with(first), "{screen}");
    assert!(screen.ends_with("next: bgctl flip shop | bgctl rollback shop"), "{screen}");
}

#[test]
fn backends_of_another_weight_are_named() {
    let mut status = draining();
    let members = &mut status["environments"][0]["members"];
    members[0]["weight"] = json!(50);
    members[1]["leaving"] = json!(true);
    let shown = screen(status.clone());
    assert!(shown.contains("\n      10.0.1.1:8080 of web has weight 50\n"), "{shown}");
    assert!(shown.contains("\n      10.0.1.2:8080 of web leaves, and keeps its connections\n"), "{shown}");
    status["environments"][0]["members"][0]["weight"] = json!(0);
    assert!(screen(status).contains("has weight 0, and takes no new connection\n"));
}

#[test]
fn previews_and_testers_are_shown_with_where_they_lead() {
    let mut status = draining();
    assert!(!screen(status.clone()).contains("testers"));
    status["services"][1]["preview"] = json!("203.0.113.11:8443/tcp");
    status["testers"] = json!(["192.0.2.0/28", "2001:db8::7/128"]);
    let shown = screen(status);
    assert!(
        shown.contains("  admin  203.0.113.10:8443/tcp  nat   preview 203.0.113.11:8443/tcp -> blue\n"),
        "{shown}"
    );
    assert!(shown.contains("\n  testers 192.0.2.0/28, 2001:db8::7/128 -> blue\n"), "{shown}");
}

#[test]
fn incomplete_syn_memory_is_shown() {
    let mut status = draining();
    status["syn_memory"] = json!({ "false_positive_rate": 0.0, "complete_in_s": 97 });
    assert!(screen(status.clone()).contains("SYN memory complete in 1m37s; a flip waits for it"));
    status["syn_memory"] = json!({ "false_positive_rate": 0.012, "complete_in_s": 0 });
    assert!(screen(status).contains("SYN memory errs for 1.2 % of new connections"));
}

#[test]
fn node_screen_begins_with_the_agent() {
    let status: Status = serde_json::from_value(json!({
        "version": "0.1.0",
        "uptime_s": 11_520,
        "interfaces": [{ "name": "eth0", "mode": "native" }, { "name": "eth1", "mode": "generic" }],
        "deployments": [draining()],
        "warnings": ["the clock stands still"],
    }))
    .unwrap();
    let lines = status::node(Paint::new(false), &status);
    assert_eq!(lines[0], "bgd 0.1.0, up 3h12m, on eth0 (native), eth1 (generic)");
    assert_eq!(lines[1], "  ! the clock stands still");
    assert_eq!(lines[2], "");
    assert!(lines[3].starts_with("shop   generation 42"));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let status: DeploymentStatus = serde_json::from_value(draining()).unwrap();
    let painted = status::screen(Paint::new(true), &status).join("\n");
    let mut plain = String::new();
    for (index, part) in painted.split("\u{1b}[").enumerate() {
        let text = if index == 0 { part } else { part.split_once('m').unwrap().1 };
        plain.push_str(text);
    }
    assert_eq!(plain, screen(draining()));
}

#[test]
fn grammar_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn documented_command_lines_parse() {
    let lines = [
        "status",
        "status shop",
        "flip shop",
        "flip shop --to green --reason v2 --force health --force syn-memory --timeout 3m",
        "flip shop --no-wait --dry-run",
        "flip shop --share 25",
        "flip shop --to green --share 100",
        "history shop",
        "history shop --limit 5",
        "reload",
        "reload --reason weights",
        "rollback shop --reason broken --force health",
        "drain shop",
        "drain shop status",
        "drain shop --wait --timeout 30m",
        "drain shop extend 10m",
        "drain shop extend 10m --wait",
        "drain shop finish --reason late",
        "config check",
        "config check other.toml",
        "completion bash",
        "-o json status",
        "status -o json --socket other.sock",
    ];
    for line in lines {
        let parsed = Args::try_parse_from(["bgctl"].into_iter().chain(line.split(' ')));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

#[test]
fn senseless_command_lines_are_refused() {
    let lines = [
        "flip",
        "flip shop --to red",
        "flip shop --timeout soon",
        "flip shop --no-wait --timeout 3m",
        "flip shop --share 0",
        "flip shop --share 101",
        "flip shop --share half",
        "history",
        "history shop --limit 0",
        "reload shop",
        "drain shop extend",
        "drain shop extend 0s",
        "drain shop extend 10",
        "drain shop extend 1500ms",
        "completion cobol",
        "-o xml status",
        "statuss",
    ];
    for line in lines {
        let parsed = Args::try_parse_from(["bgctl"].into_iter().chain(line.split(' ')));
        assert!(parsed.is_err(), "{line}");
    }
}

#[test]
fn options_of_drain_may_come_before_or_after_the_act() {
    for line in ["drain shop --wait extend 10m", "drain shop extend 10m --wait"] {
        let args = Args::try_parse_from(["bgctl"].into_iter().chain(line.split(' '))).unwrap();
        let Command::Drain(drain) = args.command else {
            panic!("{line}");
        };
        assert!(drain.wait && matches!(drain.act, Some(DrainAct::Extend { .. })), "{line}");
    }
}
