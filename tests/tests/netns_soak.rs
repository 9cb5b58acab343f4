//! Short soaks of every variant: what a long one has to show holds in the tests too, and a soak that
//! should fail does.

use bg_tests::lab::binaries::binary;
use serde_json::Value;
use std::process::{Command, Output};

/// Few flips and connections: a long soak is `cargo xtask soak`.
fn soak(variant: &[&str], seed: u64) -> (Output, Value) {
    let mut command = Command::new(binary("soak").unwrap());
    command.args(["--json", "--flips", "2", "--connections", "400", "--acts"]);
    command.args(["--seed", &seed.to_string()]).args(variant);
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    let summary = serde_json::from_str(last);
    let said = String::from_utf8_lossy(&output.stderr);
    (output.clone(), summary.unwrap_or_else(|error| panic!("no summary ({error}): {stdout}\n{said}")))
}

/// Runs a variant that must keep every promise.
fn kept(variant: &[&str], seed: u64) -> Value {
    let (output, summary) = soak(variant, seed);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{variant:?}: {said}\n{summary}");
    for field in ["broken", "moved", "misrouted", "second_chances", "captured_rst", "tcp_estab_resets"] {
        assert_eq!(summary[field], 0, "{field}: {said}\n{summary}");
    }
    assert!(summary["connections"].as_u64().unwrap() >= 400, "{summary}");
    assert!(summary["flips"].as_u64().unwrap() >= 2, "{summary}");
    assert_eq!(summary["seed"], seed, "{summary}");
    summary
}

#[test]
fn a_soak_keeps_every_promise() {
    let summary = kept(&[], 11);
    assert!(summary["reached_current"].as_f64().unwrap() >= 0.999, "{summary}");
}

#[test]
fn without_room_for_pins_nothing_moves_and_nothing_breaks() {
    let summary = kept(&["--pins", "0"], 12);
    assert_eq!(summary["reached_current"], 0.0, "{summary}");
    assert!(summary["why"].as_str().unwrap().contains("`pins` is 0"), "{summary}");
}

#[test]
fn a_flood_delays_and_breaks_nothing() {
    let summary = kept(&["--flood"], 13);
    assert!(summary["reached_current"].as_f64().unwrap() >= 0.99, "{summary}");
}

#[test]
fn forged_packets_break_nothing() {
    let summary = kept(&["--spoof"], 14);
    assert!(summary["forged"].as_u64().unwrap() > 100, "{summary}");
}

#[test]
fn lost_packets_break_nothing() {
    kept(&["--loss", "5"], 15);
}

#[test]
fn a_soak_whose_pins_are_wiped_fails_and_says_so() {
    let (output, summary) = soak(&["--wipe-pins"], 16);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a promise was broken"), "{said}");
    let lost = ["broken", "moved", "captured_rst"].map(|field| summary[field].as_u64().unwrap());
    assert!(lost.iter().sum::<u64>() > 0, "{summary}");
}
