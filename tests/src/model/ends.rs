//! The two ends of a connection: what a packet does where it arrives, and how a client ends it.

use bg_common::control::{Control, Phase};
use bg_common::decide::Segment;

use super::machine::{Machine, Seen, Went};
use super::segments::sequence;
use super::state::{Client, Fault, OWN, Packet, Server, Stage, State};
use super::world::World;

impl<M: Machine> World<M> {
    /// What a packet does where it arrives.
    pub(super) fn arrive(&self, s: &mut State, packet: Packet, went: Went) {
        match (packet, went.to) {
            (Packet::Syn(isn), Ok(backend)) => {
                s.rotated &= !(1 << isn);
                s.sent |= if usize::from(isn) < OWN { 1 << isn } else { 0 };
                receive(s, backend, isn);
            }
            (Packet::SynAck(backend), Ok(_)) => {
                if let Server::Half(isn) = s.servers[usize::from(backend)]
                    && s.client == Client::Opening(isn)
                {
                    s.client = Client::Established { isn, backend, stage: Stage::Silent, before: false };
                }
            }
            (Packet::Data | Packet::FarData, Ok(to)) => {
                if let Client::Established { isn, backend, ref mut stage, .. } = s.client
                    && to == backend
                {
                    let reached = if packet == Packet::FarData { Stage::Far } else { Stage::Spoken };
                    *stage = (*stage).max(reached);
                    s.servers[usize::from(backend)] = Server::Established(isn);
                }
            }
            (Packet::Reply(from), Ok(_)) => {
                if let Client::Established { isn, backend, ref mut stage, .. } = s.client
                    && from == backend
                    && s.servers[usize::from(from)] == Server::Established(isn)
                {
                    *stage = (*stage).max(Stage::Answered);
                }
            }
            _ => (),
        }
    }

    pub(super) fn close(&self, s: &mut State) -> Option<()> {
        let (isn, backend, stage) = s.alive()?;
        (s.servers[usize::from(backend)] == Server::Established(isn)).then_some(())?;
        let fin = Segment { fin: true, sequence: sequence(isn, stage, true), ..Segment::ACK };
        self.own(s, fin, backend);
        let back = Segment { fin: true, acknowledgement: fin.sequence.wrapping_add(1), ..Segment::ACK };
        let seen = Seen { flow: self.flows[0], client: 0, from: Some(backend), segment: back };
        let word = s.word;
        self.machine.packet(s, word, &seen);
        s.client = Client::Closed;
        s.servers[usize::from(backend)] = Server::None;
        Some(())
    }

    pub(super) fn abort(&self, s: &mut State) -> Option<()> {
        let Client::Established { isn, backend, stage, .. } = s.client else { return None };
        if s.alive().is_some() {
            let reset = Segment { rst: true, sequence: sequence(isn, stage, true), ..Segment::ACK };
            self.own(s, reset, backend);
            s.servers[usize::from(backend)] = Server::None;
        }
        s.client = Client::Closed;
        Some(())
    }

    /// A segment of the client's live connection, which has to reach its backend.
    fn own(&self, s: &mut State, segment: Segment, backend: u16) {
        let word = s.word;
        let seen = Seen { flow: self.flows[0], client: 0, from: None, segment };
        if self.machine.packet(s, word, &seen).to != Ok(backend) {
            s.blame(Fault::P4);
        }
        s.spoke = true;
    }
}

/// Whether the live connection, not whoever uses its addresses, has said something that counts since the
/// last switch: one that has read an older word takes no note of what is left now.
pub(super) fn note(s: &mut State, packet: Packet, word: u64) {
    let own = matches!(packet, Packet::Data | Packet::FarData | Packet::KeepAlive | Packet::Reply(_));
    let word = Control(word);
    let noted = word.phase() != Phase::Steady && word.leaving() == s.control().leaving();
    s.spoke |= own && noted && s.alive().is_some();
}

/// A delayed copy arrives, unless the client sends it just now.
pub(super) fn take_copy(s: &mut State, packet: Packet) {
    if let Packet::Syn(isn) = packet
        && s.client != Client::Opening(isn)
    {
        s.copies &= !(1 << isn);
    }
}

/// A backend receives a SYN, as Linux takes it.
pub(super) fn receive(s: &mut State, backend: u16, isn: u8) {
    let own = usize::from(isn) < OWN;
    let over = matches!(s.client, Client::Established { isn: i, backend: b, .. } if i == isn && b == backend);
    let server = &mut s.servers[usize::from(backend)];
    match *server {
        // A copy of the SYN of a connection that this backend has lost: the client would reset it.
        Server::None if own && over => (),
        Server::None => *server = Server::Half(isn),
        Server::Half(held) if own && (usize::from(held) >= OWN || isn >= held) => *server = Server::Half(isn),
        // It is answered with an acknowledgement of what is there.
        Server::Half(_) | Server::Established(_) => (),
    }
}
