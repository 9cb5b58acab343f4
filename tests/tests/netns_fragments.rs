//! Datagrams that need three fragments, asked and answered, through a real switch.

use bg_tests::lab::config::{ECHO, ECHO6, Settings};
use bg_tests::lab::stage::Stage;
use bg_tests::lab::topology::{CLIENTS, CLIENTS6, has_ipv6};
use bg_tests::lab::{Environment, word};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Bytes of a question: with 1,500 to a packet, three fragments.
const LONG: usize = 4000;

fn sockets(stage: &Stage, to: SocketAddr, count: usize) -> Vec<UdpSocket> {
    let from = |i: usize| -> IpAddr {
        if to.is_ipv4() { CLIENTS[i % CLIENTS.len()].into() } else { CLIENTS6[i % CLIENTS6.len()].into() }
    };
    let open = |i| {
        let socket = UdpSocket::bind((from(i), 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    };
    stage.topology.client.inside(|| (0..count).map(open).collect()).unwrap()
}

/// Sends a long question, and tells who sent it back, whole and unchanged.
fn ask(socket: &UdpSocket, salt: usize) -> String {
    let question: Vec<u8> = (0..LONG).map(|i| (i * 31 + salt) as u8).collect();
    socket.send(&question).unwrap();
    let mut answer = [0; 2 * LONG];
    let length = socket.recv(&mut answer).expect("an answer within the time");
    let name = answer.iter().position(|&byte| byte == b' ').expect("a name in front of the question");
    assert!(answer[name + 1..length] == question, "the question came back changed");
    String::from_utf8_lossy(&answer[..name]).into_owned()
}

fn ask_all(sockets: &[UdpSocket], salt: usize) -> Vec<String> {
    sockets.iter().enumerate().map(|(i, socket)| ask(socket, salt + i)).collect()
}

#[test]
fn datagrams_in_fragments_go_both_ways_and_keep_their_backend_through_a_switch() {
    let settings = Settings { udp: true, ipv6: has_ipv6(), ..Settings::default() };
    let stage = Stage::new(2, 2, &settings).unwrap();
    let mut services: Vec<SocketAddr> = vec![ECHO.into()];
    if has_ipv6() {
        services.push(ECHO6.into());
    }
    let old: Vec<_> = services.iter().flat_map(|service| sockets(&stage, *service, 12)).collect();
    let before = ask_all(&old, 0);
    assert!(before.iter().all(|name| name.starts_with(word(Environment::Blue))), "{before:?}");

    stage.agent().flip(Environment::Green).unwrap();
    let new: Vec<_> = services.iter().flat_map(|service| sockets(&stage, *service, 12)).collect();
    let after = ask_all(&new, 1);
    assert!(after.iter().all(|name| name.starts_with(word(Environment::Green))), "{after:?}");
    for salt in 2..12 {
        assert_eq!((ask_all(&old, salt), ask_all(&new, salt)), (before.clone(), after.clone()));
    }
}
