//! UDP. A datagram says nothing of where a flow begins, so that the memory of `RECENT` says it: a tuple that it
//! knows was there before the switch and belongs to base, one that it does not know is new. Without flow affinity
//! every datagram stands for itself and goes to current.

use super::views::Look;
use super::{Route, Segment, Sender, Situation};
use crate::abi::{BackendId, NO_BACKEND, Service, affinity};
use crate::census;
use crate::control::{Environment, Phase};
use crate::flow::Flow;
use crate::meta::{Direction, Meta};
use crate::pin::{self, Hold, Inserted};
use crate::reason::Reason;
use crate::tables::Tables;

/// What pins and `RECENT` keep in the place of a first sequence number.
pub(super) const NO_ISN: u32 = 0;

/// Where a client's datagram goes.
///
/// # Errors
/// The reason why it goes nowhere.
#[inline(always)]
pub fn forward<T: Tables>(
    tables: &T,
    look: impl Look,
    service: &Service,
    flow: &Flow,
) -> Result<Route, Reason> {
    let control = tables.control(service.deployment);
    let slot = super::slot(tables, service, flow);
    let here = Situation { tables, service, flow, segment: &Segment::ACK, look, control, slot };
    let phase = control.phase();
    if phase == Phase::Off {
        return Err(Reason::NotReady);
    }
    if service.affinity & affinity::FLOW == 0 {
        return Ok(Route { backend: here.fresh()?, overflow: false });
    }
    if !here.look.view().looks(phase) {
        here.entered(control.base().environment);
        here.remember();
        return Ok(Route { backend: here.base()?, overflow: false });
    }
    here.datagram()
}

/// Takes note of a backend's datagram to a client.
#[inline(always)]
pub fn reply<T: Tables>(tables: &T, look: &impl Look, sender: Sender, flow: &Flow) {
    let Sender { deployment, service, environment, backend } = sender;
    let control = tables.control(deployment);
    if !look.view().looks(control.phase()) {
        return;
    }
    if let Some(pin) = pin::find(tables, flow)
        && held(pin).is_some_and(|hold| hold.backend() == backend)
    {
        pin.touch(|meta| meta.seen(tables.seconds(), Direction::Return, &Segment::ACK));
    }
    if control.leaves(environment) {
        let new = Meta::new(0, service, environment as u16);
        census::note(tables, deployment, flow, new, Direction::Return, &Segment::ACK);
    }
}

/// A datagram is no half of anything: what a new pin holds counts at once.
#[inline(always)]
fn held<W: crate::tables::Word>(pin: &pin::Pin<W>) -> Option<Hold> {
    pin.established().or_else(|| pin.half())
}

impl<T: Tables, L: Look> Situation<'_, T, L> {
    /// A datagram with flow affinity while pins count.
    #[inline(always)]
    fn datagram(&self) -> Result<Route, Reason> {
        let mut overflow = false;
        let mut pinned = NO_BACKEND;
        let known = self.is_recent(NO_ISN);
        if let Some(pin) = pin::find(self.tables, self.flow) {
            if let Some((hold, _)) = self.living(held(pin))
                && self.seen(pin)
            {
                if let Some(half) = pin.half() {
                    pin.promote(half);
                }
                pinned = hold.backend();
            }
        } else if !known {
            (pinned, overflow) = self.begin()?;
        }
        if pinned == NO_BACKEND {
            self.unpinned()?;
        }
        if known || pinned == NO_BACKEND {
            // In every phase: it is what tells it from a new one at the next switch.
            self.remember();
        }
        let (backend, environment) = if pinned == NO_BACKEND {
            let base = self.control.base().environment;
            if !known && self.sealed() == Some(base) {
                return Err(Reason::Sealed);
            }
            (self.base()?, base)
        } else {
            let known = self.tables.backend(pinned).ok_or(Reason::NoBackend)?;
            (pinned, Environment::from_bit(known.environment))
        };
        if !known {
            self.entered(environment);
        }
        self.note(environment);
        Ok(Route { backend, overflow })
    }

    /// The first datagram of a flow: its pinned backend, or that there is none because base says the same or
    /// because there is no room.
    #[inline(always)]
    fn begin(&self) -> Result<(BackendId, bool), Reason> {
        let backend = self.fresh()?;
        if self.as_base(backend) {
            return Ok((NO_BACKEND, false));
        }
        let seconds = self.tables.seconds();
        let hold = Hold::new(NO_ISN, backend, seconds);
        let meta = self.meta(seconds);
        match pin::insert(self.tables, self.flow, hold, meta) {
            Inserted::New => Ok((backend, false)),
            // Another processor was first, and meant the same or an older ring.
            Inserted::Found(pin) => Ok((held(pin).map_or(NO_BACKEND, Hold::backend), pin.given_up())),
            Inserted::NoRoom => Ok((NO_BACKEND, true)),
            Inserted::Busy => Err(Reason::PinBusy),
        }
    }
}
