//! The demo itself, hurried: what it shows to people has to hold in the tests too.

use bg_tests::lab::binaries::binary;
use serde_json::Value;
use std::process::Command;

#[test]
fn the_demo_keeps_every_promise_and_says_so_in_its_last_line() {
    let output =
        Command::new(binary("demo").unwrap()).args(["--json", "--seconds-scale", "0.5"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let zeros = ["failed", "connections_broken", "agent_down_failed"];
    for field in zeros.iter().chain(&["tcp_estab_resets", "tcp_out_rsts", "captured_rst"]) {
        assert_eq!(summary[field], 0, "{field}: {summary}");
    }
    let streams = &summary["long_lived"];
    assert_eq!(streams["kept"], streams["opened"], "{summary}");
    assert!(streams["opened"].as_u64().unwrap() >= 40, "{summary}");
    assert!(summary["old_after_flip"].as_f64().unwrap() <= 0.001, "{summary}");
    assert_eq!(summary["flips"], 2, "{summary}");
    assert!(summary["flip_store_ns"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["requests"].as_u64().unwrap() > 1000, "{summary}");
}
