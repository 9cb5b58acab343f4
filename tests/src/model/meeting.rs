//! Packets that meet one another, or the agent, at a word that they share.

use bg_common::control::Phase;

use super::action::{Action, Interrupted};
use super::agent;
use super::ends::{note, take_copy};
use super::judge;
use super::machine::{First, Machine, Task};
use super::state::{Agent, Packet, State};
use super::world::World;

impl<M: Machine> World<M> {
    pub(super) fn meetings(&self, s: &State, packets: &[Packet], actions: &mut Vec<Action>) {
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

    pub(super) fn meet(&self, s: &mut State, first: Packet, second: Packet, access: u8) -> Option<()> {
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
            judge::packet(&self.setup, s, packet, word, named, held, went);
        }
        for (packet, went) in [(first, went[0]), (second, went[1])] {
            take_copy(s, packet);
            note(s, packet, word);
            self.arrive(s, packet, went);
        }
        Some(())
    }

    pub(super) fn disturb(&self, s: &mut State, what: Interrupted, packet: Packet, access: u8) -> Option<()> {
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
        judge::packet(&self.setup, s, packet, word, named, held, went);
        take_copy(s, packet);
        note(s, packet, word);
        self.arrive(s, packet, went);
        agent::after(s, task);
        Some(())
    }
}
