//! Whose bpffs the pins are on: an agent in a mount namespace of its own may pin on the host's, and is
//! refused on any other, since all traffic would end with that namespace.

use bg_tests::lab::agent::refusal_within;
use bg_tests::lab::config::{self, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::Topology;
use std::path::Path;

/// Starts an agent by this shell command, with its pins under `pins`, and checks that it refuses, naming
/// every one of `words`, and leaves the node as it was.
fn refuses(topology: &Topology, shell: &str, pins: &Path, words: &[&str]) {
    let good = config::text(topology, &Settings::default());
    let text = good.replace(&topology.workdir.bpffs().display().to_string(), &pins.display().to_string());
    let file = topology.workdir.write("refused.toml", &text).unwrap();
    let (code, said) = refusal_within(topology, shell, &file).unwrap();
    assert_eq!(code, 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert!(topology.attached().unwrap().is_empty(), "{said}");
    assert!(!pins.join("bluegreen").exists());
}

#[test]
fn a_bpffs_of_ip_netns_exec_is_refused() {
    let topology = Topology::new(1, 1).unwrap();
    let node = topology.node.name();
    let pins = Path::new("/sys/fs/bpf");
    // It mounts a new /sys, in which no bpffs is mounted yet.
    let bare = format!("exec ip netns exec {node} \"$@\"");
    refuses(&topology, &bare, pins, &["is not on a bpf file system"]);
    let mounted = format!(
        "exec ip netns exec {node} sh -c 'mount -t bpf bpf {} && exec \"$@\"' sh \"$@\"",
        pins.display()
    );
    refuses(&topology, &mounted, pins, &["process 1 does not have", "help: ", "nsenter --net="]);
}

#[test]
fn a_bpffs_of_a_private_mount_namespace_is_refused() {
    let topology = Topology::new(1, 1).unwrap();
    let pins = topology.workdir.join("private");
    std::fs::create_dir(&pins).unwrap();
    let shell =
        format!("exec unshare -m sh -c 'mount -t bpf bpf {} && exec \"$@\"' sh \"$@\"", pins.display());
    refuses(&topology, &shell, &pins, &["process 1 does not have", "pin_dir", "nsenter --net="]);
}

#[test]
fn the_hosts_bpffs_that_is_hidden_is_named() {
    let topology = Topology::new(1, 1).unwrap();
    let pins = topology.workdir.bpffs();
    let place = pins.display();
    let shell = format!("exec unshare -m sh -c 'umount {place} && exec \"$@\"' sh \"$@\"");
    let expected = format!("process 1 has one on {place}");
    refuses(&topology, &shell, &pins, &[&expected, "ip netns exec", "nsenter --net="]);
}

#[test]
fn pins_made_on_the_hosts_bpffs_from_a_private_mount_namespace_stay() {
    // As a service manager starts it that gives each service mounts of its own.
    let mut stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let load = stage.load(6, true).unwrap();
    stage.kill_agent().unwrap();
    let before = stage.topology.programs().unwrap();
    stage.topology.disown_program().unwrap();
    stage.start_agent_within("exec unshare -m \"$@\"").unwrap();
    assert_ne!(stage.topology.programs().unwrap(), before);
    stage.kill_agent().unwrap();
    assert_eq!(stage.topology.attached().unwrap(), stage.topology.interfaces());
    let new = stage.load(6, false).unwrap();
    stage.start_agent().unwrap();
    for load in [load, new] {
        load.order(|orders| orders.speak = true);
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures());
    }
}
