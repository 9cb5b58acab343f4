//! The whole way from a text to a configuration or to its problems. Each case is a valid file with
//! one thing changed.

use std::{path::Path, time::Duration};

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

#[test]
fn example_is_valid_and_names_every_default() {
    let config = read(Config::example()).unwrap_or_else(|error| panic!("{error}"));
    let shop = &config.deployments["shop"];
    assert_eq!(shop.drain.deadline, Some(Duration::from_mins(30)));
    let defaults = read(BASE).unwrap();
    assert_eq!(config.limits, Limits { pins: 1 << 20, ..defaults.limits });
    assert_eq!(config.node.syn_lifetime, defaults.node.syn_lifetime);
    assert_eq!(config.node.pin_dir, defaults.node.pin_dir);
    assert_eq!(config.node.state_dir, defaults.node.state_dir);
    assert_eq!(config.node.socket, defaults.node.socket);
    assert_eq!(config.node.vip_interface, defaults.node.vip_interface);
    let (web, default) = (&shop.services["web"], &defaults.deployments["shop"].services["web"]);
    assert_eq!(web.ring_size, default.ring_size);
    assert_eq!(web.idle_timeout, default.idle_timeout);
    assert_eq!(web.other_ports, default.other_ports);
    assert_eq!(web.health.interval, default.health.interval);
    assert_eq!(web.health.timeout, default.health.timeout);
    assert_eq!((web.health.rise, web.health.fall), (default.health.rise, default.health.fall));
}

#[test]
fn values_arrive_as_written() {
    let config = read(Config::example()).unwrap();
    assert_eq!(config.node.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.node.exclude[0].to_string(), "10.9.0.0/16");
    assert_eq!(config.limits.syn_memory, 8 << 20);
    let web = &config.deployments["shop"].services["web"];
    assert_eq!(web.vip, "203.0.113.10:443".parse().unwrap());
    let full = Backend { address: "10.0.2.1:8080".parse().unwrap(), weight: DEFAULT_WEIGHT };
    let half = Backend { address: "10.0.2.2:8080".parse().unwrap(), weight: 50 };
    assert_eq!(web.green, [full, half]);
    let web6 = &config.deployments["shop"].services["web6"];
    assert_eq!(web6.vip, "[2001:db8::10]:443".parse().unwrap());
    assert_eq!(web6.blue[0].address, "[2001:db8:1::1]:8080".parse().unwrap());
    assert!(config.has_ipv6() && !read(BASE).unwrap().has_ipv6());
    let expected = HealthKind::Http {
        paths: vec!["/health".to_owned(), "/ready".to_owned()],
        expect: Some(200),
        host: Some("shop.example".to_owned()),
    };
    assert_eq!(web.health.kind, expected);
    assert_eq!(web.health.port, Some(8080));
}

#[test]
fn service_without_a_health_section_is_checked_by_connecting() {
    let text = with("[deployments.shop.services.web.health]\nkind = \"http\"\npaths = [\"/health\"]\n", "");
    let config = read(&text).unwrap();
    assert_eq!(config.deployments["shop"].services["web"].health, Health::default());
}

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
fn bad_node_values_are_refused() {
    refused("node", "xdp_mode = \"natve\"", "not supported", "\"native\"?");
    refused("node", "pin_dir = \"bluegreen\"", "not an absolute path", "/sys/fs/bpf/bluegreen");
    refused("node", "state_dir = \"bluegreen\"", "not an absolute path", "/var/lib/bluegreen");
    refused("node", "socket = \"bgd.sock\"", "not an absolute path", "/run/bluegreen/bgd.sock");
    let long = format!("socket = \"/{}\"", "x".repeat(107));
    refused("node", &long, "longer than the kernel takes", "107");
    refused("node", "vip_interface = \"this-name-is-too-long\"", "interface's name", "15");
    refused("node", "exclude = [\"10.9.0.0/33\"]", "no prefix", "10.9.0.0/16");
    refused("node", "exclude = [\"2001:db8::/129\"]", "no prefix", "or 128 for IPv6");
    refused("node", "exclude = [\"2001:db8::1/32\"]", "bits set behind", "\"2001:db8::/32\"");
    refused("node", "exclude = [\"::/0\"]", "stands for IPv4 addresses too", "2000::/3");
    refused("node", "exclude = [\"::ffff:10.0.0.0/104\"]", "stands for IPv4 addresses too", "");
    refused("node", "exclude = [\"10.9.1.0/16\"]", "bits set behind", "\"10.9.0.0/16\"");
    refused("node", "syn_lifetime = \"10ms\"", "out of bounds", "from 1s");
    refused("node", "syn_lifetime = \"1500ms\"", "is 1s 500ms, with a fraction", "whole seconds");
    let text = with("[\"eth0\"]", "[\"eth0\", \"eth0\"]");
    one(&text, 2, "`node.interfaces[1]` is \"eth0\" again", "once");
}

#[test]
fn bad_limits_are_refused() {
    one(&with("pins = 1024", "pins = 16777217"), 5, "out of bounds", "0 to 16777216");
    one(&with("pins = 1024", "pins = -1"), 5, "is -1", "0 to 16777216");
    refused("limits", "census = 1023", "out of bounds", "1024 to 16777216");
    refused("limits", "deployments = 0", "out of bounds", "from 1");
    refused("limits", "syn_memory = \"3MiB\"", "no power of two", "8MiB");
    refused("limits", "syn_memory = \"128MiB\"", "out of bounds", "64MiB");
    refused("limits", "syn_memory = \"8MB\"", "no size", "MiB");
    refused("limits", "syn_memory = \"MiB\"", "no size", "MiB");
    refused("limits", "syn_memory = 8", "must be a string", "quotes");
    refused("limits", "syn_memory = \"99999999999GiB\"", "no size", "MiB");
    refused("limits", "backends = 2", "but 3 are configured", "backends = 3");
    refused("limits", "ring_entries = 12287", "but 12288 are needed", "ring_entries = 12288");
}

#[test]
fn no_pins_are_allowed() {
    assert_eq!(read(&with("pins = 1024", "pins = 0")).unwrap().limits.pins, 0);
}

#[test]
fn bad_addresses_are_refused() {
    let vip = |address: &str, what, help| {
        one(&with("203.0.113.10:443", address), 14, what, help);
    };
    vip("203.0.113.10", "no address:port", "\"203.0.113.10:8080\"");
    vip("shop.example:443", "no address:port", "names are not looked up");
    vip("203.0.113.10:0", "port 0", "from 1");
    vip("203.0.113.10:70000", "no address:port", "");
    vip("0.0.0.0:443", "unspecified", "");
    vip("127.0.0.1:443", "loopback", "");
    vip("224.0.0.1:443", "multicast", "");
    vip("255.255.255.255:443", "broadcast", "");
    vip("2001:db8::1", "no address:port", "\"[2001:db8::1]:8080\"");
    vip("[2001:db8::1]", "no address:port", "\"[2001:db8::1]:8080\"");
    vip("[2001:db8::1]:0", "port 0", "from 1");
    vip("[::]:443", "unspecified", "");
    vip("[::1]:443", "loopback", "");
    vip("[ff02::1]:443", "multicast", "");
    vip("[fe80::1]:443", "link-local", "");
    vip("[2001:db8::1%2]:443", "zone", "");
    vip("[::ffff:203.0.113.10]:443", "form of an IPv6 one", "write \"203.0.113.10:443\"");
    vip("[::203.0.113.10]:443", "reserved", "");
    let text = with("\"10.0.1.2:8080\"", "\n  \"127.0.0.1:8080\",\n");
    one(&text, 16, "`deployments.shop.services.web.blue[1]` is 127.0.0.1:8080, a loopback", "");
}

#[test]
fn prefixes_of_both_families_are_read() {
    let all = ["10.9.0.0/16", "0.0.0.0/0", "192.0.2.1", "2001:db8::/32", "2000::/3", "2001:db8::7"];
    let quoted: Vec<_> = all.iter().map(|prefix| format!("\"{prefix}\"")).collect();
    let (text, _) = with_line("node", &format!("exclude = [{}]", quoted.join(", ")));
    let read: Vec<_> = read(&text).unwrap().node.exclude.iter().map(ToString::to_string).collect();
    let expected =
        ["10.9.0.0/16", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "2000::/3", "2001:db8::7/128"];
    assert_eq!(read, expected);
}

#[test]
fn families_are_not_mixed_in_a_service() {
    let mixed =
        "`deployments.shop.services.web.green` has [2001:db8:2::1]:8080, an IPv6 backend behind an IPv4 VIP";
    one(&with("10.0.2.1:8080", "[2001:db8:2::1]:8080"), 16, mixed, "IPv4 address");
    let text = with("203.0.113.10:443", "[2001:db8::10]:443");
    let problems = problems(&text);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.what.contains("an IPv4 backend behind an IPv6 VIP")));
}

#[test]
fn backend_may_have_a_weight() {
    let green = |backend: &str| with("\"10.0.2.1:8080\"", backend);
    let weight = |text: &str| read(text).unwrap().deployments["shop"].services["web"].green[0].weight;
    assert_eq!(weight(BASE), 100);
    assert_eq!(weight(&green("{ address = \"10.0.2.1:8080\" }")), 100);
    assert_eq!(weight(&green("{ address = \"10.0.2.1:8080\", weight = 1000 }")), 1000);
    let zero = "{ address = \"10.0.2.1:8080\", weight = 0 }, \"10.0.2.2:8080\"";
    assert_eq!(weight(&green(zero)), 0);
    let section = "[[deployments.shop.services.web.green]]\naddress = \"10.0.2.1:8080\"\nweight = 7\n";
    assert_eq!(weight(&(with("green = [\"10.0.2.1:8080\"]\n", "") + section)), 7);
}

#[test]
fn bad_backends_are_refused() {
    let green =
        |backend: &str, what: &str, help: &str| one(&with("\"10.0.2.1:8080\"", backend), 16, what, help);
    let place = "`deployments.shop.services.web.green[0]";
    green("8080", &format!("{place}` must be an address:port, not an integer"), "weight = 50");
    green("{ weight = 5 }", &format!("{place}.address` is missing"), "address =");
    green("{ address = \"10.0.2.1\" }", &format!("{place}.address` is \"10.0.2.1\""), ":8080");
    let with_weight = |weight: &str| format!("{{ address = \"10.0.2.1:8080\", weight = {weight} }}");
    green(&with_weight("1001"), &format!("{place}.weight` is 1001"), "0 to 1000");
    green(&with_weight("-1"), "out of bounds", "0 to 1000");
    green(&with_weight("\"50\""), "must be an integer", "");
    green(&with_weight("1, wieght = 2"), "unknown key `wieght`", "`weight`?");
    green(&with_weight("0"), "only backends of weight 0", "above 0");
}

#[test]
fn bad_service_values_are_refused() {
    refused(WEB, "protocol = \"udp\"", "not supported", "\"tcp\"");
    refused(WEB, "mode = \"dsr\"", "not supported", "\"nat\"");
    refused(WEB, "other_ports = \"pass\"", "not supported", "\"kernel\", \"drop\"");
    refused(WEB, "idle_timeout = \"0s\"", "out of bounds", "from 1s");
    refused(WEB, "idle_timeout = \"soon\"", "no duration", "\"10s\"");
    refused(DRAIN, "deadline = \"0s\"", "out of bounds", "");
    one(&with("0.5", "1.01"), 11, "is 1.01, which is no share", "0.0");
    one(&with("0.5", "nan"), 11, "no share", "0.0");
}

#[test]
fn ring_sizes_that_are_no_primes_or_too_small_are_refused_with_one_that_fits() {
    refused(WEB, "ring_size = 4096", "is 4096, which is no prime", "ring_size = 4099");
    refused(WEB, "ring_size = 4087", "no prime", "ring_size = 4091");
    refused(WEB, "ring_size = 199", "too small for an even spread over 2", "ring_size = 211");
    refused(WEB, "ring_size = 1", "out of bounds", "");
    let many: Vec<_> = (1..=41).map(|n| format!("\"10.0.3.{n}:80\"")).collect();
    let text = with("[\"10.0.2.1:8080\"]", &format!("[{}]", many.join(", ")));
    one(&text, 13, "is 4093 by default, too small", "ring_size = 4111");
    let (text, _) = with_line(WEB, "ring_size = 211");
    assert_eq!(read(&text).unwrap().deployments["shop"].services["web"].ring_size, 211);
}

#[test]
fn bad_health_values_are_refused() {
    refused(HEALTH, "interval = \"1ms\"", "out of bounds", "from 10ms");
    refused(HEALTH, "timeout = \"2s\"", "longer than the interval, 1s", "at most \"1s\"");
    refused(HEALTH, "rise = 0", "out of bounds", "1 to 100");
    refused(HEALTH, "fall = 101", "out of bounds", "1 to 100");
    refused(HEALTH, "port = 65536", "out of bounds", "1 to 65535");
    refused(HEALTH, "expect = 100", "out of bounds", "200 to 599");
    refused(HEALTH, "host = \"a b\"", "no host", "shop.example");
    one(&with("[\"/health\"]", "[]"), 20, "is empty", "/health");
    one(&with("[\"/health\"]", "[\"health\"]"), 20, "no path", "slash");
    one(&with("[\"/health\"]", "[\"/a b\"]"), 20, "no path", "%20");
    one(&with("[\"/health\"]", "[\"/a\\r\\nb\"]"), 20, "no path", "");
    one(&with("\"http\"", "\"htp\""), 19, "not supported", "\"http\"?");
    one(&with("\"http\"", "\"tcp\""), 20, "no meaning for a tcp check", "kind = \"http\"");
    one(&with("kind = \"http\"\n", ""), 19, "no meaning for a tcp check", "kind = \"http\"");
}

#[test]
fn short_interval_shortens_the_default_timeout() {
    let (text, _) = with_line(HEALTH, "interval = \"100ms\"");
    let health = read(&text).unwrap().deployments["shop"].services["web"].health.clone();
    assert_eq!(health.timeout, Duration::from_millis(100));
}

#[test]
fn names_are_short_and_plain() {
    for name in ["Shop", "-shop", "sh_op", "\"sh.op\"", "\"\"", &"x".repeat(32)] {
        let text = BASE.replace("deployments.shop", &format!("deployments.{name}"));
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{name}: {problems:#?}");
        assert!(problems[0].what.contains("cannot name a deployment"), "{problems:?}");
    }
    let name = "x".repeat(31);
    read(&BASE.replace("deployments.shop", &format!("deployments.{name}"))).unwrap();
}

fn second_service(vip: &str, backend: &str) -> String {
    format!("{BASE}\n[deployments.pay.services.api]\nvip = \"{vip}\"\nblue = [\"{backend}\"]\ngreen = []\n")
}

#[test]
fn second_service_is_fine_while_nothing_is_shared() {
    read(&second_service("203.0.113.10:8443", "10.0.1.1:9090")).unwrap();
}

#[test]
fn shared_endpoint_names_both_places() {
    let text = second_service("203.0.113.10:8443", "10.0.2.1:8080");
    // Names are read in their order: pay comes before shop.
    one(
        &text,
        16,
        "`deployments.shop.services.web.green` has 10.0.2.1:8080, which \
        `deployments.pay.services.api.blue` has already, on line 24",
        "one service",
    );
    one(&with("10.0.1.2", "10.0.1.1"), 15, "has already, on line 15", "");
    one(&with("10.0.2.1", "10.0.1.1"), 16, "web.blue` has already, on line 15", "");
}

#[test]
fn duplicate_vip_is_refused() {
    let text = second_service("203.0.113.10:443", "10.0.1.1:9090");
    one(&text, 14, "`deployments.pay.services.api` has already", "of its own");
}

#[test]
fn backend_on_a_vip_is_refused() {
    let text = second_service("203.0.113.11:443", "203.0.113.10:80");
    one(&text, 24, "203.0.113.10 is the VIP of `deployments.shop.services.web`", "own address");
}

#[test]
fn services_of_one_address_agree_about_other_ports() {
    let text = second_service("203.0.113.10:8443", "10.0.1.1:9090") + "other_ports = \"drop\"\n";
    assert!(problems(&text)[0].what.contains("other_ports` differs"), "{:?}", problems(&text));
    let text = second_service("203.0.113.11:8443", "10.0.1.1:9090") + "other_ports = \"drop\"\n";
    read(&text).unwrap();
}

#[test]
fn one_empty_environment_is_allowed_and_two_are_not() {
    read(&with("green = [\"10.0.2.1:8080\"]", "green = []")).unwrap();
    let text = with("green = [\"10.0.2.1:8080\"]", "green = []")
        .replace("blue = [\"10.0.1.1:8080\", \"10.0.1.2:8080\"]", "blue = []");
    one(&text, 13, "no backend in either environment", "at least one");
}

#[test]
fn deployment_without_services_is_refused() {
    let text = format!("{BASE}\n[deployments.pay.gate]\n");
    one(&text, 22, "deployment `pay` has no service", "[deployments.pay.services.NAME]");
}

#[test]
fn syn_memory_for_all_deployments_is_bounded() {
    let text = with("pins = 1024", "deployments = 33\nsyn_memory = \"64MiB\"");
    one(&text, 6, "makes 4224 MiB", "4 GiB");
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

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        drop(read(&text));
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        at in 0_usize..1000, length in 0_usize..40, new in "[\\[\\]{}\"'=.#\\n a-z0-9\u{e4}-]{0,12}",
    ) {
        let text = Config::example();
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + length).min(text.len()));
        let text = format!("{}{new}{}", &text[..start], &text[end..]);
        if let Err(error) = read(&text) {
            let lines = text.lines().count() + 1;
            proptest::prop_assert!(!error.problems().is_empty());
            proptest::prop_assert!(error.problems().iter().all(|p| (1..=lines).contains(&p.line)));
        }
    }

    #[test]
    fn next_prime_is_the_next_prime(number in 0_u32..200_000) {
        let prime = value::next_prime(number);
        proptest::prop_assert!(prime >= number && value::is_prime(prime));
        proptest::prop_assert!((number..prime).all(|n| !value::is_prime(n)));
    }

    #[test]
    fn durations_are_read_as_they_are_shown(millis in 1_u64..3_600_000) {
        let duration = Duration::from_millis(millis);
        let (text, _) = with_line(DRAIN, &format!("deadline = \"{}\"", humantime::format_duration(duration)));
        proptest::prop_assert_eq!(read(&text).unwrap().deployments["shop"].drain.deadline, Some(duration));
    }
}
