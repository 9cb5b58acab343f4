//! The properties of PINNING.md, as they are asserted in every state and for every packet. P2 is that all
//! of this holds in the configurations without room for a pin; P10 is the twin's.

use bg_common::control::{Control, Phase};
use bg_common::decide::Segment;
use bg_common::decide::views::View;
use bg_common::meta::Meta;
use bg_common::reason::Reason;

use super::agent;
use super::machine::{Machine, Seen, Task, Went};
use super::setup::{FRESH, KEY, OLD, Setup, TAKEN};
use super::silence::half_grows_old;
use super::state::{Client, Fault, ISNS, OWN, Packet, Server, Stage, State, environment, flows, idle};
use super::world::World;

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::P1, Self::P3, Self::P4, Self::P5, Self::P6, Self::P7, Self::P8, Self::P9, Self::P11];

    /// The property.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::P1 => "P1, P2: no live flow changes backend, however many pins there is room for",
            Self::P3 => "P3: after a flip a SYN goes to current or base, nowhere else",
            Self::P4 => "P4: every packet of a client that is established with a backend reaches it",
            Self::P5 => "P5: in STEADY, after clearing, the pin table is empty",
            Self::P6 => "P6: flip and rollback change nothing for flows that existed before",
            Self::P7 => "P7: a packet reads one control word",
            Self::P8 => "P8: after STEADY, and a grace period, no packet reaches the old environment",
            Self::P9 => "P9: without a flood every SYN leads to a connection",
            Self::P11 => "P11: a reply comes from the address that its client has asked",
        }
    }
}

/// Judges where a packet went.
pub(super) fn packet(
    setup: &Setup,
    s: &mut State,
    packet: Packet,
    word: u64,
    named: [u16; 2],
    held: [Option<u16>; 2],
    went: Went,
) {
    if went.looks != 1 {
        s.blame(Fault::P7);
    }
    if let Packet::Data | Packet::FarData | Packet::KeepAlive = packet
        && let Some((_, backend, _)) = s.alive()
        && went.to != Ok(backend)
    {
        let control = Control(word);
        let back = control.base().slot == control.current().slot && control.phase() != Phase::Steady;
        let before = matches!(s.client, Client::Established { before: true, .. });
        s.blame(if back && before { Fault::P6 } else { Fault::P4 });
    }
    match went.to {
        Ok(backend) => {
            let goals = goals(setup.view, named);
            if agent::is_syn(packet) && !goals.contains(&backend) && !held.contains(&Some(backend)) {
                s.blame(Fault::P3);
            }
            // Nobody has seen this SYN, and there is room: it goes where new connections go.
            let new = matches!(packet, Packet::Syn(isn) if usize::from(isn) < OWN && s.sent & 1 << isn == 0);
            let draining = matches!(Control(word).phase(), Phase::Drain | Phase::Seal);
            if new && draining && backend != goals[1] && s.pins.iter().any(|pin| pin[0] == 0) {
                s.blame(Fault::P9);
            }
            let forward = !matches!(packet, Packet::SynAck(_) | Packet::Reply(_));
            let ordinary = setup.view == View::ORDINARY;
            if ordinary
                && forward
                && agent::settled(s)
                && environment(backend) != s.control().base().environment
            {
                s.blame(Fault::P8);
            }
        }
        Err(Reason::NotService) => {
            if is_heard(s, packet) {
                s.blame(Fault::P11);
            }
        }
        Err(reason) if !(agent::is_syn(packet) && may_wait(reason)) => s.blame(Fault::P9),
        Err(_) => (),
    }
}

/// Judges a state.
pub(super) fn state<M: Machine>(world: &World<M>, s: &mut State) {
    if s.control().phase() == Phase::Steady
        && agent::rests(s)
        && s.pins.iter().any(|pin| pin[0] != 0 && pin[0] & TAKEN == 0 && !Meta(pin[3]).kept())
    {
        s.blame(Fault::P5);
    }
    if let Some((isn, backend, stage)) = s.alive() {
        let first = ISNS[usize::from(isn)];
        let next = first + if stage == Stage::Far { 1 << 19 } else { 0 };
        // The next segment, and, of one that has not said anything, a keepalive probe.
        let probe = (stage == Stage::Silent && world.setup.keepalive).then_some(next);
        for sequence in std::iter::once(next + 1).chain(probe) {
            if ask(world, s, Segment { sequence, ..Segment::ACK }) != Ok(backend) {
                s.blame(Fault::P1);
            }
        }
    }
    if let Client::Opening(isn) = s.client
        && !opens_in_time(world, s, isn)
    {
        s.blame(Fault::P9);
    }
}

/// Where a segment of the client would go now.
fn ask<M: Machine>(world: &World<M>, s: &State, segment: Segment) -> Result<u16, Reason> {
    pass(world, &mut s.clone(), segment)
}

fn pass<M: Machine>(world: &World<M>, s: &mut State, segment: Segment) -> Result<u16, Reason> {
    let word = s.word;
    world.machine.packet(s, word, &Seen { flow: flows(&KEY)[0], client: 0, from: None, segment }).to
}

/// Whether the client's SYN, sent again for as long as it takes, leads to a connection: what keeps it
/// waiting ends by itself.
fn opens_in_time<M: Machine>(world: &World<M>, s: &State, isn: u8) -> bool {
    let mut s = s.clone();
    let first = ISNS[usize::from(isn)];
    let syn = Segment { syn: true, ack: false, sequence: first, ..Segment::ACK };
    let went = match pass(world, &mut s, syn) {
        Err(Reason::Sealed) => {
            let sealed = s.control();
            s.word = Control::new(Phase::Drain, sealed.base(), sealed.current(), 0, 0).0;
            pass(world, &mut s, syn)
        }
        went => went,
    };
    let went = match went {
        Err(Reason::PinBusy) => {
            // The half open connection is not confirmed, or it has ended; either way it falls silent.
            for pin in &mut s.pins {
                pin[3] = pin[3] & !0x00ff_ffff | (FRESH - OLD);
                half_grows_old(pin);
            }
            if s.pins.iter().any(|pin| bg_common::pin::Hold(pin[1]).matched()) {
                return true;
            }
            world.machine.task(&mut s, Task::Expire);
            world.machine.task(&mut s, Task::Exhume);
            pass(world, &mut s, syn)
        }
        went => went,
    };
    let went = match went {
        // There is no room for ever, or until what is buried is emptied.
        Err(Reason::NoPin) if world.setup.room == 0 => return true,
        Err(Reason::NoPin) => {
            world.machine.task(&mut s, Task::Exhume);
            pass(world, &mut s, syn)
        }
        went => went,
    };
    let Ok(backend) = went else { return false };
    s.servers = [Server::None; 4];
    pass(world, &mut s, Segment { sequence: first + 1, ..Segment::ACK }) == Ok(backend)
}

/// What a SYN may lead to besides a backend.
fn may_wait(reason: Reason) -> bool {
    matches!(reason, Reason::PinBusy | Reason::Sealed | Reason::NoPin)
}

/// Where a SYN may go, the last of them the place of new connections; `named` are the backends of base and current.
fn goals(view: View, named: [u16; 2]) -> [u16; 2] {
    let [base, current] = named;
    match view {
        View::TESTER => [base, idle(current)],
        View::PINNED => [idle(current); 2],
        _ => named,
    }
}

/// Whether the client waits for this reply.
fn is_heard(s: &State, packet: Packet) -> bool {
    match (packet, s.client) {
        (Packet::SynAck(from), Client::Opening(isn)) => s.servers[usize::from(from)] == Server::Half(isn),
        (Packet::SynAck(from) | Packet::Reply(from), _) => s.alive().is_some_and(|(_, with, _)| with == from),
        _ => false,
    }
}
