//! What can happen in a state, and what becomes of it: the surroundings of the rule.

use bg_common::control::{Control, Environment, Phase};
use bg_common::decide::Segment;
use bg_common::flow::Flow;
use bg_common::reason::Reason;

use super::agent;
use super::judge;
use super::machine::{First, Machine, Seen, Task, Went};
use super::setup::{self, DEAD, FRESH, KEY, OLD, Setup, TAKEN};
use super::state::{
    Agent, Client, Fault, Flight, ISNS, NEAR, OTHER, OWN, Packet, Server, Stage, State, environment, flows,
};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The agent makes new connections go to a backend, in the name of an environment.
    Switch(u16, Environment),
    /// The agent changes the rings, and the one slot stays where it was.
    Unmoved,
    /// The agent looks around and does what `rollout::next` says.
    Look,
    /// The agent goes on with what it has begun.
    Proceed,
    /// The agent frees pins whose time is over.
    Expire,
    /// The agent rotates the SYN memory.
    Rotate,
    /// The agent is killed and starts again.
    Kill,
    /// A seal's time is over.
    SealExpires,
    /// The client opens its next connection.
    Open,
    /// A copy of its SYN is delayed in the network.
    Delay(u8),
    /// A delayed copy gets lost.
    Lose(u8),
    /// The client gives up opening.
    GiveUp,
    /// A packet passes.
    Send(Packet),
    /// A packet reads its control word.
    Read(Packet),
    /// It does the rest.
    Finish,
    /// The first is interrupted by the second one before this access to a shared word.
    Meet(Packet, Packet, u8),
    /// The agent is interrupted by a packet.
    Disturb(Interrupted, Packet, u8),
    /// A backend forgets a connection that the client does not have.
    Forget(u16),
    /// FIN both ways.
    Close,
    /// The client resets its connection.
    Abort,
    /// Time passes in which this stays silent.
    Silence(Thing),
}

/// A procedure of the agent, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the actions")]
pub enum Interrupted {
    Expire,
    Clear,
    Rotate,
}

/// What grows old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// The client's pin: longer than a SYN or a closing pin lives.
    Pin,
    /// The client's pin: longer than any pin lives.
    DeadPin,
    /// The other client's pin.
    OtherPin,
    /// A flow in the census, by its place.
    Census(usize),
    /// A flow in the census, noted before the last switch and not since.
    Stale(usize),
    /// SYNs into an environment.
    Syns(Environment),
    /// Everything that is left, since the last switch.
    Horizon,
}

/// The model's machinery for one configuration.
#[derive(Debug)]
pub struct World<M> {
    /// What is included.
    pub setup: Setup,
    /// Who carries it out.
    pub machine: M,
    flows: [Flow; 2],
}

impl<M: Machine> World<M> {
    /// A world.
    pub fn new(setup: Setup, machine: M) -> Self {
        Self { setup, machine, flows: flows(&KEY) }
    }

    /// Steady on blue; nobody has ever been here.
    #[must_use]
    pub fn start(&self) -> State {
        let mut pins = [[0; 4]; 4];
        for (number, place) in (0_u64..).zip(&mut pins).skip(self.setup.room) {
            *place = [TAKEN | number, TAKEN, 0, 1 << 32 | FRESH];
        }
        let blue = bg_common::control::Ring { slot: 0, environment: Environment::Blue };
        let mut start = State {
            word: bg_common::control::Control::new(Phase::Steady, blue, blue, 0, 0).0,
            rings: [0; 3],
            pins,
            recent: [0; 2],
            live: [0; 4],
            census: [[0; 2]; 4],
            agent: Agent::Idle,
            motive: 0,
            cleared: true,
            horizon: false,
            client: Client::Closed,
            opened: 0,
            copies: 0,
            servers: [Server::None; 4],
            spoke: false,
            rotated: 0,
            sent: 0,
            flight: None,
            met: false,
            fault: None,
        };
        start.tidy();
        start
    }

    /// Everything that can happen.
    pub fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.fault.is_some() {
            return;
        }
        agent::actions(self, s, actions);
        if s.client == Client::Closed && s.opened < self.setup.connections {
            actions.push(Action::Open);
        }
        if let Client::Opening(isn) = s.client {
            if s.copies & 1 << isn == 0 {
                actions.push(Action::Delay(isn));
            }
            actions.push(Action::GiveUp);
        }
        actions.extend((0..OWN as u8).filter(|isn| s.copies & 1 << isn != 0).map(Action::Lose));
        let mut packets = Vec::with_capacity(16);
        self.packets(s, &mut packets);
        actions.extend(packets.iter().copied().map(Action::Send));
        if self.setup.late && s.flight.is_none() {
            let late = |packet: &&Packet| !matches!(packet, Packet::ForgedReset | Packet::OtherSyn);
            actions.extend(packets.iter().filter(late).copied().map(Action::Read));
        }
        if s.flight.is_some() {
            actions.push(Action::Finish);
        }
        if self.setup.meetings && !s.met {
            self.meetings(s, &packets, actions);
        }
        for (number, server) in (0_u16..).zip(s.servers) {
            let kept = s.alive().is_some_and(|(_, backend, _)| backend == number);
            if server != Server::None && !kept {
                actions.push(Action::Forget(number));
            }
        }
        if let Client::Established { isn, backend, .. } = s.client {
            if s.servers[usize::from(backend)] == Server::Established(isn) {
                actions.push(Action::Close);
            }
            actions.push(Action::Abort);
        }
        for thing in [Thing::Pin, Thing::DeadPin, Thing::OtherPin, Thing::Horizon] {
            actions.push(Action::Silence(thing));
        }
        for environment in [Environment::Blue, Environment::Green] {
            actions.push(Action::Silence(Thing::Syns(environment)));
        }
        for place in 0..s.census.len() {
            actions.push(Action::Silence(Thing::Census(place)));
            actions.push(Action::Silence(Thing::Stale(place)));
        }
    }

    /// Packets that may come now.
    fn packets(&self, s: &State, packets: &mut Vec<Packet>) {
        for isn in 0..OWN as u8 {
            // Two copies of one SYN are never in the program together: one queue takes all of a flow.
            let twin = s.flight.is_some_and(|flight| flight.packet == Packet::Syn(isn));
            if !twin && (s.client == Client::Opening(isn) || s.copies & 1 << isn != 0) {
                packets.push(Packet::Syn(isn));
            }
        }
        let far = matches!(s.client, Client::Established { isn: 0, stage: Stage::Far, .. });
        let spoofs = (OWN as u8..).take(self.setup.spoofs.into());
        packets.extend(spoofs.filter(|&isn| far || isn != NEAR).map(Packet::Syn));
        for (number, server) in (0_u16..).zip(s.servers) {
            match server {
                Server::Half(isn) if usize::from(isn) < OWN => packets.push(Packet::SynAck(number)),
                Server::Established(_) => packets.push(Packet::Reply(number)),
                _ => (),
            }
        }
        if s.alive().is_some() {
            packets.push(Packet::Data);
            if matches!(s.client, Client::Established { stage: Stage::Answered, .. }) {
                packets.push(Packet::FarData);
            }
            if self.setup.keepalive {
                packets.push(Packet::KeepAlive);
            }
        }
        if self.setup.resets {
            packets.push(Packet::ForgedReset);
        }
        if self.setup.other && !s.pins.iter().any(|pin| pin[0] == self.flows[1].tag) {
            packets.push(Packet::OtherSyn);
        }
    }

    fn meetings(&self, s: &State, packets: &[Packet], actions: &mut Vec<Action>) {
        // No path through the rule has more accesses to shared words.
        const ACCESSES: u8 = 60;
        let steady = s.control().phase() == Phase::Steady;
        for &second in packets {
            for access in 1..=ACCESSES {
                actions.extend(packets.iter().map(|&first| Action::Meet(first, second, access)));
                let idle = s.agent == Agent::Idle;
                if idle && !steady {
                    actions.push(Action::Disturb(Interrupted::Expire, second, access));
                }
                if s.agent == Agent::Clears {
                    actions.push(Action::Disturb(Interrupted::Clear, second, access));
                }
                if idle && agent::may_rotate(s) {
                    actions.push(Action::Disturb(Interrupted::Rotate, second, access));
                }
            }
        }
    }

    /// What becomes of a state; `None` if this cannot happen in it or changes nothing.
    pub fn next(&self, state: &State, action: Action) -> Option<State> {
        let mut s = state.clone();
        self.act(&mut s, action)?;
        if s.fault.is_none() {
            judge::state(self, &mut s);
        }
        s.tidy();
        (s != *state).then_some(s)
    }

    fn act(&self, s: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Switch(..)
            | Action::Unmoved
            | Action::Look
            | Action::Proceed
            | Action::Expire
            | Action::Rotate
            | Action::Kill
            | Action::SealExpires => agent::act(self, s, action)?,
            Action::Open => {
                let free = s.client == Client::Closed && s.opened < self.setup.connections;
                s.client = free.then_some(Client::Opening(s.opened))?;
                s.opened += 1;
            }
            Action::Delay(isn) => {
                (s.client == Client::Opening(isn)).then_some(())?;
                s.copies |= 1 << isn;
            }
            Action::Lose(isn) => s.copies &= !(1 << isn),
            Action::GiveUp => s.client = matches!(s.client, Client::Opening(_)).then_some(Client::Closed)?,
            Action::Send(packet) => {
                let (word, named) = (s.word, s.named());
                self.pass(s, packet, word, named)?;
            }
            Action::Read(packet) => {
                self.seen(s, packet)?;
                s.flight =
                    Some(Flight { packet, word: s.word, named: s.named(), stage: s.stage(), stale: false });
                take_copy(s, packet);
            }
            Action::Finish => {
                let flight = s.flight.take()?;
                let own = [Packet::Data, Packet::FarData, Packet::KeepAlive].contains(&flight.packet);
                let now = s.stage();
                if let (true, Client::Established { stage, .. }, Some(then)) =
                    (own, &mut s.client, flight.stage)
                {
                    *stage = then;
                }
                // What it belongs to may be gone.
                let _ = self.pass(s, flight.packet, flight.word, flight.named);
                if let (Client::Established { stage, .. }, Some(now)) = (&mut s.client, now) {
                    *stage = (*stage).max(now);
                }
                // Whoever lives says something after the last packet that knew of no switch.
                let read = Control(flight.word);
                s.spoke &= read.phase() != Phase::Steady && read.leaving() == s.control().leaving();
            }
            Action::Meet(first, second, access) => self.meet(s, first, second, access)?,
            Action::Disturb(what, packet, access) => self.disturb(s, what, packet, access)?,
            Action::Forget(backend) => {
                let kept = s.alive().is_some_and(|(_, with, _)| with == backend);
                (!kept).then_some(())?;
                s.servers[usize::from(backend)] = Server::None;
            }
            Action::Close | Action::Abort => {
                // What the client has sent before has passed.
                let own = [Packet::Data, Packet::FarData, Packet::KeepAlive];
                if s.flight.is_some_and(|flight| own.contains(&flight.packet)) {
                    return None;
                }
                if action == Action::Close { self.close(s)? } else { self.abort(s)? }
            }
            Action::Silence(thing) => self.silence(s, thing)?,
        }
        Some(())
    }

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

    /// A packet passes that has read `word`.
    fn pass(&self, s: &mut State, packet: Packet, word: u64, named: [u16; 2]) -> Option<()> {
        let seen = self.seen(s, packet)?;
        let held = self.held(s, &seen);
        let went = self.machine.packet(s, word, &seen);
        judge::packet(s, packet, word, named, held, went);
        take_copy(s, packet);
        note(s, packet, word);
        self.arrive(s, packet, went);
        Some(())
    }

    /// The backend that a pin holds for this very connection.
    fn held(&self, s: &State, seen: &Seen) -> [Option<u16>; 2] {
        let holds = s.pins.iter().find(|pin| pin[0] == seen.flow.tag).map_or([0; 2], |pin| [pin[1], pin[2]]);
        holds.map(|word| {
            let hold = bg_common::pin::Hold::from_word(word)?;
            (hold.isn() == seen.segment.sequence).then_some(hold.backend())
        })
    }

    /// What a packet does where it arrives.
    fn arrive(&self, s: &mut State, packet: Packet, went: Went) {
        match (packet, went.to) {
            (Packet::Syn(isn), Ok(backend)) => {
                s.rotated &= !(1 << isn);
                s.sent |= if usize::from(isn) < OWN { 1 << isn } else { 0 };
                receive(s, backend, isn);
            }
            (Packet::SynAck(backend), _) => {
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
            (Packet::Reply(from), _) => {
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

    fn meet(&self, s: &mut State, first: Packet, second: Packet, access: u8) -> Option<()> {
        let (a, b) = (self.seen(s, first)?, self.seen(s, second)?);
        let (word, named) = (s.word, s.named());
        let held = [self.held(s, &a), self.held(s, &b)];
        let went = self.machine.meeting(s, &First::Packet(a), &b, access.into())?;
        s.met = true;
        for ((packet, went), mut held) in [(first, went[0]), (second, went[1])].into_iter().zip(held) {
            // The one may have pinned what the other one asks for.
            if let (Packet::Syn(_), Ok(_)) = (packet, went.to) {
                let after = self.held(s, if packet == first { &a } else { &b });
                held = [held[0].or(after[0]), held[1].or(after[1])];
            }
            judge::packet(s, packet, word, named, held, went);
        }
        for (packet, went) in [(first, went[0]), (second, went[1])] {
            take_copy(s, packet);
            note(s, packet, word);
            self.arrive(s, packet, went);
        }
        Some(())
    }

    fn disturb(&self, s: &mut State, what: Interrupted, packet: Packet, access: u8) -> Option<()> {
        let (task, allowed) = match what {
            Interrupted::Expire => (Task::Expire, s.agent == Agent::Idle),
            Interrupted::Clear => (Task::Clear, s.agent == Agent::Clears),
            Interrupted::Rotate => (Task::Rotate, s.agent == Agent::Idle && agent::may_rotate(s)),
        };
        allowed.then_some(())?;
        let seen = self.seen(s, packet)?;
        let (word, named, held) = (s.word, s.named(), self.held(s, &seen));
        let went = self.machine.meeting(s, &First::Task(task), &seen, access.into())?[1];
        s.met = true;
        judge::packet(s, packet, word, named, held, went);
        take_copy(s, packet);
        note(s, packet, word);
        self.arrive(s, packet, went);
        agent::after(s, task);
        Some(())
    }

    fn close(&self, s: &mut State) -> Option<()> {
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

    fn abort(&self, s: &mut State) -> Option<()> {
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

    fn silence(&self, s: &mut State, thing: Thing) -> Option<()> {
        // A packet is in the program for microseconds.
        s.flight.is_none().then_some(())?;
        let live = s.alive();
        let opening = (0..OWN as u8).any(|isn| s.opens(isn));
        match thing {
            Thing::Pin | Thing::DeadPin => {
                let tag = self.flows[0].tag;
                let pin = s.pins.iter_mut().find(|pin| pin[0] == tag)?;
                // Whoever lives says something before the time of a closing pin is over; whoever opens a
                // connection, before a SYN's time is over; and nobody is silent for longer than a pin lives.
                let speaks = thing == Thing::DeadPin || bg_common::meta::Meta(pin[3]).closing();
                (!(opening || speaks && live.is_some())).then_some(())?;
                grow_old(&mut pin[3], if thing == Thing::Pin { OLD } else { DEAD })?;
            }
            Thing::OtherPin => {
                let tag = self.flows[1].tag;
                let pin = s.pins.iter_mut().find(|pin| pin[0] == tag)?;
                grow_old(&mut pin[3], OLD)?;
            }
            Thing::Census(place) => {
                let [tag, ref mut meta] = s.census[place];
                let flow = environment_of(*meta);
                let lives = live.is_some_and(|(_, backend, _)| environment(backend) == flow);
                (tag != 0 && !(tag == self.flows[0].tag && lives)).then_some(())?;
                grow_old(meta, DEAD)?;
            }
            Thing::Stale(place) => {
                let [tag, ref mut meta] = s.census[place];
                (tag == self.flows[0].tag && !s.spoke).then_some(())?;
                grow_old(meta, DEAD)?;
            }
            Thing::Syns(which) => {
                let half = |(number, server): (u16, &Server)| {
                    environment(number) == which
                        && matches!(server, Server::Half(isn) if usize::from(*isn) < OWN)
                };
                (!(0_u16..).zip(&s.servers).any(half)).then_some(())?;
                let stamp = &mut s.live[bg_common::abi::live::LAST_SYN + which as usize];
                (*stamp == FRESH).then_some(())?;
                *stamp -= DEAD;
            }
            Thing::Horizon => {
                let leaving = s.control().leaving();
                let silent = live.is_some_and(|(_, backend, _)| environment(backend) == leaving) && !s.spoke;
                (!s.horizon && s.control().phase() != Phase::Steady && !silent).then_some(())?;
                s.horizon = true;
            }
        }
        Some(())
    }
}

fn environment_of(meta: u64) -> Environment {
    Environment::from_bit(bg_common::meta::Meta(meta).place() as u8)
}

/// Gives a stamp an age.
fn grow_old(meta: &mut u64, age: u64) -> Option<()> {
    const STAMP: u64 = 0x00ff_ffff;
    let stamp = FRESH - age;
    let held = *meta & STAMP;
    (held > stamp).then(|| *meta = *meta & !STAMP | stamp)
}

fn syn(isn: u8) -> Segment {
    Segment { syn: true, ack: false, sequence: ISNS[usize::from(isn)], ..Segment::ACK }
}

/// The sequence number of the client's next segment; a keepalive probe carries the one before it.
fn sequence(isn: u8, stage: Stage, data: bool) -> u32 {
    // An answered client may be far beyond the window of its first packets.
    let sent = if stage == Stage::Far { 1 << 19 } else { 0 };
    ISNS[usize::from(isn)] + sent + u32::from(data)
}

/// Whether the live connection, not whoever uses its addresses, has said something that counts since the
/// last switch: one that has read an older word takes no note of what is left now.
fn note(s: &mut State, packet: Packet, word: u64) {
    let own = matches!(packet, Packet::Data | Packet::FarData | Packet::KeepAlive | Packet::Reply(_));
    let word = Control(word);
    let noted = word.phase() != Phase::Steady && word.leaving() == s.control().leaving();
    s.spoke |= own && noted && s.alive().is_some();
}

/// A delayed copy arrives, unless the client sends it just now.
fn take_copy(s: &mut State, packet: Packet) {
    if let Packet::Syn(isn) = packet
        && s.client != Client::Opening(isn)
    {
        s.copies &= !(1 << isn);
    }
}

/// A backend receives a SYN, as Linux takes it.
fn receive(s: &mut State, backend: u16, isn: u8) {
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

/// What a SYN may lead to besides a backend.
#[must_use]
pub fn may_wait(reason: Reason) -> bool {
    matches!(reason, Reason::PinBusy | Reason::Sealed)
}

impl State {
    /// One form for all states that differ in names only.
    pub(super) fn tidy(&mut self) {
        self.tidy_rings();
        self.pins.sort_unstable();
        self.census.sort_unstable();
        let active = &mut self.live[bg_common::abi::live::RECENT_ACTIVE];
        if *active == 1 {
            *active = 0;
            self.recent.swap(0, 1);
        }
        for isn in 0..OWN as u8 {
            if !self.opens(isn) {
                self.rotated &= !(1 << isn);
            }
        }
        if self.control().phase() == Phase::Steady {
            self.horizon = false;
        }
    }

    /// Ring slots in the order in which the words name them; what no word names says nothing.
    fn tidy_rings(&mut self) {
        let mut order: Vec<u8> = Vec::with_capacity(3);
        for word in std::iter::once(self.word).chain(self.flight.map(|flight| flight.word)) {
            let control = bg_common::control::Control(word);
            for slot in [control.base().slot, control.current().slot] {
                if !order.contains(&slot) {
                    order.push(slot);
                }
            }
        }
        let rings = self.rings;
        for (new, ring) in self.rings.iter_mut().enumerate() {
            *ring = order.get(new).map_or(bg_common::abi::NO_BACKEND, |&old| rings[usize::from(old)]);
        }
        let renamed = |word: u64| {
            let control = bg_common::control::Control(word);
            let name = |old: u8| order.iter().position(|&slot| slot == old).unwrap_or(0) as u64;
            word & !(0xf << 2) | name(control.base().slot) << 2 | name(control.current().slot) << 4
        };
        let word = renamed(self.word);
        if let Some(flight) = &mut self.flight {
            flight.word = renamed(flight.word);
        }
        self.word = word;
    }
}

/// A stamp that is now.
#[must_use]
pub const fn now_ticks() -> u32 {
    bg_common::tables::ticks(setup::NOW)
}
