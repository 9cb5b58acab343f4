//! What can happen in a state, and what becomes of it: everything around the rule.

use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::flow::Flow;

use super::action::{Action, Thing};
use super::agent;
use super::ends::{note, take_copy};
use super::judge;
use super::machine::{Machine, Seen};
use super::setup::{FRESH, KEY, Setup, TAKEN};
use super::state::{Agent, Client, Flight, NEAR, OWN, Packet, Server, Stage, State, flows};

/// The model's machinery for one configuration.
#[derive(Debug)]
pub struct World<M> {
    /// What is included.
    pub setup: Setup,
    /// Who carries it out.
    pub machine: M,
    pub(super) flows: [Flow; 2],
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
        let blue = Ring { slot: 0, environment: Environment::Blue };
        let mut start = State {
            word: Control::new(Phase::Steady, blue, blue, 0, 0).0,
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
        for thing in [Thing::Pin, Thing::DeadPin, Thing::Half, Thing::OtherPin, Thing::Horizon] {
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
        // A packet in the program that the client sent before it went far is not far.
        let lags = s.flight.is_some_and(|flight| flight.stage.is_some_and(|stage| stage < Stage::Far));
        let far = matches!(s.client, Client::Established { isn: 0, stage: Stage::Far, .. }) && !lags;
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

    /// A packet passes that has read `word`.
    pub(super) fn pass(&self, s: &mut State, packet: Packet, word: u64, named: [u16; 2]) -> Option<()> {
        let seen = self.seen(s, packet)?;
        let held = self.held(s, &seen);
        let went = self.machine.packet(s, word, &seen);
        judge::packet(&self.setup, s, packet, word, named, held, went);
        take_copy(s, packet);
        note(s, packet, word);
        self.arrive(s, packet, went);
        Some(())
    }

    /// The backend that a pin holds for this very connection.
    pub(super) fn held(&self, s: &State, seen: &Seen) -> [Option<u16>; 2] {
        let holds = s.pins.iter().find(|pin| pin[0] == seen.flow.tag).map_or([0; 2], |pin| [pin[1], pin[2]]);
        holds.map(|word| {
            let hold = bg_common::pin::Hold::from_word(word)?;
            (hold.isn() == seen.segment.sequence).then_some(hold.backend())
        })
    }
}
