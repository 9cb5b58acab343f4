//! One form for all states that differ in names only, or the search would look at each of them.

use bg_common::abi::{NO_BACKEND, live};
use bg_common::control::{Control, Phase};

use super::state::{OWN, State};

impl State {
    /// One form for all states that differ in names only.
    pub(super) fn tidy(&mut self) {
        self.tidy_rings();
        self.pins.sort_unstable();
        self.census.sort_unstable();
        let active = &mut self.live[live::RECENT_ACTIVE];
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
            let control = Control(word);
            for slot in [control.base().slot, control.current().slot] {
                if !order.contains(&slot) {
                    order.push(slot);
                }
            }
        }
        let rings = self.rings;
        for (new, ring) in self.rings.iter_mut().enumerate() {
            *ring = order.get(new).map_or(NO_BACKEND, |&old| rings[usize::from(old)]);
        }
        let renamed = |word: u64| {
            let control = Control(word);
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
