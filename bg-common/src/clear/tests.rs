//! Freeing, step by step: what a packet meets after each of them, and what the next agent makes of a death
//! there.

use super::*;
use crate::abi::BackendId;
use crate::control::Environment::{Blue, Green};
use crate::control::Phase;
use crate::decide::views::View;
use crate::decide::{Segment, Sender, forward, reply};
use crate::host::Host;
use crate::reason::Reason;
use core::convert::Infallible;
use core::sync::atomic::Ordering::SeqCst;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const LIFETIMES: Lifetimes = Lifetimes { half: 128, idle: 7200 };
const STEPS: [&str; 3] = ["given up", "buried", "emptied"];

/// An agent to whom something happens: `at` each step, and while it waits.
struct Watched<F>(F);

impl<F: FnMut(&'static str)> Agent for Watched<F> {
    type Error = Infallible;

    fn grace(&mut self) -> Result<(), Infallible> {
        (self.0)("grace");
        Ok(())
    }

    fn boundary(&mut self, step: &'static str) {
        (self.0)(step);
    }
}

/// A node in a drain with one established connection, its first sequence number 7.
struct Scene {
    host: Host,
    services: [Option<Service>; 1],
    flow: Flow,
}

impl Scene {
    fn new() -> Self {
        let host = Host::new(1, 4);
        host.set(0, Phase::Drain, (0, Blue), (1, Green));
        let scene = Self { services: [Some(host.service(0))], flow: host.flow(1), host };
        let backend = scene.syn(7).unwrap();
        let answer = Segment { acknowledgement: 8, ..Segment::ACK };
        reply(
            &scene.host,
            &|| View::ORDINARY,
            Sender { deployment: 0, service: 0, environment: Green, backend },
            &scene.flow,
            &answer,
        );
        scene
    }

    fn go(&self, segment: &Segment) -> Result<BackendId, Reason> {
        forward(&self.host, || View::ORDINARY, &self.services[0].unwrap(), &self.flow, segment)
            .map(|route| route.backend)
    }

    fn syn(&self, isn: u32) -> Result<BackendId, Reason> {
        self.go(&Segment { syn: true, ack: false, sequence: isn, ..Segment::ACK })
    }

    fn data(&self, sequence: u32) -> Result<BackendId, Reason> {
        self.go(&Segment { payload: true, sequence, ..Segment::ACK })
    }

    fn pins(&self) -> Pins<'_, Host> {
        Pins::new(&self.host, &self.services)
    }

    fn expire(&self, happens: impl FnMut(&'static str)) -> u64 {
        self.pins().expire(&mut Watched(happens), |_| Some(LIFETIMES)).unwrap()
    }

    /// The pins' time is over, or they are cleared.
    fn free(&self, clearing: bool, happens: impl FnMut(&'static str)) {
        if clearing {
            self.host.set(0, Phase::Drain, (1, Green), (1, Green));
            let stay = self.pins().clear(&mut Watched(happens), 0, self.host.control(0)).unwrap();
            assert_eq!(stay, 0);
        } else {
            self.host.wait(8000);
            assert_eq!(self.expire(happens), 1);
        }
    }

    fn exhume(&self) {
        self.pins().exhume(&mut Watched(|_| ())).unwrap();
        let finished =
            |pin: &Pin<core::sync::atomic::AtomicU64>| pin.tag.load(SeqCst) != TOMB && !pin.given_up();
        assert!(self.host.used_pins().all(finished));
    }
}

#[test]
fn whichever_comes_first_the_stamp_or_the_agent_the_other_sees_it() {
    let scene = Scene::new();
    let pin = scene.host.used_pins().next().unwrap();
    let old = Snapshot::of(pin).unwrap().meta;
    scene.host.wait(8000);
    let now = scene.host.seconds();
    let stamp = |meta: Meta| meta.seen(now, crate::meta::Direction::Forward, &Segment::ACK);
    assert!(pin.touch(stamp) && !pin.give_up(old), "the stamp was first");
    assert!(pin.give_up(stamp(old)));
    assert!(!pin.touch(stamp) && !pin.touch(|meta| meta), "the agent was first");
    assert!(Snapshot::of(pin).is_none());
}

#[test]
fn a_packet_that_comes_while_a_pin_is_freed_goes_with_those_after_it() {
    for (clearing, step) in [false, true].into_iter().flat_map(|clearing| {
        STEPS.into_iter().chain(["remembered", "grace"]).map(move |step| (clearing, step))
    }) {
        if step == "remembered" && !clearing {
            continue;
        }
        for isn in [7, 0x4000_0000] {
            let scene = Scene::new();
            let mut opened = None;
            scene.free(clearing, |now| {
                if now == step {
                    opened = Some(scene.syn(isn).unwrap());
                    assert_eq!(scene.data(isn + 1), Ok(opened.unwrap()), "{step}");
                }
            });
            let opened = opened.unwrap_or_else(|| panic!("no step {step}"));
            let context = std::format!("{step}, clearing {clearing}, isn {isn:x}");
            assert_eq!((scene.syn(isn), scene.data(isn + 1)), (Ok(opened), Ok(opened)), "{context}");
            assert!(scene.host.used_pins().count() <= 1, "{context}");
            // Found no more, it has a new pin; found still, it goes where its later packets will go.
            assert_eq!(opened >= 2, clearing || !matches!(step, "given up"), "{context}");
        }
    }
}

#[test]
fn killed_at_any_step_the_agent_leaves_nothing_that_blocks_or_moves_a_flow() {
    for (clearing, step) in [false, true].into_iter().flat_map(|c| STEPS.map(|step| (c, step))) {
        for isn in [7, 0x4000_0000] {
            let scene = Scene::new();
            let dies = |now| {
                if now == step {
                    resume_unwind(Box::new(()));
                }
            };
            catch_unwind(AssertUnwindSafe(|| scene.free(clearing, dies))).unwrap_err();
            let context = std::format!("{step}, clearing {clearing}, isn {isn:x}");
            let opened = scene.syn(isn).unwrap();
            assert_eq!(scene.data(isn + 1), Ok(opened), "{context}");
            scene.exhume();
            assert_eq!((scene.syn(isn), scene.data(isn + 1)), (Ok(opened), Ok(opened)), "{context}");
            assert!(scene.host.used_pins().count() <= 1, "{context}");
        }
    }
}

#[test]
fn what_a_killed_clearing_gave_up_is_remembered_by_the_next_agent() {
    let scene = Scene::new();
    scene.syn(0x4000_0000).unwrap();
    let dies = |now| {
        if now == "given up" {
            resume_unwind(Box::new(()));
        }
    };
    catch_unwind(AssertUnwindSafe(|| scene.free(true, dies))).unwrap_err();
    scene.exhume();
    assert_eq!(scene.host.used_pins().count(), 0);
    for isn in [7, 0x4000_0000] {
        assert!(recent::has(&scene.host, 0, &scene.flow, isn), "{isn:x}");
    }
}

#[test]
fn a_half_pin_beside_a_connection_that_talks_is_forgotten_once_its_syn_is_over() {
    let scene = Scene::new();
    let opened = scene.syn(0x4000_0000).unwrap();
    let half = || scene.host.used_pins().next().unwrap().half();
    for _ in 0..3 {
        scene.host.wait(100);
        assert_eq!((scene.syn(0x4000_0000), scene.expire(|_| ())), (Ok(opened), 0));
        assert!(half().is_some(), "its SYN comes again and again");
    }
    for _ in 0..2 {
        assert!(half().is_some());
        scene.host.wait(70);
        let established = scene.data(1 << 20).unwrap();
        assert_eq!((established, scene.expire(|_| ())), (scene.data(1 << 21).unwrap(), 0));
    }
    assert!(half().is_none() && scene.host.used_pins().next().unwrap().established().is_some());
}
