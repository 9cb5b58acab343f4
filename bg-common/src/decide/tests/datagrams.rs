//! UDP under the rule: each of its lines, then random histories of flows that speak, fall silent and are
//! answered while the agent switches, concludes and rotates. A flow that was heard of within a rotation never
//! changes its backend.

use std::vec;
use std::vec::Vec;

use super::{BLUE, GREEN, environment, flip};
use super::{View, sender};
use crate::abi::{BackendId, Service, affinity};
use crate::clear::{Agent, Pins};
use crate::control::Environment::{self, Blue, Green};
use crate::control::Phase;
use crate::decide::{Route, datagram};
use crate::flow::Flow;
use crate::host::Host;
use crate::reason::Reason;
use crate::recent;
use crate::tables::Tables as _;
use core::sync::atomic::Ordering::SeqCst;
use proptest::prelude::*;

fn service(host: &Host, affinity: u8) -> Service {
    Service { protocol: 17, affinity, ..host.service(0) }
}

fn route(host: &Host, flow: &Flow) -> Result<Route, Reason> {
    datagram::forward(host, || View::ORDINARY, &service(host, affinity::FLOW), flow)
}

fn go(host: &Host, flow: &Flow) -> Result<BackendId, Reason> {
    route(host, flow).map(|route| route.backend)
}

#[test]
fn a_flow_heard_of_before_a_flip_stays_and_one_heard_of_after_it_goes_to_current() {
    let host = Host::default();
    let (old, new) = (host.flow(1), host.flow(2));
    let before = go(&host, &old).unwrap();
    assert_eq!(environment(before), Blue);
    flip(&host);
    let after = go(&host, &new).unwrap();
    assert_eq!(environment(after), Green);
    host.set(0, Phase::Drain, BLUE, BLUE);
    for _ in 0..3 {
        assert_eq!((go(&host, &old), go(&host, &new)), (Ok(before), Ok(after)), "a rollback moves nothing");
    }
    assert_eq!(host.used_pins().count(), 1);
}

#[test]
fn without_flow_affinity_every_datagram_goes_to_current_and_leaves_no_trace() {
    let host = Host::default();
    let flow = host.flow(1);
    let service = service(&host, 0);
    let go = || {
        datagram::forward(&host, || View::ORDINARY, &service, &flow).map(|route| environment(route.backend))
    };
    assert_eq!(go(), Ok(Blue));
    flip(&host);
    assert_eq!(go(), Ok(Green));
    assert_eq!((host.used_pins().count(), recent::has(&host, 0, &flow, 0)), (0, false));
}

#[test]
fn without_room_a_new_flow_goes_to_base_and_stays_there() {
    let host = Host::new(1, 0);
    let flow = host.flow(1);
    flip(&host);
    let first = route(&host, &flow).unwrap();
    assert_eq!((environment(first.backend), first.overflow), (Blue, true));
    assert_eq!(route(&host, &flow), Ok(Route { overflow: false, ..first }));
}

#[test]
fn nothing_new_enters_a_sealed_environment_and_what_is_known_goes_on() {
    let host = Host::new(1, 0);
    let (old, new) = (host.flow(1), host.flow(2));
    let before = go(&host, &old);
    flip(&host);
    host.set(0, Phase::Seal, BLUE, GREEN);
    assert_eq!((go(&host, &old), go(&host, &new)), (before, Err(Reason::Sealed)));
    assert_eq!(host.census_flows().count(), 1, "it is seen, and unseals");
}

#[test]
fn a_flow_on_a_dead_backend_goes_to_base() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let pinned = go(&host, &flow).unwrap();
    host.backends[usize::from(pinned)].dead.store(1, SeqCst);
    assert_eq!(go(&host, &flow).map(environment), Ok(Blue));
}

#[test]
fn an_answer_keeps_a_pin_alive_and_one_by_another_backend_does_not() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let pinned = go(&host, &flow).unwrap();
    let age =
        || host.used_pins().map(|pin| crate::meta::Meta(pin.meta.load(SeqCst)).age(host.seconds())).max();
    host.wait(9);
    datagram::reply(&host, &|| View::ORDINARY, sender(pinned ^ 1), &flow);
    assert_eq!(age(), Some(9));
    datagram::reply(&host, &|| View::ORDINARY, sender(pinned), &flow);
    assert_eq!(age(), Some(0));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Speak(usize),
    Answer(usize),
    Silence(usize),
    Flip,
    Seal,
    Conclude,
    Rotate,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => client.clone().prop_map(Event::Speak),
        2 => client.clone().prop_map(Event::Answer),
        3 => client.prop_map(Event::Silence),
        3 => Just(Event::Flip),
        2 => Just(Event::Seal),
        3 => Just(Event::Conclude),
        1 => Just(Event::Rotate),
    ]
}

const CLIENTS: usize = 5;

/// A flow that is alive: its backend, and rotations since it was heard of.
type Alive = Option<(BackendId, u32)>;

struct World {
    host: Host,
    clients: Vec<Alive>,
    base: (u8, Environment),
    current: (u8, Environment),
}

impl World {
    fn step(&mut self, event: Event) {
        match event {
            Event::Speak(client) => {
                let flow = self.host.flow(client as u16);
                let tags = self.host.used_pins().map(|pin| pin.tag.load(SeqCst));
                let pinned = tags.collect::<Vec<_>>().contains(&flow.tag);
                let went = go(&self.host, &flow);
                match self.clients[client] {
                    Some((backend, _)) => {
                        assert_eq!(went, Ok(backend), "{client}: {:?}", self.host.control(0));
                    }
                    None if went == Err(Reason::Sealed) => return,
                    // One that was silent for a while may still have a pin of an earlier switch.
                    None if pinned => {}
                    None => assert!([self.base.1, self.current.1].contains(&environment(went.unwrap()))),
                }
                self.clients[client] = went.ok().map(|backend| (backend, 0));
            }
            Event::Answer(client) => {
                let Some((backend, _)) = self.clients[client] else { return };
                let flow = self.host.flow(client as u16);
                datagram::reply(&self.host, &|| View::ORDINARY, sender(backend), &flow);
            }
            Event::Silence(client) => self.clients[client] = None,
            Event::Flip => {
                self.current = if self.current.1 == Blue { GREEN } else { BLUE };
                self.host.set(0, Phase::Drain, self.base, self.current);
            }
            Event::Seal if self.host.control(0).phase() == Phase::Drain => {
                self.host.set(0, Phase::Seal, self.base, self.current);
            }
            Event::Conclude if self.host.control(0).phase() == Phase::Seal => {
                let leaving = self.host.control(0).leaving();
                if self.clients.iter().flatten().all(|(backend, _)| environment(*backend) != leaving) {
                    self.base = self.current;
                    self.host.set(0, Phase::Steady, self.base, self.current);
                    let services = [Some(service(&self.host, affinity::FLOW))];
                    let stay = Pins::new(&self.host, &services).clear(&mut Alone, 0, self.host.control(0));
                    assert_eq!(stay, Ok(0), "a pin that would disagree");
                }
            }
            Event::Rotate => {
                recent::rotate(&self.host, 0);
                for client in &mut self.clients {
                    // What was not heard of through a whole rotation is dead; pins live longer than that.
                    *client = client.map(|(backend, age)| (backend, age + 1)).filter(|(_, age)| *age < 2);
                }
            }
            Event::Seal | Event::Conclude => {}
        }
    }
}

struct Alone;

impl Agent for Alone {
    type Error = core::convert::Infallible;

    fn grace(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_living_flow_changes_its_backend(
        events in proptest::collection::vec(event(), 1..150),
        buckets in prop::sample::select(vec![0_u32, 1, 2, 64]),
    ) {
        let host = Host::new(1, buckets);
        let mut world = World { host, clients: vec![None; CLIENTS], base: BLUE, current: BLUE };
        for event in events {
            world.step(event);
        }
    }
}
