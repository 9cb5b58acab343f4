//! The comparison with others, as short as can be: everybody serves, switches as its manual says, and is gone
//! afterwards; and the report has the shape that its documentation promises. Nothing is said about time.
#![forbid(unsafe_code)]

use bg_tests::bench::peers::{Contender, PeersOptions, run};
use serde_json::Value;

#[test]
fn everybody_serves_and_switches_and_the_report_says_so() {
    let report =
        run(PeersOptions { rounds: 1, seconds: 1, connections: 8 }).expect("the comparison runs to its end");
    eprintln!("{}", report.table());
    let report: Value = serde_json::to_value(&report).expect("JSON");

    let http = report["http"].as_array().expect("rows");
    for contender in Contender::ALL {
        for traffic in ["keep_alive", "short"] {
            let mut rows = http.iter();
            let row = rows.find(|row| row["contender"] == contender.name() && row["traffic"] == traffic);
            let row = row.unwrap_or_else(|| panic!("no row of {} {traffic}", contender.name()));
            for figure in
                ["requests_per_s", "connections_per_s", "p99_us", "cpu_us_per_request", "ratio_to_routing"]
            {
                assert!(row[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {row}");
            }
            assert_eq!((&row["rounds"], &row["failed"]), (&1.into(), &0.into()), "{row}");
            // A connection for each request, or one for all of them.
            let of = |figure: &str| row[figure].as_f64().expect("a number");
            assert_eq!(of("connections_per_s") > of("requests_per_s") / 2.0, traffic == "short", "{row}");
        }
    }
    let switches = report["switches"].as_array().expect("rows");
    let ways: Vec<_> = switches.iter().map(|row| row["how"].as_str().expect("a way")).collect();
    assert_eq!(ways, ["bgctl flip", "nft -f", "runtime API", "reload"]);
    for row in switches {
        assert!(row["requests"].as_u64().is_some_and(|requests| requests > 500), "{row}");
        assert_eq!(row["switches"], 1, "{row}");
        assert!(row["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{row}");
        for figure in ["broken_connections", "resets"] {
            assert!(row[figure].is_u64(), "{figure}: {row}");
        }
    }
    // What others break is not ours to promise.
    assert_eq!(switches[0]["broken_connections"], 0, "{switches:?}");
    for text in ["cpu", "kernel", "commit"] {
        assert!(report["machine"][text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
    }
    assert_eq!(report["versions"].as_array().map(Vec::len), Some(4));
}
