//! A state of the model: the kernel's maps, word by word, and around them the agent, one client, its
//! servers and what is under way between them.

use bg_common::abi::BackendId;
use bg_common::control::{Control, Environment};
use bg_common::flow::Flow;

/// Backends 0 and 1 are blue, 2 and 3 green.
pub const BACKENDS: usize = 4;
/// First sequence numbers: two connections of the client one after the other, two that somebody forges in
/// its name, and one of somebody else.
pub const ISNS: [u32; 5] = [0x1000_0000, 0x1010_0000, 0x8000_0000, 0x1000_0001, 0x4000_0000];
/// Those of [`ISNS`] that are the client's own.
pub const OWN: usize = 2;
/// Index in [`ISNS`] of a forged one that is near to where the first connection began. It is sent only when
/// that connection is far beyond: who can guess where it is can break it without any load balancer.
pub const NEAR: u8 = 3;
/// Index in [`ISNS`] of the other client's.
pub const OTHER: u8 = 4;

/// A place in the pin table: tag, half, established, meta.
pub type Place = [u64; 4];

/// The whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each of them is so or not")]
pub struct State {
    // The kernel's maps.
    /// `CONTROL`; the epoch stays 0, or there would be no end of states.
    pub word: u64,
    /// `RINGS`: the backend of the one slot, for each ring slot.
    pub rings: [BackendId; 3],
    /// The one bucket of `PINS`.
    pub pins: [Place; 4],
    /// The one word of both filters of `RECENT`.
    pub recent: [u64; 2],
    /// The element of `DEPLOYMENTS`.
    pub live: [u64; 4],
    /// The one bucket of `CENSUS`.
    pub census: [[u64; 2]; 4],
    // The agent.
    /// What it is about to do.
    pub agent: Agent,
    /// Its ledger: why the deployment is not steady.
    pub motive: u32,
    /// Its ledger: what followed from the last conclusion was carried out.
    pub cleared: bool,
    /// The idle horizon has passed since the last switch.
    pub horizon: bool,
    // The surroundings.
    /// The client.
    pub client: Client,
    /// Connections that the client has opened.
    pub opened: u8,
    /// Copies of its SYNs that are still in the network, by bits.
    pub copies: u8,
    /// What the backends hold of the tuple.
    pub servers: [Server; BACKENDS],
    /// A packet of the client has passed since the last switch.
    pub spoke: bool,
    /// A rotation has come since this SYN last passed, by bits.
    pub rotated: u8,
    /// These SYNs have reached a backend, by bits.
    pub sent: u8,
    /// A packet that has read its control word and does the rest later.
    pub flight: Option<Flight>,
    /// Two packets have met at a word already.
    pub met: bool,
    /// The property that was violated.
    pub fault: Option<Fault>,
}

/// The client of the one tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// No connection.
    Closed,
    /// It sends SYNs.
    Opening(u8),
    /// It has taken a SYN-ACK of this backend.
    Established {
        /// Which of its connections.
        isn: u8,
        /// With whom.
        backend: BackendId,
        /// How far it has come.
        stage: Stage,
        /// The connection was there before the last flip.
        before: bool,
    },
}

/// How far an established connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The client has sent nothing that arrived: its keepalive probes carry the isn.
    Silent,
    /// It has sent something.
    Spoken,
    /// It was answered, and may go on.
    Answered,
    /// It has sent more than a window.
    Far,
}

/// What a backend holds of the tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Nothing.
    None,
    /// A SYN of this isn, answered and not confirmed.
    Half(u8),
    /// A connection.
    Established(u8),
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packet {
    /// The client's, or one that is forged.
    Syn(u8),
    /// A SYN-ACK.
    SynAck(BackendId),
    /// Data, or the acknowledgement that ends the handshake.
    Data,
    /// Data far beyond the first window.
    FarData,
    /// A probe that carries the sequence number before the next one.
    KeepAlive,
    /// A backend's acknowledgement or data.
    Reply(BackendId),
    /// A RST that somebody forges.
    ForgedReset,
    /// A SYN of another client.
    OtherSyn,
}

/// A packet in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    /// Which.
    pub packet: Packet,
    /// The word that it has read.
    pub word: u64,
    /// The backends of base and current as it was read.
    pub named: [BackendId; 2],
    /// How far the client had come.
    pub stage: Option<Stage>,
    /// The agent has stored or buried something since.
    pub stale: bool,
}

/// What the agent is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agent {
    /// It looks around.
    Idle,
    /// It waits for a grace period, and then nothing.
    Waits,
    /// It has sealed and will count once more.
    Recounts,
    /// It has concluded and will clear the pins.
    Clears,
    /// It has buried pins and will empty them; `true`: and then the clearing is done.
    Empties(bool),
    /// It was killed, and starts again.
    Starts,
}

/// Properties of PINNING.md, and what was seen instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are named as in PINNING.md; `Fault::text` has the sentences")]
pub enum Fault {
    P1,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    P9,
    P11,
}

impl State {
    /// The control word.
    #[must_use]
    pub fn control(&self) -> Control {
        Control(self.word)
    }

    /// The client's connection, if both ends have it: which, and with whom.
    #[must_use]
    pub fn alive(&self) -> Option<(u8, BackendId, Stage)> {
        let Client::Established { isn, backend, stage, .. } = self.client else { return None };
        let held = self.servers[usize::from(backend)];
        (held == Server::Half(isn) || held == Server::Established(isn)).then_some((isn, backend, stage))
    }

    /// Whether anything that belongs to opening this connection is still about.
    #[must_use]
    pub fn opens(&self, isn: u8) -> bool {
        self.copies & 1 << isn != 0
            || self.client == Client::Opening(isn)
            || self.servers.contains(&Server::Half(isn))
            || self.flight.is_some_and(|flight| flight.packet == Packet::Syn(isn))
    }

    /// How far the client's connection has come.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        if let Client::Established { stage, .. } = self.client { Some(stage) } else { None }
    }

    /// Notes the first fault.
    pub fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The backends that the word's base and current lead to.
    #[must_use]
    pub fn named(&self) -> [BackendId; 2] {
        let control = self.control();
        [control.base(), control.current()].map(|ring| self.rings[usize::from(ring.slot)])
    }
}

/// A backend's environment.
#[must_use]
pub fn environment(backend: BackendId) -> Environment {
    Environment::from_bit((backend / 2) as u8)
}

/// The backend of the other environment that takes the place of this one in the rings that lead there.
#[must_use]
pub const fn idle(backend: BackendId) -> BackendId {
    backend ^ 2
}

/// The client's flow and the other client's.
pub fn flows(key: &[u64; 4]) -> [Flow; 2] {
    [[192, 0, 2, 7], [192, 0, 2, 8]].map(|client| Flow::v4(key, client, 40_000_u16.to_be_bytes(), 0))
}
