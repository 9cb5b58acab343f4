//! Views: a preview and testers over the backends of a live service. First line by line, then random histories in
//! which no connection changes its backend and every reply comes from the address that its client asked.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::abi::{Address, Endpoint, Other, entry, tester, views};
use crate::clear::{Agent, Lifetimes, Pins};
use crate::decide::views::{Voice, answering};
use crate::meta::Meta;
use proptest::prelude::*;

const CLIENT: [u8; 4] = [192, 0, 2, 7];
const LIFETIMES: Lifetimes = Lifetimes { half: 128, idle: 7200 };

/// Which of the two addresses a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vip {
    Live,
    Preview,
}

/// A node whose one service has a preview and testers.
struct Node(Host);

impl Node {
    fn new(buckets: u32) -> Self {
        // The second deployment lends its rings: to green where the first's lead to blue.
        let mut host = Host::new(2, buckets);
        let rings = host.service(1).ring_base;
        let stride = host.service(0).ring_stride;
        for i in 0..stride {
            let [blue, green] =
                [0, 1].map(|slot| host.rings[(rings + slot * stride + i) as usize].load(SeqCst));
            for (slot, element) in [(0, green), (1, blue), (2, green)] {
                host.rings[(rings + slot * stride + i) as usize].store(element, SeqCst);
            }
        }
        host.services = vec![
            Service { idle_base: rings, views: views::TESTERS, ..host.service(0) },
            Service { id: 1, ring_base: rings, views: views::PINNED, ..host.service(0) },
        ];
        Self(host)
    }

    fn service(&self, vip: Vip) -> &Service {
        &self.0.services[vip as usize]
    }

    fn flow(&self, vip: Vip, port: u16) -> Flow {
        Flow::v4(&self.0.node.key, CLIENT, port.to_be_bytes(), vip as u16)
    }

    fn testers(&mut self, what: u8) {
        self.0.testers = vec![(0, Address::v4(CLIENT), 128, what)];
    }

    fn go(&self, vip: Vip, port: u16, segment: &Segment) -> Result<BackendId, Reason> {
        let service = self.service(vip);
        let view = View::of(&self.0, service.views, service.deployment, &Address::v4(CLIENT));
        forward(&self.0, || view, service, &self.flow(vip, port), segment).map(|route| route.backend)
    }

    /// The address that a backend's segment comes from.
    fn replied(&self, backend: BackendId, port: u16, segment: &Segment) -> Vip {
        let address = self.0.backends[usize::from(backend)].address;
        let endpoint = Endpoint {
            address,
            vip: self.service(Vip::Live).vip,
            port: [0; 2],
            vip_port: [0; 2],
            protocol: 6,
            state: entry::USED,
            backend,
            service: 0,
            deployment: 0,
            environment: environment(backend) as u8,
            excludes: 0,
            views: views::SHARED | views::TESTERS,
            pad: [0; 5],
            others: [Other { service: 2, backend }, Other::default(), Other::default()],
        };
        let flow = |service| Flow::v4(&self.0.node.key, CLIENT, port.to_be_bytes(), service);
        let from = answering(&self.0, &endpoint, Some(segment), flow);
        let Voice { sender, views, .. } = from;
        let view = View::of(&self.0, views, sender.deployment, &Address::v4(CLIENT));
        reply(&self.0, &|| view, sender, &flow(sender.service), segment);
        if sender.service == 0 { Vip::Live } else { Vip::Preview }
    }

    /// Opens a connection and lets both sides speak.
    fn open(&self, vip: Vip, port: u16, isn: u32) -> BackendId {
        let backend = self.go(vip, port, &syn(isn)).unwrap();
        self.lives(vip, port, isn, backend, true);
        backend
    }

    fn lives(&self, vip: Vip, port: u16, isn: u32, backend: BackendId, new: bool) {
        if new {
            assert_eq!(self.replied(backend, port, &Segment { syn: true, ..answer(isn) }), vip);
        }
        assert_eq!(
            self.go(vip, port, &Segment { sequence: isn.wrapping_add(1), ..Segment::ACK }),
            Ok(backend)
        );
        assert_eq!(self.replied(backend, port, &answer(isn)), vip);
        assert_eq!(self.go(vip, port, &data(isn.wrapping_add(1))), Ok(backend));
    }

    fn pins(&self) -> usize {
        self.0.used_pins().count()
    }

    fn clear(&self) {
        let services: Vec<_> = self.0.services.iter().copied().map(Some).collect();
        assert_eq!(Pins::new(&self.0, &services).clear(&mut Alone, 0, self.0.control(0)), Ok(0));
    }

    fn expire(&self) {
        let services: Vec<_> = self.0.services.iter().copied().map(Some).collect();
        assert!(Pins::new(&self.0, &services).expire(&mut Alone, |_| Some(LIFETIMES)).is_ok());
    }
}

struct Alone;

impl Agent for Alone {
    type Error = core::convert::Infallible;

    fn grace(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn in_steady_only_the_preview_is_pinned() {
    let node = Node::new(64);
    assert_eq!(environment(node.open(Vip::Live, 1, 7)), Blue);
    assert_eq!(node.pins(), 0);
    assert_eq!(environment(node.open(Vip::Preview, 2, 7)), Green);
    assert_eq!(node.pins(), 1);
}

#[test]
fn clearing_leaves_what_a_view_pins() {
    let mut node = Node::new(64);
    let previewed = node.open(Vip::Preview, 1, 7);
    node.testers(tester::NOW);
    let tested = node.open(Vip::Live, 2, 7);
    node.testers(tester::NEVER);
    node.0.set(0, Phase::Drain, BLUE, GREEN);
    let new = node.open(Vip::Live, 3, 7);
    assert_eq!([previewed, tested, new].map(environment), [Green; 3]);
    node.0.set(0, Phase::Steady, GREEN, GREEN);
    node.clear();
    assert_eq!(node.pins(), 2, "those of the preview and of the tester");
    node.testers(tester::ONCE);
    node.lives(Vip::Preview, 1, 7, previewed, false);
    node.lives(Vip::Live, 2, 7, tested, false);
    node.lives(Vip::Live, 3, 7, new, false);
}

#[test]
fn a_tester_keeps_what_it_had_before_it_was_one() {
    let mut node = Node::new(64);
    let before = node.open(Vip::Live, 1, 7);
    node.testers(tester::NOW);
    assert_eq!(node.go(Vip::Live, 1, &syn(7)), Ok(before), "a copy of its SYN");
    node.lives(Vip::Live, 1, 7, before, false);
    assert_eq!(environment(node.open(Vip::Live, 2, 7)), Green);
    assert_eq!(environment(before), Blue);
}

#[test]
fn a_former_tester_opens_connections_as_anybody() {
    let mut node = Node::new(64);
    node.testers(tester::NOW);
    let tested = node.open(Vip::Live, 1, 7);
    node.testers(tester::ONCE);
    node.lives(Vip::Live, 1, 7, tested, false);
    assert_eq!(environment(node.open(Vip::Live, 2, 7)), Blue);
    assert_eq!(node.pins(), 1);
    // The port that the tester had: its pin is there, and holds the new connection from now on.
    let again = node.open(Vip::Live, 1, 1 << 28);
    assert_eq!(environment(again), Blue);
    node.lives(Vip::Live, 1, 1 << 28, again, false);
}

#[test]
fn a_backend_that_accepts_another_connection_has_lost_the_pinned_one() {
    let node = Node::new(64);
    node.0.set(0, Phase::Steady, GREEN, GREEN);
    node.0.set(0, Phase::Drain, GREEN, BLUE);
    let previewed = node.open(Vip::Preview, 1, 7);
    assert_eq!(environment(previewed), Green);
    let accepted = Segment { syn: true, ..answer(1 << 28) };
    assert_eq!(node.replied(previewed, 1, &accepted), Vip::Live);
    assert_eq!(node.replied(previewed, 1, &answer(1 << 28)), Vip::Live);
    node.expire();
    assert_eq!(node.pins(), 0, "the agent buries what the program has given up");
}

#[test]
fn a_forged_syn_takes_no_reply_away() {
    let node = Node::new(1024);
    let open = |port| (port, node.open(Vip::Live, port, 1 << 28));
    let live: Vec<_> = (1..20).map(open).collect();
    node.0.set(0, Phase::Drain, BLUE, GREEN);
    let meets = |(port, backend): &&(u16, _)| node.go(Vip::Preview, *port, &syn(7)) == Ok(*backend);
    let met: Vec<_> = live.iter().filter(meets).collect();
    assert!(!met.is_empty(), "the same port, the same backend");
    for (port, backend) in met {
        node.lives(Vip::Live, *port, 1 << 28, *backend, false);
    }
}

#[test]
fn the_mark_of_a_view_survives_whatever_its_flow_says() {
    let meta = Meta::new(5, 1, 2).kept_by(1);
    let segments = [data(1), Segment { rst: true, ..Segment::ACK }, syn(1)];
    assert!(segments.iter().all(|s| meta.seen(9, crate::meta::Direction::Return, s).kept()));
    assert!(!Meta::new(5, 1, 2).kept());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Open(Vip, u16),
    Speak(usize),
    Close(usize),
    /// A SYN that is nobody's, with the addresses and ports of a connection, at either address.
    Forge(usize, Vip),
    Flip,
    Seal,
    Conclude,
    Testers(u8),
    Expire,
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let vip = || prop::sample::select(vec![Vip::Live, Vip::Preview]);
    prop_oneof![
        6 => (vip(), 0..12_u16).prop_map(|(vip, port)| Event::Open(vip, port)),
        6 => (0..12_usize).prop_map(Event::Speak),
        3 => (0..12_usize).prop_map(Event::Close),
        2 => (0..12_usize, vip()).prop_map(|(n, vip)| Event::Forge(n, vip)),
        3 => Just(Event::Flip),
        2 => Just(Event::Seal),
        3 => Just(Event::Conclude),
        2 => (1..3_u8).prop_map(Event::Testers),
        1 => Just(Event::Expire),
        1 => Just(Event::Wait),
    ]
}

/// A node and the connections that are open.
struct World {
    node: Node,
    /// By address and port: first sequence number, backend.
    open: BTreeMap<(Vip, u16), (u32, BackendId)>,
    isn: u32,
    base: (u8, Environment),
    current: (u8, Environment),
}

impl World {
    fn nth(&self, n: usize) -> Option<((Vip, u16), (u32, BackendId))> {
        self.open.iter().nth(n).map(|(key, value)| (*key, *value))
    }

    fn set(&self, phase: Phase) {
        self.node.0.set(0, phase, self.base, self.current);
    }

    fn step(&mut self, event: Event) {
        let node = &mut self.node;
        match event {
            // One backend cannot have two connections of one port, so that no client asks for that.
            Event::Open(vip, port) if !self.open.keys().any(|(_, open)| *open == port) => {
                self.isn = self.isn.wrapping_add(1 << 20);
                let isn = self.isn;
                match node.go(vip, port, &syn(isn)) {
                    Ok(backend) => {
                        node.lives(vip, port, isn, backend, true);
                        self.open.insert((vip, port), (isn, backend));
                    }
                    Err(Reason::Sealed | Reason::PinBusy) => {}
                    Err(reason) => {
                        assert_eq!((vip, reason), (Vip::Preview, Reason::NoPin));
                    }
                }
            }
            Event::Speak(n) => {
                if let Some(((vip, port), (isn, backend))) = self.nth(n) {
                    self.node.lives(vip, port, isn, backend, false);
                }
            }
            Event::Close(n) => {
                if let Some(((vip, port), (isn, backend))) = self.nth(n) {
                    let fin = Segment { fin: true, sequence: isn.wrapping_add(9), ..Segment::ACK };
                    assert_eq!(self.node.go(vip, port, &fin), Ok(backend));
                    let fin = Segment { fin: true, ..answer(isn) };
                    assert_eq!(self.node.replied(backend, port, &fin), vip);
                    self.open.remove(&(vip, port));
                }
            }
            Event::Forge(n, vip) => {
                if let Some(((_, port), _)) = self.nth(n) {
                    let _whoever_gets_it = self.node.go(vip, port, &syn(0xf000_0000));
                }
            }
            Event::Flip => {
                self.current = if self.current.1 == Blue { GREEN } else { BLUE };
                self.set(Phase::Drain);
            }
            Event::Seal if node.0.control(0).phase() == Phase::Drain => self.set(Phase::Seal),
            Event::Conclude if node.0.control(0).phase() != Phase::Steady => {
                let leaving = node.0.control(0).leaving();
                if !self.open.values().any(|(_, backend)| environment(*backend) == leaving) {
                    self.base = self.current;
                    self.set(Phase::Steady);
                    self.node.clear();
                }
            }
            Event::Testers(what) => node.testers(what),
            Event::Expire => node.expire(),
            Event::Wait => node.0.wait(5),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_connection_changes_its_backend_and_every_reply_comes_from_where_it_was_asked(
        events in proptest::collection::vec(event(), 1..120),
        buckets in prop::sample::select(vec![0_u32, 1, 2, 64]),
    ) {
        let (base, current) = (BLUE, BLUE);
        let mut world =
            World { node: Node::new(buckets), open: BTreeMap::new(), isn: 1000, base, current };
        for event in events {
            world.step(event);
        }
        for n in 0..world.open.len() {
            world.step(Event::Speak(n));
        }
    }
}
