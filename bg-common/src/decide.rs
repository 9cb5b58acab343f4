//! The rule: where a packet goes. Pure over [`Tables`]; the kernel program, the agent, the tests and the
//! model checker run this same code.
//!
//! A connection with no state belongs to base. Only connections opened since a switch need a pin. When a
//! pin cannot be written, the connection goes to base.

use crate::abi::{self, BackendId, Service, affinity, live};
use crate::census;
use crate::control::{Control, Environment, Phase};
use crate::flow::Flow;
use crate::meta::{Direction, Meta};
use crate::mutant::Mutant;
use crate::pin::{self, Hold, Pin};
use crate::reason::Reason;
use crate::recent;
use crate::ring;
use crate::tables::{Tables, Word};

pub mod datagram;
mod open;
pub mod views;

use self::views::{Look, View};

/// IP protocol number of UDP.
const UDP: u8 = 17;

/// What the rule needs to know of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the bits of the TCP header")]
pub struct Segment {
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// It carries data.
    pub payload: bool,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
}

impl Segment {
    /// A bare acknowledgement.
    pub const ACK: Self = Self {
        syn: false,
        ack: true,
        fin: false,
        rst: false,
        payload: false,
        sequence: 0,
        acknowledgement: 0,
    };

    /// It asks for a new connection.
    #[must_use]
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.syn && !self.ack
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its backend.
    pub backend: BackendId,
    /// It opens a connection that went to base because no pin could be written.
    pub overflow: bool,
}

/// What every branch of the rule looks at.
struct Situation<'a, T, L> {
    tables: &'a T,
    service: &'a Service,
    flow: &'a Flow,
    segment: &'a Segment,
    look: L,
    control: Control,
    slot: u32,
}

/// Who sends to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Index of its deployment.
    pub deployment: u16,
    /// Number of its service.
    pub service: u16,
    /// Its environment.
    pub environment: Environment,
    /// Which backend.
    pub backend: BackendId,
}

/// Where a client's segment goes.
///
/// # Errors
/// The reason why it goes nowhere.
#[inline(always)]
pub fn forward<T: Tables>(
    tables: &T,
    look: impl Look,
    service: &Service,
    flow: &Flow,
    segment: &Segment,
) -> Result<Route, Reason> {
    let control = tables.control(service.deployment);
    let slot = slot(tables, service, flow);
    let here = Situation { tables, service, flow, segment, look, control, slot };
    let backend = match control.phase() {
        Phase::Off => return Err(Reason::NotReady),
        Phase::Steady if !here.look.view().looks(Phase::Steady) => {
            if segment.opens() {
                here.entered(control.base().environment);
                here.remember();
            }
            if tables.mutated(Mutant::TwoWords) {
                here.ring(tables.control(service.deployment).current().slot)?
            } else {
                here.base()?
            }
        }
        Phase::Steady | Phase::Drain | Phase::Seal if segment.opens() => return here.open(),
        Phase::Steady | Phase::Drain | Phase::Seal => here.follow()?,
    };
    Ok(Route { backend, overflow: false })
}

/// Takes note of a backend's segment to a client: promotes the half pin that it answers, keeps pins and
/// census up to date. It never changes where the segment goes.
#[inline(always)]
pub fn reply<T: Tables>(tables: &T, look: &impl Look, sender: Sender, flow: &Flow, segment: &Segment) {
    let Sender { deployment, service, environment, backend } = sender;
    let control = tables.control(deployment);
    if !look.view().looks(control.phase()) {
        return;
    }
    if let Some(pin) = pin::find(tables, flow) {
        let any = tables.mutated(Mutant::PromotionByAny);
        let half = pin.half().filter(|half| half.backend() == backend || any);
        let its = half.is_some() || pin.established().is_some_and(|hold| hold.backend() == backend);
        if its
            && pin.touch(|meta| meta.seen(tables.seconds(), Direction::Return, segment))
            && let Some(half) = half
            && !segment.syn
            && !segment.rst
            && covers(tables, half, segment.acknowledgement)
        {
            pin.promote(half);
            if tables.mutated(Mutant::PromotionForgetsIsn) {
                pin.established.store(Hold::new(0, half.backend(), tables.seconds()).0);
            }
        }
    }
    if control.leaves(environment) {
        let new = Meta::new(0, service, environment as u16);
        census::note(tables, deployment, flow, new, Direction::Return, segment);
    }
}

/// The ring slot of a flow: by its tuple, or by its client's address alone. Pins and the SYN memory go by the tuple
/// either way.
#[inline(always)]
fn slot<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> u32 {
    let by_source = service.affinity & affinity::SOURCE != 0;
    let hash = if by_source { flow.source_hash(&tables.node().key) } else { flow.hash };
    ring::slot(hash, service.ring_size)
}

/// The backend that a flow belongs to, for messages about it. It changes nothing.
///
/// # Errors
/// The reason why there is none.
#[inline(always)]
pub fn owner<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Result<BackendId, Reason> {
    let control = tables.control(service.deployment);
    let slot = slot(tables, service, flow);
    let view = if service.views & abi::views::PINNED == 0 { View::ORDINARY } else { View::PINNED };
    let here = Situation { tables, service, flow, segment: &Segment::ACK, look: || view, control, slot };
    match control.phase() {
        Phase::Off => return Err(Reason::NotReady),
        Phase::Steady if service.views == 0 => {}
        // Datagrams that stand for themselves.
        _ if service.protocol == UDP && service.affinity & affinity::FLOW == 0 => {
            return here.ring(control.current().slot);
        }
        // An established connection before one that may become it.
        Phase::Steady | Phase::Drain | Phase::Seal => {
            if let Some(pin) = pin::find(tables, flow)
                && let Some((hold, _)) = here.living(pin.established()).or_else(|| here.living(pin.half()))
            {
                return Ok(here.held(hold));
            }
        }
    }
    here.unpinned()?;
    here.base()
}

/// [`Hold::covers`], and how it could be wrong.
#[inline(always)]
fn covers<T: Tables>(tables: &T, half: Hold, number: u32) -> bool {
    if tables.mutated(Mutant::WindowWithoutIsn) {
        return half.covers(number) && number != half.isn();
    }
    half.covers(number) || tables.mutated(Mutant::NoWindow)
}

impl<T: Tables, L: Look> Situation<'_, T, L> {
    #[inline(always)]
    fn ring(&self, ring: u8) -> Result<BackendId, Reason> {
        ring::backend(self.tables, self.service, ring, self.slot).ok_or(Reason::NoBackend)
    }

    #[inline(always)]
    fn base(&self) -> Result<BackendId, Reason> {
        self.ring(self.control.base().slot)
    }

    /// The backend that a pin holds.
    #[inline(always)]
    fn held(&self, hold: Hold) -> BackendId {
        if self.tables.mutated(Mutant::PinHoldsRing) {
            return self.ring(self.control.current().slot).unwrap_or(hold.backend());
        }
        hold.backend()
    }

    /// The environment in which nothing may open now.
    #[inline(always)]
    fn sealed(&self) -> Option<Environment> {
        match self.control.phase() {
            Phase::Seal if self.control.sealed(self.tables.ticks()) => Some(self.control.leaving()),
            _ => None,
        }
    }

    /// The environment of a backend whose pins hold; `None` for a dead one, whose pins are void.
    #[inline(always)]
    fn alive(&self, backend: BackendId) -> Option<Environment> {
        let backend = self.tables.backend(backend)?;
        if self.tables.read(&backend.dead) != 0 {
            return None;
        }
        Some(Environment::from_bit(backend.environment))
    }

    /// What a pin holds, unless it is void, and the environment that it leads to.
    #[inline(always)]
    fn living(&self, hold: Option<Hold>) -> Option<(Hold, Environment)> {
        let hold = hold?;
        Some((hold, self.alive(self.held(hold))?))
    }

    /// Any segment but a SYN while pins count.
    #[inline(always)]
    fn follow(&self) -> Result<BackendId, Reason> {
        if let Some(pin) = pin::find(self.tables, self.flow) {
            let half = pin.half().filter(|half| covers(self.tables, *half, self.segment.sequence));
            if let Some((hold, environment)) = self.living(half).or_else(|| self.living(pin.established()))
                && (half == Some(hold) || self.follows(hold))
                && self.seen(pin)
            {
                if half == Some(hold) {
                    self.matched(pin, hold);
                } else if self.service.direct() {
                    pin.keep_up(self.segment.sequence);
                }
                self.note(environment);
                return Ok(self.held(hold));
            }
        }
        self.unpinned()?;
        if self.tables.mutated(Mutant::MissToCurrent) {
            return self.ring(self.control.current().slot);
        }
        let backend = self.base()?;
        self.note(self.control.base().environment);
        Ok(backend)
    }

    /// Whether the established connection can have sent this. Where replies come this way they have said so.
    #[inline(always)]
    fn follows(&self, established: Hold) -> bool {
        !self.service.direct() || established.follows(self.segment.sequence)
    }

    /// A half pin has covered a packet.
    #[inline(always)]
    fn matched(&self, pin: &Pin<T::Word>, half: Hold) {
        if half.matched() {
            if self.service.direct() {
                pin.keep_up(self.segment.sequence);
            }
        } else if self.service.direct() {
            pin.take_up(half, self.segment.sequence);
        } else {
            pin.mark_matched(half);
        }
    }

    /// Remembers that this SYN goes to base.
    #[inline(always)]
    fn remember(&self) {
        recent::add(self.tables, self.service.deployment, self.flow, self.segment.sequence);
    }

    /// Notes when a SYN was last sent into an environment.
    #[inline(always)]
    fn entered(&self, environment: Environment) {
        if let Some(line) = self.tables.deployment(self.service.deployment) {
            let stamp = &line[live::LAST_SYN + environment as usize];
            let now = u64::from(self.tables.seconds());
            if stamp.load() != now {
                stamp.store(now);
            }
        }
    }

    /// Before a pin is used: it lives on. `false`: it does not.
    #[inline(always)]
    fn seen(&self, pin: &Pin<T::Word>) -> bool {
        pin.touch(|meta| {
            let meta = meta.seen(self.tables.seconds(), Direction::Forward, self.segment);
            self.look.view().mark(meta)
        })
    }

    /// Counts the flow if it belongs to the environment that is being left.
    #[inline(always)]
    fn note(&self, environment: Environment) {
        if self.control.leaves(environment) {
            let new = Meta::new(0, self.service.id, environment as u16).one_way(self.service.direct());
            census::note(
                self.tables,
                self.service.deployment,
                self.flow,
                new,
                Direction::Forward,
                self.segment,
            );
        }
    }
}

#[cfg(test)]
mod tests;
