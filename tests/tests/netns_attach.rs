//! How the program is attached: in the driver, or on all interfaces in the kernel's generic path; and what
//! interfaces do to frames before the program sees them, built for real.

use bg_common::reason::Reason;
use bg_tests::lab::agent::{Agent, refusal};
use bg_tests::lab::config::{self, STREAM, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::{CLIENTS, FAR_END, Topology};
use bg_tests::lab::witness::Resets;
use bg_tests::lab::{Environment, namespace::Namespace, process, tables, tag, talk};
use bg_userspace::api::types::Status;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn settings(mode: &str) -> Settings {
    Settings { xdp_mode: mode.to_owned(), ..Settings::default() }
}

/// Starts an agent with this text as its file, which has to refuse it in these words.
fn refuses(topology: &Topology, text: &str, words: &[&str]) {
    let before = topology.attached().unwrap();
    let file = topology.workdir.write("refused.toml", text).unwrap();
    let (code, said) = refusal(topology, &file).unwrap();
    assert!(code > 0, "exit code {code}: {said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert_eq!(topology.attached().unwrap(), before, "{said}");
}

fn ethtool(namespace: &Namespace, interface: &str, feature: &str, value: &str) {
    process::run("ethtool", &["-K", interface, feature, value], Some(namespace)).unwrap();
}

/// The one warning that holds `words`.
fn warning<'a>(status: &'a Status, words: &str) -> Option<&'a str> {
    let mut found = status.warnings.iter().filter(|warning| warning.contains(words));
    let first = found.next();
    assert!(found.next().is_none(), "said twice: {:?}", status.warnings);
    first.map(String::as_str)
}

/// Whether the kernel says that all interfaces carry the program in this mode, and the agent too.
fn assert_mode(stage: &Stage, mode: &str) {
    let status = stage.agent().status().unwrap();
    let modes: Vec<_> = status.interfaces.iter().map(|it| (it.name.clone(), it.mode.clone())).collect();
    let interfaces = stage.topology.interfaces().into_iter();
    assert_eq!(modes, interfaces.map(|name| (name, mode.to_owned())).collect::<Vec<_>>());
    let shown = if mode == "native" { " xdp " } else { " xdpgeneric " };
    for interface in stage.topology.interfaces() {
        let line = stage.topology.node.ip(&["-oneline", "link", "show", &interface]).unwrap();
        assert!(line.contains(shown), "no {shown:?} in: {line}");
    }
}

/// Long turns of several connections, blue before a switch and green after it; returns bytes for a packet, on
/// average, as the client sent them.
fn bulk_through_a_switch(stage: &Stage) -> u64 {
    let open = || talk::open(stage, CLIENTS[0].into(), STREAM.into(), 4).unwrap();
    let before = sent(&stage.topology.client);
    let mut old = open();
    let turns = |talks: &mut [talk::Talk], name: &str| {
        for _ in 0..20 {
            for talk in talks.iter_mut() {
                assert!(talk.name().starts_with(name), "{}", talk.name());
                talk.long_turn().unwrap();
            }
        }
    };
    turns(&mut old, "blue");
    stage.agent().flip(Environment::Green).unwrap();
    let mut new = open();
    turns(&mut old, "blue");
    turns(&mut new, "green");
    let after = sent(&stage.topology.client);
    (after.0 - before.0) / (after.1 - before.1)
}

/// Bytes and packets that a namespace has sent.
fn sent(namespace: &Namespace) -> (u64, u64) {
    let text = namespace.ip(&["-json", "-statistics", "link", "show", FAR_END]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tx = &links[0]["stats64"]["tx"];
    (tx["bytes"].as_u64().unwrap(), tx["packets"].as_u64().unwrap())
}

#[test]
fn where_a_driver_has_no_xdp_all_interfaces_get_generic_mode_and_the_cost_is_told() {
    let topology = Topology::new(2, 2).unwrap();
    topology.cover_client_port().unwrap();
    let strict = config::text(&topology, &settings("native"));
    refuses(&topology, &strict, &["attaching to `c0` in native mode", "xdp_mode = \"auto\""]);

    let mut stage = Stage::on(topology, &settings("auto")).unwrap();
    assert_mode(&stage, "generic");
    let words = "generic mode, on all interfaces, because `c0` refused native mode: its driver has no XDP";
    let status = stage.agent().status().unwrap();
    let told = warning(&status, words).unwrap_or_else(|| panic!("{:?}", status.warnings));
    assert!(told.contains("a socket buffer of every packet"), "{told}");
    assert!(stage.agent().log().contains(words), "{}", stage.agent().log());

    let before = Resets::at_the_ends(&stage.topology).unwrap();
    let old = stage.load(8, true).unwrap();
    stage.agent().flip(Environment::Green).unwrap();
    let new = stage.load(8, false).unwrap();
    assert_eq!(new.tally().open(Environment::Green), 8);

    // The next agent keeps the mode, and says so; another one does not get it from it.
    stage.stop_agent().unwrap();
    refuses(
        &stage.topology,
        &strict,
        &["`xdp_mode` is native, but `c0` carries the program in generic mode"],
    );
    stage.start_agent().unwrap();
    assert_mode(&stage, "generic");
    let status = stage.agent().status().unwrap();
    assert!(warning(&status, "as it was attached before").is_some(), "{:?}", status.warnings);
    stage.assert_kept([old, new], before);
}

#[test]
fn where_every_driver_has_xdp_auto_is_native_and_nothing_is_warned_of() {
    let mut stage = Stage::new(1, 1, &settings("auto")).unwrap();
    assert_mode(&stage, "native");
    assert!(stage.agent().status().unwrap().warnings.is_empty());

    // An interface that comes later, to which the others could send nothing.
    stage.stop_agent().unwrap();
    let node = &stage.topology.node;
    node.ip(&["link", "add", "link", "b1", "name", "m0", "type", "macvlan"]).unwrap();
    node.ip(&["link", "set", "m0", "up"]).unwrap();
    let text = config::text(&stage.topology, &settings("auto")).replace("\"c0\"", "\"c0\", \"m0\"");
    refuses(&stage.topology, &text, &["attaching to `m0` in native mode", "the other interfaces carry"]);
    stage.start_agent().unwrap();
    assert_mode(&stage, "native");
}

#[test]
fn a_driver_that_refuses_for_its_queues_is_told_apart() {
    let topology = Topology::new(1, 1).unwrap();
    let node = &topology.node;
    let far = ["peer", "name", "q1", "numtxqueues", "2", "netns", topology.client.name()];
    let near = ["link", "add", "q0", "numrxqueues", "1", "type", "veth"];
    node.ip(&[&near[..], &far].concat()).unwrap();
    process::run("ethtool", &["-L", "q1", "tx", "2"], Some(&topology.client)).unwrap();
    node.ip(&["link", "set", "q0", "up"]).unwrap();
    ethtool(node, "q0", "rxvlan", "off");
    ethtool(node, "q0", "rx-vlan-stag-hw-parse", "off");
    let text = config::text(&topology, &settings("auto")).replace("\"c0\"", "\"c0\", \"q0\"");
    let file = topology.workdir.write("queues.toml", &text).unwrap();
    let agent = Agent::start(&topology, &file, &topology.workdir.join("bgd.sock")).unwrap();
    let status = agent.status().unwrap();
    let told = warning(&status, "`q0` refused native mode: it has fewer receive queues");
    assert!(told.is_some(), "{:?}", status.warnings);
}

#[test]
fn merging_below_an_interface_in_generic_mode_is_refused_and_what_it_breaks_is_counted() {
    let topology = Topology::new(1, 1).unwrap();
    topology.cover_client_port().unwrap();
    ethtool(&topology.node, "under", "gro", "on");
    for mode in ["auto", "generic"] {
        let text = config::text(&topology, &settings(mode));
        refuses(&topology, &text, &["`c0` gets merged packets (GRO)", "help: `ethtool -K under gro off`"]);
    }
    ethtool(&topology.node, "under", "gro", "off");
    let stage = Stage::on(topology, &settings("auto")).unwrap();
    assert_mode(&stage, "generic");
    bulk_through_a_switch(&stage);
    let told = || tables::ended(&stage.topology, Reason::FragmentationNeeded).unwrap();
    assert_eq!(told(), 0);

    // The fault itself: packets that the client never sent so large.
    ethtool(&stage.topology.node, "under", "gro", "on");
    let mut talk = talk::open(&stage, CLIENTS[1].into(), STREAM.into(), 1).unwrap();
    let _broken_or_slow = talk[0].long_turn();
    assert!(told() > 0, "nothing was merged");
}

#[test]
fn merging_by_the_interface_itself_ends_where_generic_mode_begins() {
    let topology = Topology::new(1, 1).unwrap();
    for interface in topology.interfaces() {
        ethtool(&topology.node, &interface, "gro", "on");
    }
    let stage = Stage::on(topology, &settings("generic")).unwrap();
    assert_mode(&stage, "generic");
    assert!(stage.agent().status().unwrap().warnings.is_empty());
    assert!(bulk_through_a_switch(&stage) > 1000, "the packets were small");
    assert_eq!(tables::ended(&stage.topology, Reason::FragmentationNeeded).unwrap(), 0);
}

#[test]
fn jumbo_frames_go_both_ways_through_a_switch() {
    for mode in ["native", "generic"] {
        let topology = Topology::new(2, 2).unwrap();
        topology.set_mtu(9000).unwrap();
        let stage = Stage::on(topology, &settings(mode)).unwrap();
        assert_mode(&stage, mode);
        let average = bulk_through_a_switch(&stage);
        assert!(average > 4000, "{average} bytes in a packet");
    }
}

#[test]
fn vlan_tags_that_are_taken_off_are_warned_of_and_lost_and_kept_where_they_are_not() {
    let topology = Topology::new(1, 1).unwrap();
    ethtool(&topology.node, "c0", "rxvlan", "on");
    ethtool(&topology.client, FAR_END, "txvlan", "on");
    let mut stage = Stage::on(topology, &settings("native")).unwrap();
    let status = stage.agent().status().unwrap();
    let told = warning(&status, "`c0` takes VLAN tags off").unwrap_or_else(|| panic!("{status:?}"));
    assert!(told.contains("`ethtool -K c0 rxvlan off`"), "{told}");

    // The kernel of the node would not take an answer with a tag to its question for an address.
    let mac = |namespace: &Namespace, interface| {
        let text = namespace.ip(&["-json", "link", "show", interface]).unwrap();
        let links: serde_json::Value = serde_json::from_str(&text).unwrap();
        links[0]["address"].as_str().unwrap().to_owned()
    };
    let Topology { client, node, .. } = &stage.topology;
    let acquaint = |namespace: &Namespace, interface, address: &str, mac: &str| {
        let known = ["neigh", "replace", address, "lladdr", mac, "dev", interface, "nud", "permanent"];
        namespace.ip(&known).unwrap();
    };
    acquaint(node, "c0", &CLIENTS[0].to_string(), &mac(client, FAR_END));
    acquaint(client, FAR_END, "198.51.100.1", &mac(node, "c0"));
    let _tags = tag::tag(client, FAR_END).unwrap();
    let opens = || {
        let address = SocketAddr::from(STREAM);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok();
        client.inside(connect).unwrap()
    };
    let kept = || tables::forwarded(&stage.topology, "stream").unwrap();
    // A frame of VLAN 7 reaches a backend that is in no VLAN: its tag is gone.
    assert!(opens(), "no frame with its tag beside it came through");
    // With its tag in it, it keeps it, and a backend outside of that VLAN does not take it.
    ethtool(client, FAR_END, "txvlan", "off");
    let before = kept();
    assert!(!opens(), "a backend in no VLAN took a frame of one");
    assert!(kept() > before, "the program did not forward the frame");

    stage.stop_agent().unwrap();
    ethtool(&stage.topology.node, "c0", "rxvlan", "off");
    stage.start_agent().unwrap();
    let status = stage.agent().status().unwrap();
    assert!(warning(&status, "VLAN").is_none(), "{:?}", status.warnings);
}
