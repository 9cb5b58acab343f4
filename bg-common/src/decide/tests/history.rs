//! Random histories: clients open, speak, keep alive and close; SYNs are lost, repeated and spoofed;
//! the agent flips, rolls back, seals, concludes and clears. Whatever happens, an established client
//! reaches the backend it is established with.

use std::vec;
use std::vec::Vec;

use super::{answer, data, environment, go, replied, syn};
use crate::abi::{BackendId, mode};
use crate::clear::{Agent, Pins};
use crate::control::Environment::{self, Blue, Green};
use crate::control::Phase;
use crate::decide::Segment;
use crate::flow::Flow;
use crate::host::Host;
use crate::tables::Tables as _;
use proptest::prelude::*;

const CLIENTS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Open(usize),
    Resend(usize),
    /// The SYN-ACK of one of the half-open servers arrives.
    Accept(usize, usize),
    Speak(usize),
    KeepAlive(usize),
    Close(usize),
    Spoof(usize, u32),
    ForgeReset(usize),
    Flip,
    Seal,
    Unseal,
    Conclude,
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => client.clone().prop_map(Event::Open),
        2 => client.clone().prop_map(Event::Resend),
        6 => (client.clone(), 0..2_usize).prop_map(|(c, s)| Event::Accept(c, s)),
        4 => client.clone().prop_map(Event::Speak),
        2 => client.clone().prop_map(Event::KeepAlive),
        3 => client.clone().prop_map(Event::Close),
        2 => (client.clone(), any::<u32>()).prop_map(|(c, isn)| Event::Spoof(c, isn)),
        1 => client.prop_map(Event::ForgeReset),
        3 => Just(Event::Flip),
        2 => Just(Event::Seal),
        1 => Just(Event::Unseal),
        4 => Just(Event::Conclude),
        1 => Just(Event::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Closed,
    Opening { isn: u32 },
    Established { isn: u32, backend: BackendId, spoken: u32 },
}

struct World {
    host: Host,
    clients: [Client; CLIENTS],
    /// Servers that have a half-open connection of a client: `(client, isn, backend)`.
    half_open: Vec<(usize, u32, BackendId)>,
    next_isn: u32,
    base: (u8, Environment),
    current: (u8, Environment),
}

impl World {
    fn new(buckets: u32, mode: u8) -> Self {
        Self {
            host: Host { mode, ..Host::new(1, buckets) },
            clients: [Client::Closed; CLIENTS],
            half_open: Vec::new(),
            next_isn: 1000,
            base: (0, Blue),
            current: (0, Blue),
        }
    }

    fn flow(&self, client: usize) -> Flow {
        self.host.flow(client as u16 + 1)
    }

    fn phase(&self) -> Phase {
        self.host.control(0).phase()
    }

    fn send_syn(&mut self, client: usize, isn: u32) {
        let Ok(backend) = go(&self.host, &self.flow(client), &syn(isn)) else { return };
        let entered = environment(backend);
        assert!(
            entered == self.base.1 || entered == self.current.1 || self.pinned(client),
            "P3: {entered:?}"
        );
        if !self.half_open.contains(&(client, isn, backend)) {
            self.half_open.push((client, isn, backend));
        }
    }

    fn pinned(&self, client: usize) -> bool {
        let tag = self.flow(client).tag;
        self.host.used_pins().any(|pin| pin.tag.load(core::sync::atomic::Ordering::SeqCst) == tag)
    }

    fn expect(&self, client: usize, segment: &Segment, backend: BackendId) {
        let got = go(&self.host, &self.flow(client), segment);
        assert_eq!(got, Ok(backend), "P4: {client} {segment:?} in {:?}", self.host.control(0));
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Open(client) if self.clients[client] == Client::Closed => {
                // As RFC 6528 has it: the next connection of a tuple begins well beyond the last one.
                self.next_isn = self.next_isn.wrapping_add(1 << 20);
                let isn = self.next_isn;
                self.clients[client] = Client::Opening { isn };
                self.send_syn(client, isn);
            }
            Event::Resend(client) => {
                if let Client::Opening { isn } = self.clients[client] {
                    self.send_syn(client, isn);
                }
            }
            Event::Accept(client, which) => self.accept(client, which),
            Event::Speak(client) => {
                if let Client::Established { isn, backend, spoken } = self.clients[client] {
                    self.expect(client, &data(isn.wrapping_add(1 + spoken)), backend);
                    replied(&self.host, &self.flow(client), backend, &answer(isn.wrapping_add(spoken)));
                    self.clients[client] = Client::Established { isn, backend, spoken: spoken + 50_000 };
                }
            }
            Event::KeepAlive(client) => {
                if let Client::Established { isn, backend, spoken } = self.clients[client] {
                    self.expect(
                        client,
                        &Segment { sequence: isn.wrapping_add(spoken), ..Segment::ACK },
                        backend,
                    );
                }
            }
            Event::Close(client) => {
                if let Client::Established { isn, backend, spoken } = self.clients[client] {
                    let fin = Segment { fin: true, sequence: isn.wrapping_add(1 + spoken), ..Segment::ACK };
                    self.expect(client, &fin, backend);
                    replied(&self.host, &self.flow(client), backend, &Segment { fin: true, ..answer(isn) });
                }
                self.clients[client] = Client::Closed;
                self.half_open.retain(|half| half.0 != client);
            }
            Event::Spoof(client, isn) => {
                // A guess of the true isn is out of scope: it would be that very SYN.
                let known =
                    |half: &(usize, u32, BackendId)| half.0 == client && half.1.abs_diff(isn) < 1 << 19;
                if !self.half_open.iter().any(known) && self.next_isn.abs_diff(isn) > 1 << 28 {
                    let _dropped_or_answered_to_nobody = go(&self.host, &self.flow(client), &syn(isn));
                }
            }
            Event::ForgeReset(client) => {
                let reset = Segment { rst: true, sequence: 99, ..Segment::ACK };
                let _reaches_some_server_which_ignores_it = go(&self.host, &self.flow(client), &reset);
            }
            Event::Flip => {
                let to = if self.current.1 == Blue { (1, Green) } else { (0, Blue) };
                self.current = to;
                self.host.set(0, Phase::Drain, self.base, self.current);
            }
            Event::Seal if self.phase() == Phase::Drain => {
                self.host.set(0, Phase::Seal, self.base, self.current);
            }
            Event::Unseal if self.phase() == Phase::Seal => {
                self.host.set(0, Phase::Drain, self.base, self.current);
            }
            Event::Conclude if self.phase() == Phase::Seal && self.empty(self.host.control(0).leaving()) => {
                self.base = self.current;
                self.host.set(0, Phase::Steady, self.base, self.current);
                self.clear();
            }
            Event::Wait => self.host.wait(1),
            _ => {}
        }
    }

    fn accept(&mut self, client: usize, which: usize) {
        let Client::Opening { isn } = self.clients[client] else { return };
        let candidates: Vec<_> =
            self.half_open.iter().filter(|half| half.0 == client && half.1 == isn).collect();
        let Some(&&(_, _, backend)) = candidates.get(which % candidates.len().max(1)) else { return };
        let syn_ack = Segment { syn: true, ..answer(isn) };
        replied(&self.host, &self.flow(client), backend, &syn_ack);
        self.clients[client] = Client::Established { isn, backend, spoken: 0 };
        self.half_open.retain(|half| half.0 != client);
        self.expect(client, &Segment { sequence: isn.wrapping_add(1), ..Segment::ACK }, backend);
    }

    /// Nobody is established there, and nobody could still become it.
    fn empty(&self, which: Environment) -> bool {
        let established = self.clients.iter().any(
            |client| matches!(client, Client::Established { backend, .. } if environment(*backend) == which),
        );
        !established && !self.half_open.iter().any(|half| environment(half.2) == which)
    }

    /// As the agent does after a grace period.
    fn clear(&self) {
        struct Alone;
        impl Agent for Alone {
            type Error = core::convert::Infallible;
            fn grace(&mut self) -> Result<(), Self::Error> {
                Ok(())
            }
        }
        let services = [Some(self.host.service(0))];
        let stay = Pins::new(&self.host, &services).clear(&mut Alone, 0, self.host.control(0));
        assert_eq!(stay, Ok(0), "a pin that would disagree");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_connection_changes_its_backend(
        events in proptest::collection::vec(event(), 1..150),
        buckets in prop::sample::select(vec![0_u32, 1, 2, 64]),
        mode in prop::sample::select(vec![mode::NAT, mode::DSR]),
    ) {
        let mut world = World::new(buckets, mode);
        for event in events {
            world.step(event);
            prop_assert!(world.phase() != Phase::Steady || world.host.used_pins().count() == 0, "P5");
        }
    }
}
