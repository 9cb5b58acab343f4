//! What a good file says.

use std::time::Duration;

use super::*;

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
fn no_pins_are_allowed() {
    assert_eq!(read(&with("pins = 1024", "pins = 0")).unwrap().limits.pins, 0);
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
fn short_interval_shortens_the_default_timeout() {
    let (text, _) = with_line(HEALTH, "interval = \"100ms\"");
    let health = read(&text).unwrap().deployments["shop"].services["web"].health.clone();
    assert_eq!(health.timeout, Duration::from_millis(100));
}

#[test]
fn one_empty_environment_is_allowed_and_two_are_not() {
    read(&with("green = [\"10.0.2.1:8080\"]", "green = []")).unwrap();
    let text = with("green = [\"10.0.2.1:8080\"]", "green = []")
        .replace("blue = [\"10.0.1.1:8080\", \"10.0.1.2:8080\"]", "blue = []");
    one(&text, 13, "no backend in either environment", "at least one");
}
