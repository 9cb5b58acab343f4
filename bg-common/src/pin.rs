//! The pin table: two-choice buckets of four pins, 32 bytes a pin. The program only ever adds a pin and
//! fills it; only the agent frees one. Nothing is evicted: without room there is no pin, and the
//! connection goes to base.
//!
//! Four pins a bucket, because with two the first connections find no room when a tenth of the table is
//! full, and a busy drain would never end: each of them enters the environment that is being left. Of
//! 524,288 pins put into a table of twice that many, 4,613 find no room with buckets of two, and 6 with
//! buckets of four.
//!
//! One exchange of the meta word decides between a packet and the agent. Whoever wants to use a pin stamps
//! it first ([`Pin::touch`]); the agent gives a pin up by exchanging the very word that it took for old
//! ([`Pin::give_up`]). Either the stamp comes first, and the pin lives; or the agent does, and the packet
//! sees that it has to do without. Nothing is ever taken back, so that no packet meets a pin that comes to
//! life again. A pin that is given up is found until the agent buries its tag; a SYN that finds it goes to
//! base, as its later packets will, with and without the agent.

use crate::flow::Flow;
use crate::meta::Meta;
use crate::tables::{Tables, Word};

mod hold;

pub use hold::{AHEAD, BEHIND, Hold, WINDOW};

/// Locks in `PIN_LOCKS`, a power of two.
pub const LOCKS: u32 = 1024;
/// Tries for a lock. Its holder is done within some hundred instructions; a SYN that does not get it in this
/// time is sent again. To take that for "no room" would be wrong: the holder may be pinning this very flow.
const LOCK_TRIES: u32 = 64;

/// One pin.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Pin<W> {
    /// [`Flow::tag`]; 0 is free, [`crate::flow::TOMB`] is buried.
    pub tag: W,
    /// [`Hold`] of a connection that the backend has not answered yet; 0 is none.
    pub half: W,
    /// [`Hold`] of the established connection; 0 is none. Where replies do not come this way it has the highest sequence
    /// number seen in the place of the first.
    pub established: W,
    /// [`Meta`].
    pub meta: W,
}

/// Pins in a bucket.
pub const PINS_PER_BUCKET: usize = 4;

/// Four pins, two neighbouring cache lines.
pub type Bucket<W> = [Pin<W>; PINS_PER_BUCKET];

const _: () = assert!(size_of::<Bucket<u64>>() == 128);

impl<W: Word> Pin<W> {
    /// The half pin.
    #[inline(always)]
    pub fn half(&self) -> Option<Hold> {
        Hold::from_word(self.half.load())
    }

    /// The established pin.
    #[inline(always)]
    pub fn established(&self) -> Option<Hold> {
        Hold::from_word(self.established.load())
    }

    /// Puts a half pin where `old` was (0 for none). `false`: another processor put one there first.
    #[inline(always)]
    pub fn put_half(&self, old: u64, hold: Hold) -> bool {
        self.half.compare_exchange(old, hold.0) == old
    }

    /// Stamps the half pin: its SYN came again. `false`: it is gone.
    #[inline(always)]
    pub fn repeat(&self, half: Hold, seconds: u32) -> bool {
        let new = half.stamped(seconds);
        if new == half {
            return true;
        }
        let seen = self.half.compare_exchange(half.0, new.0);
        seen == half.0 || Hold::from_word(seen).is_some_and(|seen| seen.isn() == half.isn())
    }

    /// Marks the half pin as matched.
    #[inline(always)]
    pub fn mark_matched(&self, half: Hold) {
        if !half.matched() {
            self.half.compare_exchange(half.0, half.with_match().0);
        }
    }

    /// Makes the half pin the established one. If another processor marks it meanwhile, the half pin
    /// stays beside its twin, which changes nothing, and the next reply clears it.
    #[inline(always)]
    pub fn promote(&self, half: Hold) {
        self.established.store(half.0);
        self.half.compare_exchange(half.0, 0);
    }

    /// Where replies do not come this way, the first packet in a half pin's window takes their part: its connection is
    /// the established one from now on, with the highest sequence number seen in the place of the first. The half pin
    /// stays, because it knows the first.
    #[inline(always)]
    pub fn take_up(&self, half: Hold, sequence: u32) {
        let old = self.established.load();
        // If another packet was first, the next one does this.
        if self.established.compare_exchange(old, half.at(sequence).0) == old {
            self.mark_matched(half);
        }
    }

    /// Moves the window of such a connection on.
    #[inline(always)]
    pub fn keep_up(&self, sequence: u32) {
        if let Some(hold) = self.established()
            && hold.lags(sequence)
        {
            self.established.compare_exchange(hold.0, hold.at(sequence).0);
        }
    }

    /// Keeps the meta word up to date; writes only what changed. Of two packets that write at once one leaves
    /// its stamp, which serves both. `false`: the agent has given the pin up.
    #[inline(always)]
    pub fn touch(&self, update: impl FnOnce(Meta) -> Meta) -> bool {
        let old = self.meta.load();
        let new = update(Meta(old)).0;
        let seen = if new == old { old } else { self.meta.compare_exchange(old, new) };
        !Meta(seen).given_up()
    }

    /// Whether the agent has given the pin up.
    #[inline(always)]
    pub fn given_up(&self) -> bool {
        Meta(self.meta.load()).given_up()
    }

    /// The agent gives the pin up, unless it has been touched since its meta word was `old`.
    pub fn give_up(&self, old: Meta) -> bool {
        self.meta.compare_exchange(old.0, old.give_up().0) == old.0
    }
}

/// The pin of a flow, if it holds anything.
#[inline(always)]
pub fn find<'t, T: Tables>(tables: &'t T, flow: &Flow) -> Option<&'t Pin<T::Word>> {
    let node = tables.node();
    if node.no_pins != 0 {
        return None;
    }
    let [first, second] = flow.buckets(node.pin_mask);
    let first = tables.pins(first)?;
    let second = tables.pins(second)?;
    // The second bucket is asked for before the first is searched, so that the misses overlap.
    let ahead = second[0].tag.load();
    let pin = match position(first, flow) {
        Some(pin) => pin,
        None if ahead == flow.tag => &second[0],
        None => position(second, flow)?,
    };
    if pin.half.load() | pin.established.load() == 0 { None } else { Some(pin) }
}

/// The pin of a bucket that carries the flow's tag. Written out: the verifier does not see the end of a
/// loop over them.
#[inline(always)]
fn position<'t, W: Word>(bucket: &'t Bucket<W>, flow: &Flow) -> Option<&'t Pin<W>> {
    let [a, b, c, d] = bucket;
    if a.tag.load() == flow.tag {
        Some(a)
    } else if b.tag.load() == flow.tag {
        Some(b)
    } else if c.tag.load() == flow.tag {
        Some(c)
    } else if d.tag.load() == flow.tag {
        Some(d)
    } else {
        None
    }
}

/// Puts a new pin into a bucket. `false`: there is no room.
#[inline(always)]
fn claim<W: Word>(bucket: &Bucket<W>, flow: &Flow, half: Hold, meta: Meta) -> bool {
    // Flows with another lock claim in the same buckets.
    let take = |pin: &Pin<W>| {
        let taken = pin.tag.load() == 0 && pin.tag.compare_exchange(0, flow.tag) == 0;
        if taken {
            pin.meta.store(meta.0);
            pin.half.store(half.0);
        }
        taken
    };
    let [a, b, c, d] = bucket;
    take(a) || take(b) || take(c) || take(d)
}

/// Free pins of a bucket.
#[inline(always)]
fn free<W: Word>(bucket: &Bucket<W>) -> u8 {
    let [a, b, c, d] = bucket;
    let free = |pin: &Pin<W>| u8::from(pin.tag.load() == 0);
    free(a) + free(b) + free(c) + free(d)
}

/// What became of an insertion.
#[derive(Debug)]
pub enum Inserted<'t, W> {
    /// A new pin holds the half.
    New,
    /// The flow has a pin already: another processor was first.
    Found(&'t Pin<W>),
    /// There is no room.
    NoRoom,
    /// Another processor is at it.
    Busy,
}

/// Makes a pin for a flow that [`find`] did not know. Two processors that see the same new flow agree on
/// one pin: search and claim happen under the flow's lock. The agent frees pins without it, which can
/// only make more room: a tag that it has buried never comes back.
#[inline(always)]
pub fn insert<'t, T: Tables>(tables: &'t T, flow: &Flow, half: Hold, meta: Meta) -> Inserted<'t, T::Word> {
    let node = tables.node();
    if node.no_pins != 0 {
        return Inserted::NoRoom;
    }
    let [first, second] = flow.buckets(node.pin_mask);
    let (Some(first), Some(second)) = (tables.pins(first), tables.pins(second)) else {
        return Inserted::NoRoom;
    };
    let Some(lock) = tables.pin_lock((flow.hash >> 16) as u32 & (LOCKS - 1)) else {
        return Inserted::NoRoom;
    };
    let mut tries = 0;
    while lock.compare_exchange(0, 1) != 0 {
        tries += 1;
        if tries == LOCK_TRIES {
            return Inserted::Busy;
        }
    }
    let inserted = insert_locked(flow, half, meta, first, second);
    lock.compare_exchange(1, 0);
    inserted
}

#[inline(always)]
fn insert_locked<'t, W: Word>(
    flow: &Flow,
    half: Hold,
    meta: Meta,
    first: &'t Bucket<W>,
    second: &'t Bucket<W>,
) -> Inserted<'t, W> {
    if let Some(pin) = position(first, flow).or_else(|| position(second, flow)) {
        return Inserted::Found(pin);
    }
    // The emptier bucket first: that is what makes two choices as good as they are.
    let (a, b) = if free(first) >= free(second) { (first, second) } else { (second, first) };
    if claim(a, flow, half, meta) || claim(b, flow, half, meta) { Inserted::New } else { Inserted::NoRoom }
}
