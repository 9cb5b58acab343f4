//! Who carries out a step of a state: the functions of the rule over plain memory, or the program in the
//! kernel and the agent's procedures over its maps.

use std::rc::Rc;

use bg_common::abi::{BackendId, Service};
use bg_common::census::{self, CensusSummary};
use bg_common::clear::{self, Lifetimes, PinSummary, Pins};
use bg_common::control::{Control, Environment};
use bg_common::decide::views::{View, answering};
use bg_common::decide::{self, Segment, Sender};
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use bg_common::recent;
use bg_common::tables::{Tables, seconds};

use super::setup::{self, HORIZON, IDLE, SYN_LIFETIME, Setup};
use super::slate::{self, Slate};
use super::state::{State, environment};

/// A packet, as the node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its flow.
    pub flow: Flow,
    /// 0 for the client, 1 for the other one.
    pub client: u8,
    /// The backend that sends it; `None` for a client.
    pub from: Option<BackendId>,
    /// Its headers.
    pub segment: Segment,
}

/// Where a packet went; replies go to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Went {
    /// The backend, or why nowhere.
    pub to: Result<BackendId, Reason>,
    /// How often it looked at the control word, where that can be seen.
    pub looks: u32,
}

/// A procedure of the agent over the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Expire pins, up to the grace period.
    Expire,
    /// Clear pins, up to the grace period.
    Clear,
    /// Empty what is buried.
    Exhume,
    /// Rotate the SYN memory.
    Rotate,
    /// Look how many connections an environment has.
    Count(Environment),
    /// Count pins as they would be under this word.
    Summary(Control),
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Pins are buried, and wait for a grace period.
    pub buried: bool,
    /// Flows of the environment that is being left.
    pub census: CensusSummary,
    /// Pins.
    pub pins: PinSummary,
}

/// See above.
pub trait Machine {
    /// A packet that has read the control word `read` some time ago passes.
    fn packet(&self, state: &mut State, read: u64, seen: &Seen) -> Went;
    /// The agent carries out a procedure.
    fn task(&self, state: &mut State, task: Task) -> Done;
    /// `second` comes at some point of `first`; `access` says at which, where that can be chosen.
    fn meeting(&self, state: &mut State, first: &First, second: &Seen, access: u32) -> Option<[Went; 2]>;
}

/// What is interrupted by a packet.
#[derive(Clone, Copy, Debug)]
pub enum First {
    /// Another packet.
    Packet(Seen),
    /// The agent.
    Task(Task),
}

/// The rule over plain memory.
#[derive(Clone, Copy, Debug)]
pub struct Host(pub Setup);

impl Machine for Host {
    fn packet(&self, state: &mut State, read: u64, seen: &Seen) -> Went {
        let slate = Slate::new(&self.0, state, read, 0);
        let went = pass(&slate, self.0.view, seen);
        slate.keep(state);
        went
    }

    fn task(&self, state: &mut State, task: Task) -> Done {
        // The agent looks a second after the last packet.
        let slate = Slate::new(&self.0, state, state.word, 1);
        let done = carry_out_for(&slate, self.0.view, task);
        slate.keep(state);
        done
    }

    fn meeting(&self, state: &mut State, first: &First, second: &Seen, access: u32) -> Option<[Went; 2]> {
        let slate = Rc::new(Slate::new(&self.0, state, state.word, 0));
        let nested = Rc::new(std::cell::Cell::new(None));
        let view = self.0.view;
        let (inner, seen, result) = (Rc::clone(&slate), *second, Rc::clone(&nested));
        slate::meet_at(access, move || {
            let looks = inner.forget_looks();
            result.set(Some(pass(&inner, view, &seen)));
            inner.looks.set(looks);
        });
        let outer = match first {
            First::Packet(seen) => pass(&slate, view, seen),
            First::Task(task) => {
                carry_out_for(&*slate, view, *task);
                Went { to: Err(Reason::NotService), looks: 1 }
            }
        };
        if !slate::met() {
            return None;
        }
        slate.keep(state);
        nested.take().map(|nested| [outer, nested])
    }
}

fn pass(slate: &Slate, view: View, seen: &Seen) -> Went {
    let to = match seen.from {
        None => decide::forward(slate, || view, &setup::service_for(view), &seen.flow, &seen.segment)
            .map(|route| route.backend),
        Some(backend) if !speaks_for_client(slate, view, backend, seen) => Err(Reason::NotService),
        Some(backend) => {
            let sender = Sender { deployment: 0, service: 0, environment: environment(backend), backend };
            decide::reply(slate, &|| view, sender, &seen.flow, &seen.segment);
            Ok(backend)
        }
    };
    Went { to, looks: slate.looks.get() }
}

/// Whether a reply comes from the address that the client has asked. A preview shares its backends' endpoints with
/// the live service, to which the same client's flow is another one.
fn speaks_for_client(slate: &Slate, view: View, backend: BackendId, seen: &Seen) -> bool {
    if view != View::PINNED {
        return true;
    }
    let live = Flow { tag: seen.flow.tag ^ 1 << 40, ..seen.flow };
    let flow = |service| if service == setup::LIVE { live } else { seen.flow };
    let endpoint = setup::shared_endpoint(backend);
    answering(slate, &endpoint, Some(&seen.segment), flow).sender.service != setup::LIVE
}

/// The agent's real procedures, up to their grace period.
pub fn carry_out<T: Tables>(tables: &T, task: Task) -> Done {
    carry_out_for(tables, View::ORDINARY, task)
}

fn carry_out_for<T: Tables>(tables: &T, view: View, task: Task) -> Done {
    let other = Service { id: 1, deployment: 1, ..setup::service() };
    let services = [Some(setup::service_for(view)), Some(other)];
    let pins = Pins::new(tables, &services);
    let mut done = Done::default();
    match task {
        Task::Expire => {
            let lifetimes = Lifetimes { half: SYN_LIFETIME, idle: IDLE };
            done.buried = pins.expire(&mut Stops, |service| (service == 0).then_some(lifetimes)).is_err();
        }
        Task::Clear => done.buried = pins.clear(&mut Stops, 0, tables.control(0)).is_err(),
        Task::Exhume => {
            let Ok(()) = pins.exhume(&mut Goes);
        }
        Task::Rotate => recent::rotate(tables, 0),
        Task::Count(leaving) => {
            // Switches are as long ago as nothing the model knows, so that only silence ages a flow.
            let since = seconds(tables.nanoseconds()).saturating_sub(2 * setup::DEAD as u32);
            done.census =
                census::count(tables, |service| (service == 0).then_some(0), 0, leaving, since, HORIZON);
        }
        Task::Summary(control) => done.pins = pins.summary(0, control, HORIZON),
    }
    done
}

/// Stops where a grace period is needed; what follows is the next step.
struct Stops;

impl clear::Agent for Stops {
    type Error = ();

    fn grace(&mut self) -> Result<(), ()> {
        Err(())
    }
}

/// Whoever calls has waited.
struct Goes;

impl clear::Agent for Goes {
    type Error = std::convert::Infallible;

    fn grace(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
