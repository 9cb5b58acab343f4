//! The benchmark, as short as can be: every case takes the way that its name says, and the report has the shape
//! that its documentation promises. Nothing is said about time.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use bg_tests::bench::{Options, run};
use serde_json::Value;

const OPTIONS: Options =
    Options { rounds: 1, packets: 64, flows: 1 << 12, services: 10, backends: 100, flips: 20, filter: None };

/// Reports are compared with earlier ones by these.
const NAMES: [&str; 12] = [
    "steady_tcp4",
    "steady_tcp6",
    "drain_tcp4_pinned",
    "drain_tcp4_base",
    "steady_udp4",
    "syn_steady",
    "syn_drain",
    "return_tcp4",
    "dsr_tcp4",
    "ipip_tcp4",
    "icmp_error4",
    "pass",
];

#[test]
fn every_case_takes_its_way_and_the_report_says_what_was_measured() {
    // A packet that goes another way is an error.
    let report = run(&OPTIONS).expect("the benchmark runs to its end");
    let report: Value = serde_json::to_value(&report).expect("JSON");

    let rows = report["rows"].as_array().expect("rows");
    let named = rows.iter().map(|row| row["case"].as_str().expect("a name"));
    let named: HashSet<_> = named.collect();
    assert_eq!(named, NAMES.into());
    let growth = report["growth"].as_array().expect("growth");
    assert!(growth.iter().any(|row| row["services"] == 10), "{growth:?}");
    for row in rows.iter().chain(growth) {
        for figure in ["flows", "ns_median", "ns_min", "ratio_to_floor"] {
            assert!(row[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {row}");
        }
        assert!(row["ratio_without_front"].is_number(), "{row}");
        let draining = row["case"].as_str().is_some_and(|name| name.contains("drain"));
        assert_eq!(row["bytes_per_flow"].as_f64().expect("a number") > 0.0, draining, "{row}");
    }
    for text in ["cpu", "kernel", "commit"] {
        assert!(report["machine"][text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
    }
    let memory = &report["memory"];
    let [bytes, formula] = ["bytes", "formula"].map(|figure| memory[figure].as_f64().expect("a number"));
    assert!((bytes / formula - 1.0).abs() < 0.1, "{memory}");
    let control = &report["control"];
    for figure in ["store_ns", "grace_ms", "ring_ms", "connections", "flipped_services"] {
        assert!(control[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {control}");
    }
}
