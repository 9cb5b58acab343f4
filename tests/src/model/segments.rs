//! Packets as the node sees them: their headers follow from how far the connection has come.

use bg_common::decide::Segment;

use super::machine::{Machine, Seen};
use super::state::{ISNS, OTHER, OWN, Packet, Server, Stage, State};
use super::world::World;

impl<M: Machine> World<M> {
    /// A packet as the node sees it; `None` if there is none such now.
    pub fn seen(&self, s: &State, packet: Packet) -> Option<Seen> {
        let client = u8::from(packet == Packet::OtherSyn);
        let flow = self.flows[usize::from(client)];
        let mut from = None;
        let segment = match packet {
            Packet::Syn(isn) => syn(isn),
            Packet::OtherSyn => syn(OTHER),
            Packet::ForgedReset => Segment { rst: true, sequence: 0x7000_0000, ..Segment::ACK },
            Packet::SynAck(backend) => {
                let Server::Half(isn) = s.servers[usize::from(backend)] else { return None };
                (usize::from(isn) < OWN).then_some(())?;
                from = Some(backend);
                Segment { syn: true, acknowledgement: ISNS[usize::from(isn)] + 1, ..Segment::ACK }
            }
            Packet::Reply(backend) => {
                let Server::Established(isn) = s.servers[usize::from(backend)] else { return None };
                from = Some(backend);
                Segment { payload: true, acknowledgement: ISNS[usize::from(isn)] + 1, ..Segment::ACK }
            }
            Packet::Data | Packet::FarData | Packet::KeepAlive => {
                let (isn, _, mut stage) = s.alive()?;
                let data = packet != Packet::KeepAlive;
                if packet == Packet::FarData {
                    (stage >= Stage::Answered).then_some(())?;
                    stage = Stage::Far;
                }
                Segment { payload: data, sequence: sequence(isn, stage, data), ..Segment::ACK }
            }
        };
        Some(Seen { flow, client, from, segment })
    }
}

pub(super) fn syn(isn: u8) -> Segment {
    Segment { syn: true, ack: false, sequence: ISNS[usize::from(isn)], ..Segment::ACK }
}

/// The sequence number of the client's next segment; a keepalive probe carries the one before it.
pub(super) fn sequence(isn: u8, stage: Stage, data: bool) -> u32 {
    // An answered client may be far beyond the window of its first packets.
    let sent = if stage == Stage::Far { 1 << 19 } else { 0 };
    ISNS[usize::from(isn)] + sent + u32::from(data)
}
