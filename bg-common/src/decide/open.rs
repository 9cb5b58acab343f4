//! A SYN while pins count: where a new connection goes, and how its later packets will know.

use super::views::Look;
use super::{Route, Situation};
use crate::abi::{BackendId, NO_BACKEND};
use crate::control::Environment;
use crate::meta::Meta;
use crate::mutant::Mutant;
use crate::pin::{self, Hold, Inserted, Pin};
use crate::reason::Reason;
use crate::recent;
use crate::tables::{Tables, Word};

/// How a SYN finds its backend. No enum: the verifier refuses a program that so much as masks a field that one
/// of the ways has left out.
struct Way {
    /// The one that a pin holds; [`NO_BACKEND`] is by base.
    pinned: BackendId,
    /// By base for want of a pin.
    overflow: bool,
}

impl Way {
    const BASE: Self = Self { pinned: NO_BACKEND, overflow: false };
    const OVERFLOW: Self = Self { pinned: NO_BACKEND, overflow: true };

    #[inline(always)]
    const fn pinned(pinned: BackendId) -> Self {
        Self { pinned, overflow: false }
    }
}

impl<T: Tables, L: Look> Situation<'_, T, L> {
    /// A SYN while pins count.
    #[inline(always)]
    pub(super) fn open(&self) -> Result<Route, Reason> {
        let sealed = self.sealed();
        let Way { pinned, overflow } = self.way(sealed)?;
        let (backend, environment) = if pinned == NO_BACKEND {
            self.unpinned()?;
            let environment = self.control.base().environment;
            if sealed == Some(environment) {
                return Err(Reason::Sealed);
            }
            let backend = self.base()?;
            self.remember();
            (backend, environment)
        } else {
            // By the backend, because a current ring may lead to both environments.
            let known = self.tables.backend(pinned).ok_or(Reason::NoBackend)?;
            (pinned, Environment::from_bit(known.environment))
        };
        self.entered(environment);
        self.note(environment);
        Ok(Route { backend, overflow })
    }

    /// The meta word of a new pin.
    #[inline(always)]
    pub(super) fn meta(&self, seconds: u32) -> Meta {
        let meta = Meta::new(seconds, self.service.id, self.slot as u16).one_way(self.service.direct());
        self.look.view().mark(meta)
    }

    #[inline(always)]
    fn way(&self, sealed: Option<Environment>) -> Result<Way, Reason> {
        let isn = self.segment.sequence;
        let pin = pin::find(self.tables, self.flow);
        if let Some(pin) = pin {
            let half = pin.half();
            let its = |hold: Option<Hold>| self.living(hold.filter(|hold| hold.isn() == isn));
            // Where replies do not come this way, the half pin alone knows the first sequence number.
            if let Some((hold, environment)) = its(half).or_else(|| its(pin.established()))
                && (half == Some(hold) || !self.service.direct())
            {
                if sealed == Some(environment) {
                    return Err(Reason::Sealed);
                }
                if !self.seen(pin) {
                    return Ok(Way::OVERFLOW);
                }
                if half == Some(hold) && !pin.repeat(hold, self.tables.seconds()) {
                    return Err(Reason::PinBusy);
                }
                return Ok(Way::pinned(self.held(hold)));
            }
        }
        if self.is_recent(isn) {
            return Ok(Way::BASE);
        }
        let pin = if let Some(pin) = pin {
            pin
        } else {
            let backend = self.fresh()?;
            // Where both rings agree, a pin would say what base says: a change inside an environment, or a
            // canary step, needs pins for the slots that it moves and no others.
            if self.as_base(backend) {
                return Ok(Way::BASE);
            }
            let seconds = self.tables.seconds();
            let half = Hold::new(isn, backend, seconds);
            let meta = self.meta(seconds);
            match pin::insert(self.tables, self.flow, half, meta) {
                Inserted::New => return Ok(Way::pinned(backend)),
                Inserted::Found(pin) if self.tables.mutated(Mutant::InsertionOverwrites) => {
                    pin.half.store(half.0);
                    return Ok(Way::pinned(backend));
                }
                Inserted::Found(pin) => pin,
                Inserted::NoRoom if self.tables.mutated(Mutant::OverflowToCurrent) => {
                    return Ok(Way::pinned(backend));
                }
                Inserted::NoRoom => return Ok(Way::OVERFLOW),
                Inserted::Busy => return Err(Reason::PinBusy),
            }
        };
        self.way_in_place(pin)
    }

    /// For a SYN with a new sequence number whose flow has a pin.
    #[inline(always)]
    fn way_in_place(&self, pin: &Pin<T::Word>) -> Result<Way, Reason> {
        let isn = self.segment.sequence;
        let old = pin.half();
        let backend = if let Some(half) = old
            && self.alive(half.backend()).is_some()
            && !(self.tables.mutated(Mutant::NewerHalfReplaces) && half.isn() != isn)
            && !self.succeeds(half)
        {
            if self.tables.mutated(Mutant::SecondHalfToBase) && half.isn() != isn {
                return Ok(Way::OVERFLOW);
            }
            // Another processor put the same SYN there just now.
            if half.isn() == isn { half.backend() } else { NO_BACKEND }
        } else {
            let backend = self.fresh()?;
            // The stamp first, so that the agent does not take an old pin away from under the new half.
            self.seen(pin);
            let half = Hold::new(isn, backend, self.tables.seconds());
            if let Some(old) = old
                && self.service.direct()
            {
                // A copy of its SYN that comes late must find nothing to change.
                recent::add(self.tables, self.service.deployment, self.flow, old.isn());
            }
            if pin.put_half(old.map_or(0, |hold| hold.0), half) {
                if self.tables.mutated(Mutant::SynOverwrites) {
                    pin.established.store(half.0);
                }
                backend
            } else {
                // Another SYN was first.
                pin.half().filter(|half| half.isn() == isn).map_or(NO_BACKEND, Hold::backend)
            }
        };
        // A look at the meta word after the exchange of the half: the agent, clearing, gives a pin up first
        // and then looks at what it holds. Whichever comes first, the other sees it.
        if pin.given_up() {
            return Ok(Way::OVERFLOW);
        }
        if backend == NO_BACKEND { Err(Reason::PinBusy) } else { Ok(Way::pinned(backend)) }
    }

    /// Whether a new connection may take the place of this half pin: where replies do not come this way it stays as long
    /// as its connection, whose packets go by the established pin when it is gone.
    #[inline(always)]
    fn succeeds(&self, half: Hold) -> bool {
        self.service.direct() && half.matched() && half.isn() != self.segment.sequence
    }
}
