//! What is wrong with the file as a text: keys, syntax, kinds of values; and how that is told.

use super::*;

#[test]
fn unknown_key_names_its_line_and_the_nearest_key_at_every_level() {
    one(&format!("nodes = 1\n{BASE}"), 1, "unknown key `nodes` at the top of the file", "`node`?");
    refused("node", "interface = 1", "unknown key `interface` in [node]", "`interfaces`?");
    refused("node", "xdp-mode = 1", "unknown key `xdp-mode`", "`xdp_mode`?");
    refused("limits", "pinz = 1", "in [limits]", "`pins`?");
    refused(DRAIN, "deadlin = \"1s\"", "in [deployments.shop.drain]", "`deadline`?");
    refused(GATE, "min_heathy = 1", "in [deployments.shop.gate]", "`min_healthy`?");
    refused(WEB, "gren = []", "in [deployments.shop.services.web]", "`green`?");
    refused(HEALTH, "intervall = \"1s\"", "services.web.health]", "`interval`?");
    let (text, line) = with_line(DRAIN, "[deployments.shop.gates]");
    let text = text.replace("idle_horizon = \"10m\"\n", "");
    one(&text, line, "unknown key `gates` in [deployments.shop]", "`gate`?");
}

#[test]
fn unknown_key_like_no_other_lists_the_valid_ones() {
    refused(DRAIN, "zzzzzzzzzz = 1", "unknown key", "valid here: `idle_horizon`, `deadline`");
}

#[test]
fn syntax_errors_name_their_line_and_nothing_else_is_said() {
    let text = with("min_healthy = 0.5", "min_healthy = ");
    one(&text, 11, "", "TOML");
    let text = with("idle_horizon = \"10m\"", "idle_horizon = 10m");
    assert!(problems(&text).iter().all(|problem| problem.line == 8), "{:?}", problems(&text));
    let text = with("min_healthy = 0.5", "min_healthy = 0.5\nmin_healthy = 1.0");
    one(&text, 12, "duplicate key `min_healthy`", "once");
}

#[test]
fn all_problems_are_said_at_once_in_the_order_of_the_file() {
    let text = with("interfaces = [\"eth0\"]", "interfaces = []")
        .replace("0.5", "1.5")
        .replace("/health\"", "health\"")
        .replace("10.0.2.1:8080", "10.0.2.1");
    let lines: Vec<_> = problems(&text).iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 11, 16, 20]);
}

#[test]
fn message_is_file_line_what_help() {
    let (text, line) = with_line(GATE, "min_heathy = 1");
    let error = read(&text).unwrap_err().to_string();
    let expected = format!(
        "bgd.toml:{line}: unknown key `min_heathy` in [deployments.shop.gate]\n  \
         help: did you mean `min_healthy`?"
    );
    assert_eq!(error, expected);
}

#[test]
fn missing_keys_are_named() {
    let text = "[node]\ninterfaces = [\"eth0\"]";
    one(text, 1, "no deployment is configured", "[deployments.NAME");
    assert_eq!(problems("").len(), 2);
    let text = with("interfaces = [\"eth0\"]\n", "");
    one(&text, 1, "`node.interfaces` is missing", "interfaces = [\"eth0\"]");
    one(&with("vip = \"203.0.113.10:443\"\n", ""), 13, "web.vip` is missing", "vip =");
    one(&with("green = [\"10.0.2.1:8080\"]\n", ""), 13, "web.green` is missing", "[]");
    one(&with("paths = [\"/health\"]\n", ""), 18, "health.paths` is missing", "paths =");
}

#[test]
fn kinds_of_values_are_checked() {
    one(&with("interfaces = [\"eth0\"]", "interfaces = \"eth0\""), 2, "must be a list", "[\"eth0\"]");
    one(&with("pins = 1024", "pins = \"1024\""), 5, "must be an integer, not a string", "whole");
    one(&with("min_healthy = 0.5", "min_healthy = true"), 11, "not a boolean", "without quotes");
    one(&with("\"203.0.113.10:443\"", "443"), 14, "must be a string", "quotes");
    one(
        &with("[limits]\npins = 1024\n", "").replacen("[node]", "limits = 3\n[node]", 1),
        1,
        "must be a section",
        "[limits]",
    );
    refused(WEB, "idle_timeout = 7200", "needs a unit", "\"7200s\"");
}

#[test]
fn file_that_cannot_be_read_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("none.toml: cannot be read") && error.contains("help: "), "{error}");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("UTF-8"));
    std::fs::write(&path, BASE).unwrap();
    load(&path).unwrap();
}
