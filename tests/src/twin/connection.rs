//! One client and its servers: what they send next, in order and out of order. The server is whichever
//! backend the client's packets really reached.

use std::net::{IpAddr, SocketAddr};

use bg_common::abi::BackendId;

use super::pair::Sent;
use super::random::Random;
use super::world::{BACKENDS, CLIENTS, Device, SERVICES};
use crate::packets::Action;
use crate::packets::craft::{self, Segment, flags};

use flags::{ACK, FIN, PSH, RST, SYN};

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Number of its service.
    pub(super) service: u16,
    client: SocketAddr,
    isn: u32,
    server_isn: u32,
    /// Bytes that the client has sent, and the server.
    sent: u32,
    replied: u32,
    /// Where the client's last packet went.
    backend: Option<BackendId>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Opening,
    Answered,
    Open,
    Over,
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Move {
    Syn,
    /// Another connection of the same addresses and ports, perhaps of somebody who forged them.
    OtherSyn,
    Ack,
    Data,
    DataAgain,
    Keepalive,
    /// At the edge of what a half pin covers, or anywhere.
    Elsewhere,
    Fin,
    Reset,
    SynAck,
    Reply,
    ReplyFin,
    ReplyReset,
    /// It acknowledges what this connection never sent.
    ReplyElsewhere,
    /// A backend that the connection is not on.
    Stranger,
}

use Move::{
    Ack, Data, DataAgain, Elsewhere, Fin, Keepalive, OtherSyn, Reply, ReplyElsewhere, ReplyFin, ReplyReset,
    Reset, Stranger, Syn, SynAck,
};

const fn moves(stage: Stage) -> &'static [(u32, Move)] {
    match stage {
        Stage::New => &[(95, Syn), (3, Ack), (2, Reset)],
        Stage::Opening => &[
            (30, SynAck),
            (26, Syn),
            (12, OtherSyn),
            (6, Ack),
            (3, Elsewhere),
            (3, Reset),
            (4, ReplyElsewhere),
            (3, Stranger),
            (2, ReplyReset),
        ],
        Stage::Answered => &[
            (50, Ack),
            (12, Data),
            (8, Syn),
            (8, SynAck),
            (4, OtherSyn),
            (4, Elsewhere),
            (4, ReplyElsewhere),
            (4, Reply),
            (3, Stranger),
            (3, Reset),
        ],
        Stage::Open => &[
            (20, Data),
            (20, Reply),
            (8, Ack),
            (8, DataAgain),
            (6, Keepalive),
            (4, Elsewhere),
            (4, ReplyElsewhere),
            (3, Stranger),
            (2, Reset),
            (2, ReplyReset),
            (2, Syn),
            (3, OtherSyn),
            (5, Fin),
            (5, ReplyFin),
        ],
        Stage::Over => &[(20, Ack), (10, Fin), (10, ReplyFin), (10, Reply), (5, Reset), (5, Syn), (5, Data)],
    }
}

/// What a half pin covers (`pin::WINDOW`).
const WINDOW: u32 = 1 << 17;

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
        let service = random.weighted(&[(40, 0), (25, 1), (31, 2), (4, 3)]);
        let (first, count) = random.weighted(&CLIENTS);
        let client =
            SocketAddr::new(nth(first, random.below(count.into()) as u8), 1024 + random.below(60_000) as u16);
        Self {
            service,
            client,
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
            *self = if same { Self { service: self.service, client: self.client, ..fresh } } else { fresh };
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
        if step.forward && sent.action != Action::Drop {
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
        if by_server && let Some(backend) = self.server(wish, random) {
            self.reply(wish, backend, random)
        } else {
            self.request(if by_server { Syn } else { wish }, random)
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
                let isn = self.isn;
                let edges =
                    [isn.wrapping_sub(1), isn, isn.wrapping_add(WINDOW - 1), isn.wrapping_add(WINDOW)];
                let at = if random.permille(800) { random.pick(&edges) } else { random.word() };
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
            source: self.client,
            destination: SERVICES[usize::from(self.service)].at,
            sequence,
            acknowledgement: if flags & ACK == 0 { 0 } else { acknowledgement },
            ..segment(flags, device, payload, random)
        };
        Step { what, segment, device, forward: true }
    }

    fn reply(&mut self, wish: Move, backend: BackendId, random: &mut Random) -> Step {
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
        let from = BACKENDS[usize::from(backend)];
        let device = if random.permille(950) { from.device } else { random.pick(&Device::ALL) };
        let segment = Segment {
            source: from.at,
            destination: self.client,
            sequence,
            acknowledgement,
            ..segment(flags, device, payload, random)
        };
        Step { what, segment, device, forward: false }
    }
}

/// A segment with the odd bits in it that are none.
fn segment(flags: u8, device: Device, payload: u32, random: &mut Random) -> Segment {
    Segment {
        to: device.mac(),
        from: [2, 0, 0, 0, 9, random.byte()],
        tos: if random.permille(100) { random.byte() } else { 0 },
        id: random.word() as u16,
        fragment: if random.permille(850) { craft::DF } else { 0 },
        ttl: if random.permille(950) { 64 } else { random.pick(&[2, 3, 255]) },
        payload: random.bytes(payload),
        tcp_options: if random.permille(200) { random.words(0, 11) } else { Vec::new() },
        padding: if random.permille(50) { random.words(0, 5) } else { Vec::new() },
        ..Segment::to_service(flags)
    }
}

/// Bytes of a segment: few, or more than the narrow link takes, or more than any.
fn length(random: &mut Random) -> u32 {
    match random.below(100) {
        0..60 => 1 + random.below(40),
        60..94 => 1230 + random.below(170),
        _ => 1400 + random.below(100),
    }
}

fn nth(first: IpAddr, n: u8) -> IpAddr {
    match first {
        IpAddr::V4(address) => (u32::from(address) + u32::from(n)).to_be_bytes().into(),
        IpAddr::V6(address) => (u128::from(address) + u128::from(n)).to_be_bytes().into(),
    }
}

/// Where a segment that went out as `bytes` is sent to.
pub(super) fn destination(segment: &Segment, bytes: &[u8]) -> SocketAddr {
    let ip = 14 + 4 * segment.tags.len();
    let (address, tcp): (IpAddr, usize) = match segment.destination {
        SocketAddr::V4(_) => {
            let address: [u8; 4] = bytes[ip + 16..ip + 20].try_into().expect("four bytes");
            (address.into(), ip + 20 + segment.ip_options.len())
        }
        SocketAddr::V6(_) => {
            let address: [u8; 16] = bytes[ip + 24..ip + 40].try_into().expect("sixteen bytes");
            let extensions: usize = segment.extensions.iter().map(|extension| extension.1.len()).sum();
            (address.into(), ip + 40 + extensions)
        }
    };
    SocketAddr::new(address, u16::from_be_bytes([bytes[tcp + 2], bytes[tcp + 3]]))
}
