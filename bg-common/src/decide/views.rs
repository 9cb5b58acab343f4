//! Views: another look at the same backends. A preview VIP and the clients that are testers are led to the
//! environment that is not live, and a service may share its backends' endpoints with another one. None of their
//! flows can be told by base, or by the endpoint that answers: what tells it is a pin, in every phase.
//!
//! ```text
//! a packet of a service that pins every flow (a preview is one):
//!   as while pins count, in STEADY too, but RECENT is not asked, and nothing goes by base:
//!   a SYN for which there is no room, and whatever else has no pin, is refused
//! a packet of a service with testers:
//!   tester: as while pins count, in STEADY too; its new connections are pinned to the idle ring, base or not
//!   former tester: as while pins count, in STEADY too
//!   anybody else: as ever
//! a new connection to the environment that is sealed: dropped, as any other
//! clearing leaves such pins alone; they last as long as their flows
//! a reply from an endpoint that services share:
//!   of the services that pin every flow, the one under which the flow has a pin of this backend that fits
//!   otherwise the one that has no pins in STEADY, or the first
//! ```
//!
//! A tag names the service, so that a reply to one service's flow never meets a pin of another's.

use super::datagram::NO_ISN;
use super::{Segment, Sender, Situation};
use crate::abi::{Address, BackendId, Endpoint, tester, views};
use crate::control::{Environment, Phase};
use crate::flow::Flow;
use crate::meta::Meta;
use crate::pin::{self, Hold, Pin};
use crate::reason::Reason;
use crate::service::Directory;
use crate::tables::{Tables, Word};
use crate::{recent, ring};

/// How a packet's client, or its service, is looked at: a set of bits, which decide without a branch where they can,
/// because the verifier goes through what follows once for every branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View(u32);

/// Pins count in every phase.
const LOOKS: u32 = 1;
/// New connections are pinned whatever base says, and stay pinned.
const KEEPS: u32 = 2;
/// New connections go by the idle ring.
const IDLE: u32 = 4;
/// Nothing goes without a pin.
const ALL: u32 = 8;

impl View {
    /// By base, and by pins while they count.
    pub const ORDINARY: Self = Self(0);
    /// Was a tester: the connections of that time are pinned, new ones are as anybody's.
    pub const FORMER: Self = Self(LOOKS);
    /// A tester.
    pub const TESTER: Self = Self(LOOKS | KEEPS | IDLE);
    /// Its service pins every flow.
    pub const PINNED: Self = Self(LOOKS | KEEPS | ALL);

    /// The view of a client of a service with these bits of [`views`].
    #[inline(always)]
    pub fn of<T: Tables>(tables: &T, bits: u8, deployment: u16, client: &Address) -> Self {
        if bits & views::PINNED != 0 {
            return Self::PINNED;
        }
        if bits & views::TESTERS == 0 {
            return Self::ORDINARY;
        }
        match tables.tester(deployment, client) {
            tester::NOW => Self::TESTER,
            tester::ONCE => Self::FORMER,
            _ => Self::ORDINARY,
        }
    }

    /// From its number.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// To be written down.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// New connections are pinned whatever base says.
    #[inline(always)]
    pub(super) const fn keeps(self) -> bool {
        self.0 & KEEPS != 0
    }

    /// Whether nothing goes without a pin.
    #[inline(always)]
    pub(super) const fn pins_all(self) -> bool {
        self.0 & ALL != 0
    }

    /// Whether pins count in this phase.
    #[inline(always)]
    pub(super) const fn looks(self, phase: Phase) -> bool {
        match phase {
            Phase::Off => false,
            Phase::Steady => self.0 & LOOKS != 0,
            Phase::Drain | Phase::Seal => true,
        }
    }

    /// The word of a pin, which is kept if the view says so.
    #[inline(always)]
    pub(super) const fn mark(self, meta: Meta) -> Meta {
        meta.kept_by(self.0 / KEEPS)
    }
}

/// How the view of a packet is known.
pub trait Look {
    /// Whether there is anything but [`View::ORDINARY`].
    const VIEWS: bool;

    /// The view. It is asked for where it matters, and not held.
    fn view(&self) -> View;
}

/// That of a service without views: nothing is left of it when the program is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Ordinary;

impl Look for Ordinary {
    const VIEWS: bool = false;

    #[inline(always)]
    fn view(&self) -> View {
        View::ORDINARY
    }
}

impl<F: Fn() -> View> Look for F {
    const VIEWS: bool = true;

    #[inline(always)]
    fn view(&self) -> View {
        self()
    }
}

impl<T: Tables, L: Look> Situation<'_, T, L> {
    /// The backend for a new connection that is going to be pinned.
    #[inline(always)]
    pub(super) fn fresh(&self) -> Result<BackendId, Reason> {
        let slot = self.control.current().slot;
        if !L::VIEWS {
            return self.ring(slot);
        }
        let idle = (self.look.view().0 / IDLE) & 1;
        let backend =
            ring::either(self.tables, self.service, idle, slot, self.slot).ok_or(Reason::NoBackend)?;
        // What is current is never sealed; what a view leads to may be.
        if let Some(sealed) = self.sealed() {
            let known = self.tables.backend(backend).ok_or(Reason::NoBackend)?;
            if Environment::from_bit(known.environment) == sealed {
                return Err(Reason::Sealed);
            }
        }
        Ok(backend)
    }

    /// Where a packet without a pin goes, unless there is no such thing.
    #[inline(always)]
    pub(super) fn unpinned(&self) -> Result<(), Reason> {
        if self.look.view().pins_all() { Err(Reason::NoPin) } else { Ok(()) }
    }

    /// Whether base says the same of a new connection, so that it takes no pin.
    #[inline(always)]
    pub(super) fn as_base(&self, backend: BackendId) -> bool {
        (self.base() == Ok(backend)) & !self.look.view().keeps()
    }

    /// Whether the memory of `RECENT` has a flow that may go by base.
    #[inline(always)]
    pub(super) fn is_recent(&self, isn: u32) -> bool {
        recent::has(self.tables, self.service.deployment, self.flow, isn) & !self.look.view().pins_all()
    }
}

/// In whose name a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// The backend, and the service that it speaks for.
    pub sender: Sender,
    /// The address that its client asked.
    pub vip: Address,
    /// Its port.
    pub port: [u8; 2],
    /// Bits of [`views`] of the service.
    pub views: u8,
}

impl Voice {
    /// That of an endpoint which only one service has, or which no pin tells otherwise.
    #[must_use]
    #[inline(always)]
    pub const fn of(endpoint: &Endpoint) -> Self {
        Self {
            sender: Sender {
                deployment: endpoint.deployment,
                service: endpoint.service,
                environment: Environment::from_bit(endpoint.environment),
                backend: endpoint.backend,
            },
            vip: endpoint.vip,
            port: endpoint.vip_port,
            views: endpoint.views,
        }
    }
}

/// In whose name a packet comes from an endpoint that services share. `segment` is none for a datagram.
#[inline(always)]
pub fn answering<T: Tables + Directory>(
    tables: &T,
    endpoint: &Endpoint,
    segment: Option<&Segment>,
    flow: impl Fn(u16) -> Flow,
) -> Voice {
    let own = flow(endpoint.service);
    if endpoint.views & views::PINNED != 0 {
        if answers(tables, &own, endpoint.backend, segment) {
            return Voice::of(endpoint);
        }
    } else if segment.is_none() && recent::has(tables, endpoint.deployment, &own, NO_ISN) {
        // Nothing in a datagram tells whose it is. This flow is known to live.
        return Voice::of(endpoint);
    }
    for other in &endpoint.others {
        if other.service == 0 {
            break;
        }
        let Some(service) = tables.service(u32::from(other.service) - 1) else { break };
        let Some(backend) = tables.backend(other.backend) else { break };
        if answers(tables, &flow(service.id), other.backend, segment) {
            return Voice {
                sender: Sender {
                    deployment: service.deployment,
                    service: service.id,
                    environment: Environment::from_bit(backend.environment),
                    backend: other.backend,
                },
                vip: service.vip,
                port: service.port,
                views: views::PINNED,
            };
        }
    }
    Voice::of(endpoint)
}

/// Whether a backend's packet belongs to the connection that a flow's pin holds.
///
/// A half pin is nobody's word but the client's, and anybody may forge that: its connection is told by the number
/// that the backend acknowledges, as when it is promoted. An established one was confirmed by the backend; but a
/// backend that accepts a connection with another number has no longer the one that is pinned, whatever has become of
/// it, so that the pin is given up.
#[inline(always)]
fn answers<T: Tables>(tables: &T, flow: &Flow, backend: BackendId, segment: Option<&Segment>) -> bool {
    let Some(pin) = pin::find(tables, flow) else { return false };
    if pin.given_up() {
        return false;
    }
    let its = |hold: Option<Hold>| hold.filter(|hold| hold.backend() == backend);
    let (half, established) = (its(pin.half()), its(pin.established()));
    let Some(segment) = segment else { return half.is_some() || established.is_some() };
    let number = segment.acknowledgement;
    if half.is_some_and(|half| half.covers(number)) {
        return true;
    }
    let Some(established) = established else { return false };
    if segment.syn && segment.ack && number.wrapping_sub(1) != established.isn() {
        forsake(pin);
        return false;
    }
    true
}

/// Gives a pin up, as the agent does; it buries it.
#[inline(always)]
fn forsake<W: Word>(pin: &Pin<W>) {
    pin.touch(Meta::give_up);
}
