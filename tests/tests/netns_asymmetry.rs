//! A backend whose replies go to the clients by a way of their own, past the node: the fault is built for
//! real, named by `status`, and refuses the next step of a flip until it is mended.

use bg_tests::lab::config::{DEPLOYMENT, STREAM, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::{FAR_END, Topology};
use bg_userspace::api::types::DeploymentStatus;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The second path's interface, at both of its ends.
const PATH: &str = "past0";
/// The place of `green-1` among the backends of a stage with two in each environment.
const GREEN_1: usize = 2;

/// Gives a backend a cable to the client, and a route that prefers it. Its health checks go on: they come
/// from the node, and are answered there.
fn build_second_path(topology: &Topology, backend: usize) {
    let backend = &topology.backends[backend];
    let (far, near) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 1));
    let link = ["link", "add", PATH, "type", "veth", "peer", "name", PATH, "netns", topology.client.name()];
    backend.namespace.ip(&link).unwrap();
    for (end, address) in [(&backend.namespace, far), (&topology.client, near)] {
        end.ip(&["addr", "add", &format!("{address}/24"), "dev", PATH]).unwrap();
        end.ip(&["link", "set", PATH, "up"]).unwrap();
        end.sysctl("net/ipv4/conf/all/rp_filter", "0").unwrap();
        end.sysctl(&format!("net/ipv4/conf/{PATH}/rp_filter"), "0").unwrap();
    }
    backend.namespace.sysctl(&format!("net/ipv4/conf/{FAR_END}/rp_filter"), "0").unwrap();
    let near = near.to_string();
    backend.namespace.ip(&["route", "add", "198.51.100.0/24", "via", &near, "dev", PATH]).unwrap();
}

/// Opens connections, one after the other, and counts those that come about.
fn opened(stage: &Stage, attempts: u32) -> u32 {
    let attempt = || TcpStream::connect_timeout(&STREAM.into(), Duration::from_millis(150)).is_ok();
    let attempts = || (0..attempts).map(|_| u32::from(attempt())).sum();
    stage.topology.client.inside(attempts).unwrap()
}

fn warns_of(deployment: &DeploymentStatus, address: &str) -> bool {
    let warnings = &deployment.warnings;
    warnings.iter().any(|text| text.contains(address) && text.contains("its replies do not pass this node"))
}

#[test]
fn a_backend_whose_replies_bypass_the_node_is_named_and_fails_the_gate() {
    let stage = Stage::new(2, 2, &Settings::default()).unwrap();
    let agent = stage.agent();
    let address = stage.topology.backends[GREEN_1].address.to_string();
    let old = stage.load(6, false).unwrap();
    build_second_path(&stage.topology, GREEN_1);
    let flip = |share: &str| {
        let arguments = ["flip", DEPLOYMENT, "--to", "green", "--share", share, "--force", "syn-memory"];
        agent.bgctl(&arguments).unwrap()
    };

    // Nothing was sent there yet, so that nobody can know.
    let reply = flip("50");
    assert_eq!(reply.code, 0, "{reply:?}");
    let came_about = opened(&stage, 160);
    assert!(came_about < 150, "{came_about} of 160 opened: the fault is not there");
    agent.wait_for("the backend to be named", |deployment| warns_of(deployment, &address)).unwrap();
    let deployment = agent.deployment().unwrap();
    let named = deployment.warnings.iter().filter(|text| text.contains("do not pass")).count();
    assert_eq!(named, 1, "others are accused: {:?}", deployment.warnings);
    let member = deployment.environments.iter().flat_map(|one| &one.members);
    let healthy = member.filter(|member| member.health == "healthy").count();
    assert_eq!(healthy, 4, "its checks must not tell: {deployment:?}");

    let reply = flip("100");
    assert_eq!(reply.code, 3, "{reply:?}");
    assert_eq!(reply.json["error"]["guard"], "return-path", "{reply:?}");
    let message = reply.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&address), "{message}");
    assert_eq!(agent.deployment().unwrap().generation, deployment.generation);

    // Mended, it proves itself by its next answer.
    stage.topology.backends[GREEN_1].namespace.ip(&["link", "del", PATH]).unwrap();
    agent
        .wait_for("the backend to prove itself", |deployment| {
            opened(&stage, 10);
            !warns_of(deployment, &address)
        })
        .unwrap();
    let reply = flip("100");
    assert_eq!(reply.code, 0, "{reply:?}");
    assert_eq!(opened(&stage, 20), 20);
    old.order(|orders| orders.speak = true);
    let tally = old.stop().unwrap();
    assert_eq!((tally.failed(), tally.fates().kept), (0, 6), "{:?}", tally.failures());
}
