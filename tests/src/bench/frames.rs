//! What arrives: the packet of a case's first flow. The front makes all others of it.

use std::net::SocketAddr;

use super::cases::Case;
use super::place::CLIENTS;
use crate::packets::craft::{IcmpError, Segment, flags};

/// What arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A client's segment with ten bytes of data, to a service.
    Data,
    /// A client's datagram, to a service.
    Datagram,
    /// A client's SYN, to a service; every one with another sequence number.
    Syn,
    /// A backend's segment with ten bytes of data, to a client.
    Reply,
    /// An ICMP error to a service about its reply, which it quotes up to the end of the TCP header.
    Error,
    /// A segment to nobody.
    Stray,
}

/// Bytes that an error quotes.
const QUOTED: usize = 40;
/// Destination unreachable, fragmentation needed (RFC 1191), with the MTU at the end.
const TOO_BIG: (u8, u8, [u8; 4]) = (3, 4, [0, 0, 0x05, 0x78]);

impl Case {
    /// The packet of the first flow.
    pub(super) fn frame(&self) -> Vec<u8> {
        let client = CLIENTS.member(self.kind.version, 0);
        let peer = self.group().member(self.kind.version, 0);
        match self.packet {
            Packet::Data | Packet::Stray => data(client, peer).bytes(),
            // The shortest frames that Ethernet has, without its own checksum.
            Packet::Datagram => {
                Segment { source: client, destination: peer, ..Segment::datagram(&[0x62; 18]) }.bytes()
            }
            Packet::Syn => {
                let syn = Segment::to_service(flags::SYN);
                Segment { source: client, destination: peer, padding: vec![0; 6], ..syn }.bytes()
            }
            Packet::Reply => data(peer, client).bytes(),
            Packet::Error => error(&data(peer, client)),
        }
    }
}

fn data(source: SocketAddr, destination: SocketAddr) -> Segment {
    Segment { source, destination, payload: vec![0x62; 10], ..Segment::to_service(flags::ACK | flags::PSH) }
}

/// What the client's own end says about a reply.
fn error(reply: &Segment) -> Vec<u8> {
    let mut quote = reply.ip_bytes();
    quote.truncate(QUOTED);
    let (kind, code, rest) = TOO_BIG;
    let Segment { to, from, tags, .. } = Segment::to_service(0);
    let (sender, vip) = (reply.destination.ip(), reply.source.ip());
    IcmpError { to, from, tags, vip: sender, client: vip, ttl: 64, kind, code, rest, quote }.bytes()
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;

    /// What the front writes anew is at the start of the frame, and all of it has to be there.
    #[test]
    fn every_frame_is_long_enough_for_its_front_and_short_enough_for_its_map() {
        for case in CASES {
            let least = match case.front {
                "forth6" => 74,
                "error4" => 82,
                _ => 54,
            };
            assert!((least..=bg_front::FRAME).contains(&case.frame().len()), "{}", case.name);
        }
    }
}
