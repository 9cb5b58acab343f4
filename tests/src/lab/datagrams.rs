//! Flows of datagrams to the echo services, for tests that ask which backend answers.

use super::stage::Stage;
use super::topology::{CLIENTS, CLIENTS6};
use super::{Environment, word};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// One client's flow.
#[derive(Debug)]
pub struct Flow {
    socket: UdpSocket,
    said: u32,
}

impl Flow {
    /// Says something, and tells who answered.
    ///
    /// # Panics
    /// Unless that is heard within 5 s, and right.
    pub fn ask(&mut self) -> String {
        self.said += 1;
        let question = format!("question {}", self.said);
        self.socket.send(question.as_bytes()).unwrap();
        let mut answer = [0; 100];
        let length = self.socket.recv(&mut answer).expect("an answer within the time");
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        let (name, echoed) = answer.split_once(' ').expect("a name and the question");
        assert_eq!(echoed, question);
        name.to_owned()
    }
}

/// So many flows of the clients' in turn.
///
/// # Panics
/// When sockets cannot be had.
pub fn flows(stage: &Stage, to: SocketAddr, count: usize) -> Vec<Flow> {
    let from = |i: usize| -> IpAddr {
        if to.is_ipv4() { CLIENTS[i % CLIENTS.len()].into() } else { CLIENTS6[i % CLIENTS6.len()].into() }
    };
    let open = || {
        let open = |i| {
            let socket = UdpSocket::bind((from(i), 0)).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            Flow { socket, said: 0 }
        };
        (0..count).map(open).collect()
    };
    stage.topology.client.inside(open).unwrap()
}

/// Who answers each.
///
/// # Panics
/// As [`Flow::ask`].
pub fn ask_all(flows: &mut [Flow]) -> Vec<String> {
    flows.iter_mut().map(Flow::ask).collect()
}

/// Whether all are servers of this environment.
pub fn all_of(names: &[String], environment: Environment) -> bool {
    names.iter().all(|name| name.starts_with(word(environment)))
}
