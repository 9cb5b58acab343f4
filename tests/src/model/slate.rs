//! The tables of one state in plain memory, for one step. Between any two accesses to a shared word
//! another packet may come, as on another processor.

use std::cell::{Cell, RefCell};

use bg_common::abi::{Backend, BackendId, Endpoint, Node, Service, live};
use bg_common::control::Control;
use bg_common::mutant::Mutant;
use bg_common::pin::{Bucket, Pin};
use bg_common::service::Directory;
use bg_common::tables::{Line, Tables, Word};

use super::setup::{self, Setup};
use super::state::{State, idle};

/// A word, not really shared.
#[derive(Debug, Default)]
pub struct Plain(Cell<u64>);

thread_local! {
    /// Accesses until the other packet comes; 0 for never.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    static OTHER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Lets `other` come before the access with this number, counted from 1.
pub fn meet_at(access: u32, other: impl FnOnce() + 'static) {
    OTHER.with(|slot| *slot.borrow_mut() = Some(Box::new(other)));
    LEFT.with(|left| left.set(access));
}

/// Whether it has come. Nothing comes from now on.
pub fn met() -> bool {
    LEFT.with(|left| left.set(0));
    OTHER.with(|slot| slot.borrow_mut().take()).is_none()
}

fn access() {
    let left = LEFT.with(Cell::get);
    if left > 0 {
        LEFT.with(|cell| cell.set(left - 1));
        if left == 1
            && let Some(other) = OTHER.with(|slot| slot.borrow_mut().take())
        {
            other();
        }
    }
}

impl Word for Plain {
    fn load(&self) -> u64 {
        access();
        self.0.get()
    }

    fn store(&self, value: u64) {
        access();
        self.0.set(value);
    }

    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        access();
        let seen = self.0.get();
        if seen == old {
            self.0.set(new);
        }
        seen
    }

    fn or(&self, bits: u64) {
        access();
        self.0.set(self.0.get() | bits);
    }
}

fn word(value: u64) -> Plain {
    Plain(Cell::new(value))
}

/// The tables.
#[derive(Debug)]
pub struct Slate {
    node: Node,
    mutant: Option<Mutant>,
    service: Service,
    /// The word that the first look finds, and the one that every later look finds.
    words: [u64; 2],
    /// How often the control word was looked at.
    pub looks: Cell<u32>,
    rings: [BackendId; 3],
    pins: Bucket<Plain>,
    lock: Plain,
    recent: [Plain; 2],
    live: Line<Plain>,
    census: Line<Plain>,
    nanoseconds: u64,
}

impl Slate {
    /// The tables of a state, for a packet that has read `read`, `later` seconds from now.
    pub fn new(setup: &Setup, state: &State, read: u64, later: u64) -> Self {
        Self {
            node: setup::node(setup.room),
            mutant: setup.mutant,
            service: setup::service_for(setup.view),
            words: [read, state.word],
            looks: Cell::new(0),
            rings: state.rings,
            pins: state.pins.map(|[tag, half, established, meta]| Pin {
                tag: word(tag),
                half: word(half),
                established: word(established),
                meta: word(meta),
            }),
            lock: Plain::default(),
            recent: state.recent.map(word),
            live: std::array::from_fn(|i| word(state.live.get(i).copied().unwrap_or(0))),
            census: std::array::from_fn(|i| word(state.census.as_flattened().get(i).copied().unwrap_or(0))),
            nanoseconds: setup::NOW + (later << 30),
        }
    }

    /// A second packet over the same tables has its own looks at the control word.
    pub fn forget_looks(&self) -> u32 {
        self.looks.replace(0)
    }

    /// What is left, into the state.
    pub fn keep(&self, state: &mut State) {
        let words =
            |pin: &Pin<Plain>| [pin.tag.0.get(), pin.half.0.get(), pin.established.0.get(), pin.meta.0.get()];
        for (place, pin) in state.pins.iter_mut().zip(&self.pins) {
            *place = words(pin);
        }
        for (kept, word) in state.recent.iter_mut().zip(&self.recent) {
            *kept = word.0.get();
        }
        for (kept, word) in state.live.iter_mut().zip(&self.live) {
            *kept = word.0.get();
        }
        for (kept, word) in state.census.as_flattened_mut().iter_mut().zip(&self.census) {
            *kept = word.0.get();
        }
    }
}

impl Directory for Slate {
    fn service(&self, index: u32) -> Option<&Service> {
        (index == 0).then_some(&self.service)
    }

    fn endpoint(&self, _: u32) -> Option<&Endpoint> {
        None
    }
}

impl Tables for Slate {
    type Word = Plain;

    fn node(&self) -> &Node {
        &self.node
    }

    fn control(&self, _: u16) -> Control {
        let looks = self.looks.get();
        self.looks.set(looks + 1);
        Control(self.words[usize::from(looks > 0)])
    }

    fn deployment(&self, deployment: u16) -> Option<&Line<Plain>> {
        const { assert!(live::CENSUS_FULL < 4) };
        (deployment == 0).then_some(&self.live)
    }

    fn ring(&self, element: u32) -> Option<u64> {
        // Behind the rings are those to the environment that is not live.
        let element = element as usize;
        let idle = |at: usize| self.rings.get(at).map(|&backend| idle(backend).into());
        let ring = self.rings.get(element).map(|&backend| backend.into());
        ring.or_else(|| idle(element - self.rings.len()))
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        setup::ALL.get(usize::from(id))
    }

    fn pins(&self, bucket: u32) -> Option<&Bucket<Plain>> {
        (bucket == 0).then_some(&self.pins)
    }

    fn pin_lock(&self, _: u32) -> Option<&Plain> {
        Some(&self.lock)
    }

    fn recent(&self, index: u32) -> Option<&Plain> {
        self.recent.get(index as usize)
    }

    fn census(&self, bucket: u32) -> Option<&Line<Plain>> {
        (bucket == 0).then_some(&self.census)
    }

    fn mutated(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }
}
