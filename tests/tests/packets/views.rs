//! Previews, testers and shared endpoints: cases 12 and 51, over both versions of IP.

use std::net::SocketAddr;

use bg_common::abi::tester;
use bg_common::control::{Environment, Phase};
use bg_common::reason::Reason;
use bg_tests::packets::world::{BACKENDS, CLIENT, LAN_MAC, PREVIEW, V6_BACKEND, WEB, v6};
use bg_tests::packets::{Action, Rig, Segment, flags};

use Environment::{Blue, Green};

const ISN: u32 = 0x0102_0304;
const SYN_ACK: u8 = flags::SYN | flags::ACK;

/// One connection of the client.
#[derive(Clone)]
struct Flow {
    vip: SocketAddr,
    port: u16,
    isn: u32,
    over_v6: bool,
}

impl Flow {
    fn new(vip: SocketAddr, port: u16, over_v6: bool) -> Self {
        Self { vip, port, isn: ISN, over_v6 }
    }

    fn segment(&self, flags: u8) -> Segment {
        let sequence = if flags & flags::SYN == 0 { self.isn.wrapping_add(1) } else { self.isn };
        let mut segment = Segment { sequence, destination: self.vip, ..Segment::to_service(flags) };
        segment.source.set_port(self.port);
        if self.over_v6 { segment.over_v6() } else { segment }
    }

    fn backend(&self, environment: Environment) -> usize {
        environment as usize + if self.over_v6 { V6_BACKEND } else { 0 }
    }

    /// A segment of the client's goes to the backend of an environment.
    #[track_caller]
    fn goes(&self, rig: &mut Rig<'_>, flags: u8, environment: Environment) {
        let segment = self.segment(flags);
        let sent = segment.forwarded(&BACKENDS[self.backend(environment)], LAN_MAC);
        rig.expect(&segment.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
    }

    /// A segment of that backend's to the client.
    fn reply(&self, environment: Environment, flags: u8) -> Segment {
        let backend = &BACKENDS[self.backend(environment)];
        let asked = self.segment(flags::SYN);
        Segment {
            from: backend.mac,
            source: backend.address,
            destination: asked.source,
            acknowledgement: self.isn.wrapping_add(1),
            ..Segment::to_service(flags)
        }
    }

    /// It reaches the client, from the address that the client asked.
    #[track_caller]
    fn answers(&self, rig: &mut Rig<'_>, environment: Environment, flags: u8) {
        let reply = self.reply(environment, flags);
        let returned = reply.returned(self.segment(0).destination);
        rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &returned.bytes());
    }

    /// The whole of a beginning, with a backend of that environment.
    #[track_caller]
    fn opens(&self, rig: &mut Rig<'_>, environment: Environment) {
        self.goes(rig, flags::SYN, environment);
        self.answers(rig, environment, SYN_ACK);
        self.goes(rig, flags::ACK, environment);
        self.answers(rig, environment, flags::ACK);
    }

    /// Both sides still speak, to the same backend, from the same address.
    #[track_caller]
    fn lives(&self, rig: &mut Rig<'_>, environment: Environment) {
        self.goes(rig, flags::ACK, environment);
        self.answers(rig, environment, flags::ACK);
    }
}

#[track_caller]
fn all_live(rig: &mut Rig<'_>, all: &[(&Flow, Environment)]) {
    for (flow, environment) in all {
        flow.lives(rig, *environment);
    }
}

fn both(case: impl Fn(bool)) {
    case(false);
    case(true);
}

/// Case 12: the preview leads to the environment that is not live, and replies come from it.
#[test]
fn a_preview_leads_to_the_idle_environment_through_switches() {
    both(|over_v6| {
        Rig::run("preview", |rig| {
            rig.tables.preview().unwrap();
            let live = Flow::new(WEB, 40_000, over_v6);
            live.opens(rig, Blue);
            let first = Flow::new(PREVIEW, 40_001, over_v6);
            first.opens(rig, Green);
            rig.tables.flip(0, Blue).unwrap();
            let second = Flow::new(PREVIEW, 40_002, over_v6);
            second.opens(rig, Blue);
            let new = Flow::new(WEB, 40_003, over_v6);
            new.opens(rig, Green);
            let all = [(&live, Blue), (&first, Green), (&second, Blue), (&new, Green)];
            all_live(rig, &all);
            rig.tables.control(0, Phase::Drain, Blue, Blue).unwrap();
            all_live(rig, &all);
            Flow::new(PREVIEW, 40_004, over_v6).opens(rig, Green);
            // All the live service's are over. The preview's are told by their pins, in STEADY too.
            rig.tables.steady(0, Green).unwrap();
            first.lives(rig, Green);
            second.lives(rig, Blue);
            Flow::new(PREVIEW, 40_005, over_v6).opens(rig, Blue);
        });
    });
}

/// A new connection to the environment that is sealed waits, through a preview as well.
#[test]
fn nothing_enters_a_sealed_environment_through_a_preview() {
    Rig::run("presealed", |rig| {
        rig.tables.preview().unwrap();
        rig.tables.testers(CLIENT.ip(), 32, tester::NOW).unwrap();
        rig.tables.control(0, Phase::Seal, Blue, Green).unwrap();
        for vip in [PREVIEW, WEB] {
            let flow = Flow::new(vip, 40_000, false);
            rig.expect_drop(&flow.segment(flags::SYN).bytes(), Reason::Sealed);
        }
        assert_eq!(rig.tables.pins().unwrap(), []);
        rig.tables.steady(0, Green).unwrap();
        Flow::new(PREVIEW, 40_000, false).opens(rig, Blue);
    });
}

/// Without a pin a reply would not find its way: what has none is refused.
#[test]
fn a_preview_refuses_what_it_cannot_pin() {
    both(|over_v6| {
        Rig::run("prefull", |rig| {
            rig.tables.preview().unwrap();
            let flow = Flow::new(PREVIEW, 40_000, over_v6);
            let refused = |rig: &mut Rig<'_>, flags| {
                let segment = flow.segment(flags);
                rig.expect(&segment.bytes(), Reason::NoPin, Action::Tx, &segment.refused().bytes());
            };
            refused(rig, flags::ACK);
            rig.tables.node(true).unwrap();
            refused(rig, flags::SYN);
            Flow::new(WEB, 40_000, over_v6).opens(rig, Blue);
        });
    });
}

/// The live service and its preview may see one client's port, one after the other, and at the same backend.
#[test]
fn a_port_that_a_preview_had_before_is_the_live_services() {
    both(|over_v6| {
        Rig::run("preport", |rig| {
            rig.tables.preview().unwrap();
            let previewed = Flow::new(PREVIEW, 40_000, over_v6);
            previewed.opens(rig, Green);
            for (from, flags) in [(true, flags::FIN | flags::ACK), (false, flags::FIN | flags::ACK)] {
                if from { previewed.goes(rig, flags, Green) } else { previewed.answers(rig, Green, flags) }
            }
            rig.tables.steady(0, Green).unwrap();
            let live = Flow { isn: ISN + 0x1000_0000, ..Flow::new(WEB, 40_000, over_v6) };
            live.opens(rig, Green);
            live.lives(rig, Green);
        });
    });
}

/// A SYN that somebody forges at the preview takes no reply away from a connection that is there.
#[test]
fn a_forged_syn_at_a_preview_takes_nothing_from_a_live_connection() {
    both(|over_v6| {
        Rig::run("preforge", |rig| {
            rig.tables.preview().unwrap();
            rig.tables.steady(0, Green).unwrap();
            let live = Flow { isn: ISN + 0x1000_0000, ..Flow::new(WEB, 40_000, over_v6) };
            live.opens(rig, Green);
            rig.tables.flip(0, Green).unwrap();
            Flow::new(PREVIEW, 40_000, over_v6).goes(rig, flags::SYN, Green);
            live.lives(rig, Green);
        });
    });
}

/// Case 13 by a preview: datagrams of a flow stay together there, and the live service's find their VIP.
#[test]
fn datagrams_by_a_preview() {
    Rig::run("preudp", |rig| {
        rig.tables.serve_udp(true).unwrap();
        rig.tables.preview_of_udp().unwrap();
        for over_v6 in [false, true] {
            let datagram = |vip, port| {
                let flow = Flow::new(vip, port, over_v6);
                let mut datagram = Segment { destination: vip, ..Segment::datagram(b"odd") };
                datagram.source.set_port(port);
                (flow.clone(), if over_v6 { datagram.over_v6() } else { datagram })
            };
            let goes = |rig: &mut Rig<'_>, vip, port, environment| {
                let (flow, datagram) = datagram(vip, port);
                let backend = &BACKENDS[flow.backend(environment)];
                let sent = datagram.forwarded(backend, LAN_MAC);
                rig.expect(&datagram.bytes(), Reason::Forwarded, Action::Redirect, &sent.bytes());
                let reply = Segment {
                    from: backend.mac,
                    source: backend.address,
                    destination: datagram.source,
                    ..datagram.clone()
                };
                let returned = reply.returned(datagram.destination);
                rig.expect(&reply.bytes(), Reason::Returned, Action::Tx, &returned.bytes());
            };
            rig.tables.steady(0, Blue).unwrap();
            goes(rig, PREVIEW, 40_000, Green);
            goes(rig, WEB, 40_001, Blue);
            rig.tables.flip(0, Blue).unwrap();
            goes(rig, PREVIEW, 40_000, Green);
            goes(rig, PREVIEW, 40_002, Blue);
            goes(rig, WEB, 40_003, Green);
            goes(rig, WEB, 40_001, Blue);
            // The same port at both, and the same backend: the flow that lives is the live service's.
            goes(rig, WEB, 40_004, Green);
            rig.tables.steady(0, Green).unwrap();
            goes(rig, WEB, 40_003, Green);
        }
    });
}

/// Case 51: a tester reaches the idle environment on the live VIP, and keeps what it has.
#[test]
fn a_tester_reaches_the_idle_environment() {
    both(|over_v6| {
        Rig::run("tester", |rig| {
            let client = if over_v6 { v6(CLIENT) } else { CLIENT }.ip();
            let prefix = if over_v6 { 128 } else { 32 };
            let old = Flow::new(WEB, 40_000, over_v6);
            old.opens(rig, Blue);
            rig.tables.testers(client, prefix, tester::NOW).unwrap();
            let tested = Flow::new(WEB, 40_001, over_v6);
            old.lives(rig, Blue);
            // A copy of the SYN from before: it belongs to the connection that it has opened.
            old.goes(rig, flags::SYN, Blue);
            tested.opens(rig, Green);
            rig.tables.flip(0, Blue).unwrap();
            let other = Flow::new(WEB, 40_002, over_v6);
            other.opens(rig, Blue);
            let all = [(&old, Blue), (&tested, Green), (&other, Blue)];
            all_live(rig, &all);
            rig.tables.control(0, Phase::Drain, Blue, Blue).unwrap();
            all_live(rig, &all);
            rig.tables.steady(0, Blue).unwrap();
            tested.lives(rig, Green);
            // No tester any more: what it has it keeps, what it opens is as anybody's.
            rig.tables.testers(client, prefix, tester::ONCE).unwrap();
            all_live(rig, &all);
            Flow::new(WEB, 40_003, over_v6).opens(rig, Blue);
        });
    });
}

/// Of two prefixes the longer one counts, and clients of none are as ever: no pin is made for them.
#[test]
fn who_is_no_tester_is_as_ever() {
    Rig::run("untested", |rig| {
        rig.tables.testers("192.0.0.0".parse().unwrap(), 16, tester::NOW).unwrap();
        rig.tables.testers("192.0.2.0".parse().unwrap(), 24, tester::ONCE).unwrap();
        Flow::new(WEB, 40_000, false).opens(rig, Blue);
        Flow::new(WEB, 40_000, true).opens(rig, Blue);
        assert_eq!(rig.tables.pins().unwrap(), []);
    });
}

/// Where there is no room for its pin a tester reaches the live environment: it is served there as well.
#[test]
fn a_tester_without_a_pin_goes_by_base() {
    Rig::run("testfull", |rig| {
        rig.tables.testers(CLIENT.ip(), 32, tester::NOW).unwrap();
        rig.tables.node(true).unwrap();
        Flow::new(WEB, 40_000, false).opens(rig, Blue);
        assert_eq!(rig.service_counter(0, 0).overflow, 1);
    });
}
