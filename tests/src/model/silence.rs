//! Time: stamps grow old while whoever they belong to is silent.

use bg_common::control::{Environment, Phase};
use bg_common::pin::Hold;

use super::action::Thing;
use super::machine::Machine;
use super::setup::{DEAD, FRESH, OLD};
use super::state::{ISNS, OWN, Place, Server, State, environment};
use super::world::World;

impl<M: Machine> World<M> {
    pub(super) fn silence(&self, s: &mut State, thing: Thing) -> Option<()> {
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
                half_grows_old(pin);
            }
            Thing::Half => {
                let tag = self.flows[0].tag;
                let pin = s.pins.iter().position(|pin| pin[0] == tag)?;
                let half = Hold::from_word(s.pins[pin][1])?;
                let about = (0..OWN as u8).any(|isn| ISNS[usize::from(isn)] == half.isn() && s.opens(isn));
                (s.pins[pin][2] != 0 && !half.matched() && !about).then_some(())?;
                half_grows_old(&mut s.pins[pin]);
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

/// The SYN of a pin's half is long gone.
pub(super) fn half_grows_old(pin: &mut Place) {
    if let Some(half) = Hold::from_word(pin[1]) {
        pin[1] = half.stamped((FRESH - OLD) as u32).0;
    }
}

/// Gives a stamp an age.
fn grow_old(meta: &mut u64, age: u64) -> Option<()> {
    const STAMP: u64 = 0x00ff_ffff;
    let stamp = FRESH - age;
    let held = *meta & STAMP;
    (held > stamp).then(|| *meta = *meta & !STAMP | stamp)
}
