//! The whole way from a text to a configuration or to its problems. Each case is a valid file with
//! one thing changed.

mod mistakes;
mod random;
mod reading;
mod together;
mod values;

use std::path::Path;

use super::*;

const BASE: &str = r#"[node]
interfaces = ["eth0"]

[limits]
pins = 1024

[deployments.shop.drain]
idle_horizon = "10m"

[deployments.shop.gate]
min_healthy = 0.5

[deployments.shop.services.web]
vip = "203.0.113.10:443"
blue = ["10.0.1.1:8080", "10.0.1.2:8080"]
green = ["10.0.2.1:8080"]

[deployments.shop.services.web.health]
kind = "http"
paths = ["/health"]
"#;

fn read(text: &str) -> Result<Config, Error> {
    parse(Path::new("bgd.toml"), text)
}

fn problems(text: &str) -> Vec<Problem> {
    read(text).expect_err("this file is wrong").problems().to_vec()
}

/// The base with `old` replaced by `new`.
fn with(old: &str, new: &str) -> String {
    assert!(BASE.contains(old), "{old:?} is not in the base");
    BASE.replacen(old, new, 1)
}

/// The base with another line in a section, and the number of that line.
fn with_line(section: &str, line: &str) -> (String, usize) {
    let text = with(&format!("[{section}]\n"), &format!("[{section}]\n{line}\n"));
    let number = text.lines().position(|l| l == line).unwrap() + 1;
    (text, number)
}

/// Asserts that a line in a section is the one problem, and what is said about it.
#[track_caller]
fn refused(section: &str, line: &str, what: &str, help: &str) {
    let (text, number) = with_line(section, line);
    one(&text, number, what, help);
}

#[track_caller]
fn one(text: &str, line: usize, what: &str, help: &str) {
    let problems = problems(text);
    let [problem] = problems.as_slice() else {
        panic!("expected one problem, got {problems:#?}");
    };
    assert_eq!(problem.line, line, "{problem:?}");
    assert!(problem.what.contains(what), "{what:?} is not said in {problem:?}");
    assert!(problem.help.contains(help), "{help:?} is not advised in {problem:?}");
}

const WEB: &str = "deployments.shop.services.web";
const HEALTH: &str = "deployments.shop.services.web.health";
const DRAIN: &str = "deployments.shop.drain";
const GATE: &str = "deployments.shop.gate";
