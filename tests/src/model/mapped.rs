//! The maps of the program in the kernel, as a state has them: written, read, and under the agent's hands.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{Backend, BackendId, Node};
use bg_common::control::Control;
use bg_common::mutant::Mutant;
use bg_common::pin::Bucket;
use bg_common::tables::{Line, Tables};
use bg_userspace::datapath::Maps;

use super::state::State;

/// The maps, for one step.
pub(super) struct Mapped<'m> {
    maps: &'m Maps,
    mutant: Option<Mutant>,
    nanoseconds: u64,
}

impl<'m> Mapped<'m> {
    /// Over these maps, with an agent that is wrong in this way, at this time.
    pub(super) const fn new(maps: &'m Maps, mutant: Option<Mutant>, nanoseconds: u64) -> Self {
        Self { maps, mutant, nanoseconds }
    }

    /// Writes a state, with `word` as what packets find.
    pub(super) fn put(&self, state: &State, word: u64) {
        let maps = self.maps;
        maps.control.iter().next().into_iter().for_each(|control| control.store(word, SeqCst));
        for (element, backend) in maps.rings.iter().zip(state.rings) {
            element.store(backend.into(), SeqCst);
        }
        for (word, value) in self.words().zip(values(state)) {
            word.store(value, SeqCst);
        }
        maps.locks.iter().for_each(|lock| lock.store(0, SeqCst));
    }

    /// Reads back what packets and the agent have left.
    pub(super) fn keep(&self, state: &mut State) {
        for (word, value) in self.words().zip(places(state)) {
            *value = word.load(SeqCst);
        }
    }

    /// The words of a state that packets and the agent write, in the order of [`values`].
    fn words(&self) -> impl Iterator<Item = &'m AtomicU64> {
        let maps = self.maps;
        let pins = maps.pins.iter().flatten();
        let pins = pins.flat_map(|pin| [&pin.tag, &pin.half, &pin.established, &pin.meta]);
        let live = maps.deployments.iter().next().into_iter().flatten().take(LIVE);
        pins.take(PINS)
            .chain(maps.recent.iter().take(RECENT))
            .chain(live)
            .chain(maps.census.iter().take(1).flatten())
    }
}

const PINS: usize = 16;
const RECENT: usize = 2;
const LIVE: usize = 4;

fn values(state: &State) -> impl Iterator<Item = u64> {
    let state = state.clone();
    let words = state.pins.into_iter().flatten().chain(state.recent).chain(state.live);
    words.chain(state.census.into_iter().flatten())
}

fn places(state: &mut State) -> impl Iterator<Item = &mut u64> {
    let State { pins, recent, live, census, .. } = state;
    pins.as_flattened_mut().iter_mut().chain(recent).chain(live).chain(census.as_flattened_mut())
}

impl Tables for Mapped<'_> {
    type Word = AtomicU64;

    fn node(&self) -> &Node {
        self.maps.node()
    }

    fn control(&self, deployment: u16) -> Control {
        self.maps.control(deployment)
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<AtomicU64>> {
        self.maps.deployment(deployment)
    }

    fn ring(&self, element: u32) -> Option<u64> {
        self.maps.ring(element)
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.maps.backend(id)
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<AtomicU64>> {
        self.maps.pins(bucket)
    }

    fn pin_lock(&self, index: u32) -> Option<&AtomicU64> {
        self.maps.pin_lock(index)
    }

    fn recent(&self, index: u32) -> Option<&AtomicU64> {
        self.maps.recent(index)
    }

    fn census(&self, bucket: u32) -> Option<&Line<AtomicU64>> {
        self.maps.census(bucket)
    }

    fn mutated(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }
}
