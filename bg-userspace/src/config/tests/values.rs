//! Values out of bounds, section by section, and what is advised instead.

use super::*;

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
    refused("node", "tunnel_source = \"2001:db8::/32\"", "no prefix of IPv4", "172.16.0.0/16");
    refused("node", "tunnel_source6 = \"10.0.0.0/8\"", "no prefix of IPv6", "100::/64");
    refused("node", "tunnel_source = \"224.0.0.0/8\"", "no host sends", "nobody else uses");
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
fn bad_service_values_are_refused() {
    refused(WEB, "protocol = \"quic\"", "not supported", "\"tcp\", \"udp\"");
    refused(WEB, "protocol = \"udp\"", "on which TCP port", "add `port`");
    refused(WEB, "affinity = \"none\"", "stays with its backend", "protocol = \"udp\"");
    refused(WEB, "mode = \"tunnel\"", "not supported", "\"nat\", \"dsr\", \"ipip\"");
    refused(WEB, "other_ports = \"pass\"", "not supported", "\"kernel\", \"drop\"");
    refused(WEB, "idle_timeout = \"0s\"", "out of bounds", "from 1s");
    refused(WEB, "idle_timeout = \"soon\"", "no duration", "\"10s\"");
    refused(DRAIN, "deadline = \"0s\"", "out of bounds", "");
    one(&with("0.5", "1.01"), 11, "is 1.01, which is no share", "0.0");
    one(&with("0.5", "nan"), 11, "no share", "0.0");
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
