//! Starts that must be refused: each with a sentence that says what to do, and with nothing changed.

use bg_tests::lab::Environment;
use bg_tests::lab::agent::{refusal, refusal_without_root};
use bg_tests::lab::config::{self, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::Topology;

/// Starts an agent with this text as its file, and checks that it refuses, naming every one of
/// `words`, and leaves the node as it was.
fn refuses(topology: &Topology, text: &str, words: &[&str]) {
    let file = topology.workdir.write("refused.toml", text).unwrap();
    let before = topology.attached().unwrap();
    let (code, said) = refusal(topology, &file).unwrap();
    assert_refused(code, &said, words);
    assert_eq!(topology.attached().unwrap(), before, "{said}");
}

fn assert_refused(code: i32, said: &str, words: &[&str]) {
    assert!(code > 0, "exit code {code}: {said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The number of the line that holds `part`, as an error names it.
fn line_of(text: &str, part: &str) -> String {
    let place = text.lines().position(|line| line.contains(part)).unwrap();
    format!("refused.toml:{}", place + 1)
}

#[test]
fn a_bad_file_is_refused_with_line_and_help_and_nothing_is_attached() {
    let topology = Topology::new(1, 1).unwrap();
    let good = config::text(&topology, &Settings::default());
    let cases = [
        ("vip_interface", "vip_interfaces", "vip_interface"), // a key that does not exist
        ("interval = \"300ms\"", "interval = \"fast\"", "interval"),
        ("ring_size = 1021", "ring_size = 1000", "prime"),
        ("xdp_mode = \"native\"", "xdp_mode = \"fast\"", "native"),
    ];
    for (from, to, word) in cases {
        assert!(good.contains(from), "the case {from:?} is void");
        let bad = good.replacen(from, to, 1);
        refuses(&topology, &bad, &[&line_of(&bad, to), "help: ", word]);
    }
    assert!(topology.attached().unwrap().is_empty());
    assert!(!topology.workdir.bpffs().join("bluegreen").exists());
}

#[test]
fn an_endpoint_of_two_services_is_refused() {
    let topology = Topology::new(1, 1).unwrap();
    let good = config::text(&topology, &Settings::default());
    let blue = topology.backends[0].address;
    let text = format!(
        "{good}
[deployments.shop.services.twin]
vip = \"203.0.113.11:80\"
blue = [\"{blue}:9000\"]
green = []
"
    );
    refuses(&topology, &text, &["refused.toml:", &format!("{blue}:9000"), "help: "]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let topology = Topology::new(1, 1).unwrap();
    let file = topology.workdir.join("absent.toml");
    let (code, said) = refusal(&topology, &file).unwrap();
    assert_refused(code, &said, &["absent.toml"]);
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let topology = Topology::new(1, 1).unwrap();
    let good = config::text(&topology, &Settings::default());
    let bad = good.replacen("\"c0\"", "\"eth7\"", 1);
    refuses(&topology, &bad, &["eth7"]);
    assert!(topology.attached().unwrap().is_empty());
}

#[test]
fn a_pin_directory_that_is_no_bpffs_is_refused() {
    let topology = Topology::new(1, 1).unwrap();
    let good = config::text(&topology, &Settings::default());
    let pins = topology.workdir.bpffs().display().to_string();
    let elsewhere = topology.workdir.join("plain").display().to_string();
    refuses(
        &topology,
        &good.replace(&pins, &elsewhere),
        &["is not on a bpf file system", "help: mount -t bpf"],
    );
    assert!(topology.attached().unwrap().is_empty());
}

#[test]
fn an_agent_without_root_says_so() {
    let topology = Topology::new(1, 1).unwrap();
    let text = config::text(&topology, &Settings::default());
    let file = topology.workdir.write("refused.toml", &text).unwrap();
    let (code, said) = refusal_without_root(&topology, &file).unwrap();
    assert_refused(code, &said, &["root"]);
    assert!(topology.attached().unwrap().is_empty());
}

#[test]
fn a_second_agent_is_refused_and_the_first_is_undisturbed() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let load = stage.load(6, true).unwrap();
    let before = stage.agent().deployment().unwrap();
    // The same file, and one that shares nothing but the interfaces and the VIPs.
    let apart = Settings { suffix: "-second".into(), ..Settings::default() };
    for settings in [Settings::default(), apart] {
        let text = config::text(&stage.topology, &settings);
        refuses(&stage.topology, &text, &["another"]);
    }
    assert!(!stage.topology.workdir.bpffs().join("bluegreen-second").exists());
    let after = stage.agent().deployment().unwrap();
    assert_eq!(after.generation, before.generation);
    stage.agent().flip(Environment::Green).unwrap();
    let new = stage.load(6, false).unwrap();
    assert_eq!(new.tally().open(Environment::Green), 6);
    for load in [load, new] {
        load.order(|orders| orders.speak = true);
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
}
