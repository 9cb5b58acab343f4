//! Values that are good by themselves, and do not go together.

use super::*;

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

/// The base in another mode, its VIP on the backends' port.
fn in_mode(mode: &str, port: u16) -> String {
    with("203.0.113.10:443\"", &format!("203.0.113.10:{port}\"\nmode = \"{mode}\""))
}

#[test]
fn backends_that_have_the_vip_have_its_port() {
    for mode in ["dsr", "ipip"] {
        read(&in_mode(mode, 8080)).unwrap();
        let problems = problems(&in_mode(mode, 443));
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.what.contains("ports stay as they are")));
        assert!(problems[0].help.contains("the VIP's port, 443"), "{}", problems[0].help);
    }
    read(&in_mode("nat", 443)).unwrap();
}

#[test]
fn within_ipv6_both_families_travel() {
    let v6_backend = in_mode("ipip", 8080).replace("10.0.2.1:8080", "[2001:db8:2::1]:8080");
    let config = read(&v6_backend).unwrap();
    assert!(config.has_ipv4() && config.has_ipv6());
    one(&in_mode("dsr", 8080).replace("10.0.2.1:8080", "[2001:db8:2::1]:8080"), 17, "an IPv6 backend", "");
    let v6_vip = in_mode("ipip", 8080).replace("203.0.113.10:8080", "[2001:db8::10]:8080");
    assert_eq!(problems(&v6_vip).len(), 3, "IPv6 does not travel within IPv4");
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
fn an_endpoint_is_shared_by_services_that_say_so() {
    let text = second_service("203.0.113.10:8443", "10.0.2.1:8080");
    let shares = text.replacen("green = []\n", "green = []\nshared_endpoints = true\n", 1);
    let config = read(&shares).unwrap();
    assert!(config.deployments["pay"].services["api"].shared_endpoints);
    assert!(!config.deployments["shop"].services["web"].shared_endpoints);
    assert!(problems(&text)[0].help.contains("shared_endpoints = true in [deployments.shop.services.web]"));
}

#[test]
fn few_services_share_an_endpoint() {
    let more = |name: &str, port: u16| {
        format!(
            "[deployments.pay.services.{name}]\nvip = \"203.0.113.10:{port}\"\nblue = [\"10.0.2.1:8080\"]\n\
             green = []\nshared_endpoints = true\n"
        )
    };
    let three = [("a", 1001), ("b", 1002), ("c", 1003)].map(|(name, port)| more(name, port)).concat();
    read(&format!("{BASE}{three}")).unwrap();
    let text = format!("{BASE}{three}{}", more("d", 1004));
    one(&text, 16, "10.0.2.1:8080, which", "4 at most");
    let text = format!("{BASE}{three}").replacen(
        "green = [\"10",
        "preview = \"203.0.113.10:1005\"\ngreen = [\"10",
        1,
    );
    one(&text, 17, "10.0.2.1:8080, which", "4 at most, previews included");
}

#[test]
fn previews_have_addresses_of_their_own() {
    let (text, line) = with_line(WEB, "preview = \"203.0.113.10:8443\"");
    let config = read(&text).unwrap();
    let preview = config.deployments["shop"].services["web"].preview;
    assert_eq!(preview, Some("203.0.113.10:8443".parse().unwrap()));
    one(&text.replace(":8443", ":443"), line, "`deployments.shop.services.web.preview` is 203", "of its own");
    let (text, line) = with_line(WEB, "preview = \"[2001:db8::10]:443\"");
    one(&text, line, "and the VIP is 203.0.113.10:443", "an IPv4 address");
    let (text, line) = with_line(WEB, "preview = \"10.0.1.1:443\"");
    let problems = problems(&text);
    assert_eq!(problems[0].line, line + 2, "{problems:?}");
    assert!(problems[0].what.contains("10.0.1.1 is the VIP"), "{problems:?}");
}

#[test]
fn testers_are_prefixes() {
    let text = format!("{BASE}\n[deployments.shop]\ntesters = [\"192.0.2.0/28\", \"2001:db8::7\"]\n");
    let config = read(&text).unwrap();
    let testers: Vec<_> = config.deployments["shop"].testers.iter().map(ToString::to_string).collect();
    assert_eq!(testers, ["192.0.2.0/28", "2001:db8::7/128"]);
    let text = text.replace("192.0.2.0/28", "192.0.2.7/28");
    assert!(problems(&text)[0].what.contains("bits set behind its length"), "{:?}", problems(&text));
}

#[test]
fn rings_for_the_idle_environment_need_room() {
    let (text, _) = with_line("limits", "ring_entries = 12288");
    read(&text).unwrap();
    let tested = format!("{text}\n[deployments.shop]\ntesters = [\"192.0.2.7\"]\n");
    assert!(problems(&tested)[0].help.contains("ring_entries = 24576"), "{:?}", problems(&tested));
    let previewed = text.replacen("vip = ", "preview = \"203.0.113.10:8443\"\nvip = ", 1);
    assert!(problems(&previewed)[0].help.contains("ring_entries = 24576"), "{:?}", problems(&previewed));
}
