//! One client and its servers: what they send next, in order and out of order. The server is whichever
//! backend the client's packets really reached.

use std::net::SocketAddr;

use bg_common::abi::BackendId;

pub(super) use super::form::destination;
use super::form::{length, nth, segment};
use super::moves::{Move, Stage, moves};
use super::pair::Sent;
use super::random::Random;
use super::world::{BACKENDS, Backend, CLIENTS, DATAGRAMS, Device, SERVICES, V6_SERVICE, VIEWED, preview_of};
use crate::packets::Action;
use crate::packets::craft::{Segment, Transport, flags};
use crate::packets::world::v6_ip;

use Move::{
    Data, DataAgain, Elsewhere, Fin, Keepalive, OtherSyn, Reply, ReplyElsewhere, ReplyFin, ReplyReset, Reset,
    Stranger, Syn, SynAck,
};
use flags::{ACK, FIN, PSH, RST, SYN};

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Number of its service.
    pub(super) service: u16,
    client: SocketAddr,
    /// It asks the service's preview.
    preview: bool,
    /// It is a flow of datagrams, and what it does is no more than their payload.
    datagrams: bool,
    isn: u32,
    server_isn: u32,
    /// Bytes that the client has sent, and the server.
    sent: u32,
    replied: u32,
    /// Where the client's last packet went.
    backend: Option<BackendId>,
    stage: Stage,
}

/// What a half pin covers (`pin::WINDOW`).
const WINDOW: u32 = 1 << 17;
/// How far ahead of the highest sequence number, and how far behind it, a pin covers where no reply is seen
/// (`pin::AHEAD`, `pin::BEHIND`).
const AHEAD: u32 = 1 << 25;
const BEHIND: u32 = 1 << 30;
/// Of a thousand replies that go another way, so many come by here after all, from the VIP.
const ASTRAY: u32 = 60;

/// A segment, and the device on which it arrives.
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) segment: Segment,
    pub(super) device: Device,
    /// It is the client's.
    pub(super) forward: bool,
}

impl Connection {
    /// A connection that nobody has heard of yet.
    pub(super) fn new(random: &mut Random) -> Self {
        let service = random.weighted(&[(32, 0), (20, 1), (25, 2), (3, 3), (22, 4), (22, 5)]);
        let (first, count) = random.weighted(&CLIENTS);
        let over_v6 = random.permille(500);
        let (service, first) = if over_v6 { (service + V6_SERVICE, v6_ip(first)) } else { (service, first) };
        let client =
            SocketAddr::new(nth(first, random.below(count.into()) as u8), 1024 + random.below(60_000) as u16);
        Self {
            service,
            client,
            preview: VIEWED.contains(&service) && random.permille(400),
            datagrams: DATAGRAMS.iter().any(|(other, _)| *other == service) && random.permille(350),
            isn: random.word(),
            server_isn: random.word(),
            sent: 0,
            replied: 0,
            backend: None,
            stage: Stage::New,
        }
    }

    /// What happens next. Over, it may begin anew, with the same ports or with others.
    pub(super) fn next(&mut self, random: &mut Random) -> Step {
        let over = match self.stage {
            Stage::Over => 300,
            Stage::Opening => 40,
            _ => 6,
        };
        if random.permille(over) {
            let fresh = Self::new(random);
            let same = random.permille(350);
            *self = if same {
                let Self { service, client, preview, datagrams, .. } = *self;
                // The same port at the other address, now and then.
                let preview = preview != (VIEWED.contains(&service) && random.permille(200));
                Self { service, client, preview, datagrams, ..fresh }
            } else {
                fresh
            };
        }
        self.make(random.weighted(moves(self.stage)), random)
    }

    /// Its first SYN, or its last one again.
    pub(super) fn syn(&mut self, random: &mut Random) -> Step {
        self.make(Syn, random)
    }

    /// Whether its client waits for an answer to its SYN.
    pub(super) fn opening(&self) -> bool {
        self.stage == Stage::Opening
    }

    /// Takes note of where the client's segment went.
    pub(super) fn learn(&mut self, step: &Step, sent: &Sent) {
        // What came back to the client as an answer may be shorter.
        let sent_on = sent.action != Action::Drop && sent.bytes.len() == step.segment.bytes().len();
        if step.forward && sent_on {
            let to = destination(&step.segment, &sent.bytes);
            let backend =
                BACKENDS.iter().position(|backend| backend.service == self.service && backend.at == to);
            if let Some(backend) = backend {
                self.backend = Some(backend as BackendId);
            }
        }
    }

    fn make(&mut self, wish: Move, random: &mut Random) -> Step {
        // Who does not know where the packets went has nobody who would answer.
        let by_server = matches!(wish, SynAck | Reply | ReplyFin | ReplyReset | ReplyElsewhere | Stranger);
        if by_server && SERVICES[usize::from(self.service)].direct() {
            self.unseen(wish, random)
        } else if by_server && let Some(backend) = self.server(wish, random) {
            self.reply(wish, BACKENDS[usize::from(backend)], random)
        } else {
            self.request(if by_server { Syn } else { wish }, random)
        }
    }

    /// The backend answers the client itself, and what the client says to that is all that is seen.
    fn unseen(&mut self, wish: Move, random: &mut Random) -> Step {
        if random.permille(ASTRAY) {
            let from = Backend {
                at: SERVICES[usize::from(self.service)].at,
                service: self.service,
                environment: 0,
                device: Device::Lan,
            };
            return self.reply(wish, from, random);
        }
        if self.stage == Stage::New {
            return self.request(Syn, random);
        }
        if matches!(wish, SynAck) && self.stage == Stage::Opening {
            self.stage = Stage::Answered;
        }
        if matches!(wish, Reply) {
            self.replied = self.replied.wrapping_add(length(random));
        }
        self.request(Move::Ack, random)
    }

    fn transport(&self, random: &mut Random) -> Transport {
        match self.datagrams {
            false => Transport::Tcp,
            true if random.permille(150) => Transport::UdpUnsummed,
            true => Transport::Udp,
        }
    }

    fn server(&self, wish: Move, random: &mut Random) -> Option<BackendId> {
        if matches!(wish, Stranger) {
            let of_service = |id: &BackendId| BACKENDS[usize::from(*id)].service == self.service;
            let all: Vec<BackendId> = (0..BACKENDS.len() as BackendId).filter(of_service).collect();
            return (!all.is_empty()).then(|| random.pick(&all));
        }
        self.backend
    }

    fn request(&mut self, wish: Move, random: &mut Random) -> Step {
        let next = self.isn.wrapping_add(1).wrapping_add(self.sent);
        let mut payload = 0;
        let (what, flags, sequence) = match wish {
            Syn => {
                if self.stage == Stage::New {
                    self.stage = Stage::Opening;
                }
                ("a SYN", SYN, self.isn)
            }
            OtherSyn => {
                let isn = random.word();
                if random.permille(300) {
                    *self = Self { isn, sent: 0, replied: 0, stage: Stage::Opening, ..self.clone() };
                }
                ("another SYN", SYN, isn)
            }
            Data | DataAgain => {
                payload = length(random);
                let at =
                    if matches!(wish, Data) { next } else { next.wrapping_sub(random.below(self.sent + 1)) };
                if matches!(wish, Data) {
                    self.sent = self.sent.wrapping_add(payload);
                }
                ("data", ACK | random.pick(&[0, PSH]), at)
            }
            Keepalive => {
                payload = random.below(2);
                ("a keepalive", ACK, next.wrapping_sub(1))
            }
            Elsewhere => {
                let at = self.elsewhere(next, random);
                ("a segment from elsewhere", ACK, at)
            }
            Fin => {
                self.stage = Stage::Over;
                ("a FIN", FIN | ACK, next)
            }
            Reset => {
                let at = if random.permille(500) { next } else { random.word() };
                ("a RST", random.pick(&[RST, RST | ACK]), at)
            }
            _ => {
                if self.stage == Stage::Answered {
                    self.stage = Stage::Open;
                }
                ("an ACK", ACK, next)
            }
        };
        let acknowledgement = self.server_isn.wrapping_add(1).wrapping_add(self.replied);
        let device = if random.permille(950) { Device::Wan } else { random.pick(&Device::ALL) };
        let segment = Segment {
            transport: self.transport(random),
            source: self.client,
            destination: if self.preview {
                preview_of(self.service)
            } else {
                SERVICES[usize::from(self.service)].at
            },
            sequence,
            acknowledgement: if flags & ACK == 0 { 0 } else { acknowledgement },
            ..segment(flags, device, payload, random)
        };
        Step { what, segment, device, forward: true }
    }

    /// At an edge of what pins cover, mostly.
    fn elsewhere(&self, next: u32, random: &mut Random) -> u32 {
        let isn = self.isn;
        let half = [isn.wrapping_sub(1), isn, isn.wrapping_add(WINDOW - 1), isn.wrapping_add(WINDOW)];
        let one_way = [
            next.wrapping_add(AHEAD - 1),
            next.wrapping_add(AHEAD),
            next.wrapping_sub(BEHIND),
            next.wrapping_sub(BEHIND + 1),
        ];
        let direct = SERVICES[usize::from(self.service)].direct();
        match random.permille(800) {
            true if direct && random.permille(500) => random.pick(&one_way),
            true => random.pick(&half),
            false => random.word(),
        }
    }

    fn reply(&mut self, wish: Move, from: Backend, random: &mut Random) -> Step {
        let next = self.server_isn.wrapping_add(1).wrapping_add(self.replied);
        let mut acknowledgement = self.isn.wrapping_add(1).wrapping_add(self.sent);
        let mut payload = 0;
        let (what, flags, sequence) = match wish {
            SynAck => {
                if self.stage == Stage::Opening {
                    self.stage = Stage::Answered;
                }
                ("a SYN-ACK", SYN | ACK, self.server_isn)
            }
            ReplyFin => ("a server's FIN", FIN | ACK, next),
            ReplyReset => ("a server's RST", random.pick(&[RST, RST | ACK]), next),
            ReplyElsewhere => {
                let isn = self.isn;
                let edges =
                    [isn.wrapping_sub(1), isn, isn.wrapping_add(WINDOW - 1), isn.wrapping_add(WINDOW)];
                acknowledgement = if random.permille(700) { random.pick(&edges) } else { random.word() };
                ("a reply to something else", ACK, next)
            }
            _ => {
                payload = length(random);
                self.replied = self.replied.wrapping_add(payload);
                (if matches!(wish, Stranger) { "a stranger's reply" } else { "a reply" }, ACK, next)
            }
        };
        let device = if random.permille(950) { from.device } else { random.pick(&Device::ALL) };
        let segment = Segment {
            transport: self.transport(random),
            source: from.at,
            destination: self.client,
            sequence,
            acknowledgement,
            ..segment(flags, device, payload, random)
        };
        Step { what, segment, device, forward: false }
    }
}
