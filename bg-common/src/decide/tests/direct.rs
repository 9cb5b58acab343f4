//! Connections whose replies do not come this way (modes dsr and ipip): pins live by what the client sends.

use super::*;
use crate::abi::mode;
use crate::clear::{Agent, Lifetimes, Pins};
use crate::pin::{AHEAD, BEHIND, WINDOW};

const LIFETIMES: Lifetimes = Lifetimes { half: 128, idle: 7200 };

struct Alone;

impl Agent for Alone {
    type Error = core::convert::Infallible;

    fn grace(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// In a drain from blue to green.
fn draining() -> Host {
    let host = Host { mode: mode::DSR, ..Host::default() };
    flip(&host);
    host
}

fn expire(host: &Host) -> u64 {
    Pins::new(host, &[Some(host.service(0))]).expire(&mut Alone, |_| Some(LIFETIMES)).unwrap()
}

/// Opens a connection and lets its first packet follow.
fn opened(host: &Host, flow: &Flow, isn: u32) -> BackendId {
    let backend = go(host, flow, &syn(isn)).unwrap();
    assert_eq!(go(host, flow, &data(isn.wrapping_add(1))), Ok(backend));
    backend
}

#[test]
fn a_pin_follows_its_client_around_all_sequence_numbers() {
    let host = draining();
    let flow = host.flow(1);
    let isn = u32::MAX - 5;
    let backend = opened(&host, &flow, isn);
    assert_eq!(environment(backend), Green);
    let mut next = isn;
    for step in [WINDOW, AHEAD - (1 << 16), 1, 1460, 1 << 24].into_iter().cycle().take(2000) {
        next = next.wrapping_add(step);
        for sequence in [next, next.wrapping_sub(1), next.wrapping_sub(1 << 29)] {
            assert_eq!(go(&host, &flow, &data(sequence)), Ok(backend), "{sequence:#x} at {next:#x}");
        }
        assert_eq!(go(&host, &flow, &syn(isn)), Ok(backend), "its SYN once more, late");
    }
}

#[test]
fn the_window_ends_where_it_should() {
    let host = draining();
    let flow = host.flow(1);
    let backend = opened(&host, &flow, 1 << 31);
    let top = (1 << 31) + 1;
    for inside in [top - BEHIND, top, top + AHEAD - 1] {
        let host = draining();
        opened(&host, &flow, 1 << 31);
        assert_eq!(go(&host, &flow, &data(inside)), Ok(backend), "{inside:#x}");
    }
    for outside in [top - BEHIND - 1, top + AHEAD, 1] {
        assert_eq!(environment(go(&host, &flow, &data(outside)).unwrap()), Blue, "{outside:#x}");
    }
}

#[test]
fn a_silent_clients_keepalive_probe_is_its_own() {
    let host = draining();
    let flow = host.flow(1);
    let backend = go(&host, &flow, &syn(7)).unwrap();
    assert_eq!(go(&host, &flow, &Segment { sequence: 7, ..Segment::ACK }), Ok(backend));
    host.wait(3000);
    assert_eq!(expire(&host), 0, "a packet has matched it");
    assert_eq!(go(&host, &flow, &Segment { sequence: 7, ..Segment::ACK }), Ok(backend));
}

#[test]
fn a_forged_syn_moves_neither_a_pinned_connection_nor_one_of_base() {
    let host = draining();
    let (old, new) = (host.flow(1), host.flow(2));
    let base = go(&host, &old, &data(5_000_000)).unwrap();
    let backend = opened(&host, &new, 7);
    for flow in [&old, &new] {
        go(&host, flow, &syn(3_000_000_000)).unwrap();
    }
    host.set(0, Phase::Drain, BLUE, BLUE);
    assert_eq!(go(&host, &old, &data(5_000_100)), Ok(base));
    assert_eq!(go(&host, &new, &data(100)), Ok(backend));
    // The SYN of the connection comes once more, and finds that the forged one waits.
    assert_eq!(go(&host, &new, &syn(7)).map(environment), Ok(Blue), "remembered, and nothing to change");
    assert_eq!(go(&host, &new, &data(200)), Ok(backend));
    host.wait(130);
    expire(&host);
    assert_eq!(go(&host, &new, &data(300)), Ok(backend));
}

#[test]
fn a_new_connection_takes_the_place_of_one_that_was_reset_unseen() {
    let host = draining();
    let flow = host.flow(1);
    let first = opened(&host, &flow, 7);
    host.set(0, Phase::Drain, BLUE, BLUE);
    let second = opened(&host, &flow, 1_000_000);
    assert_ne!(first, second);
    assert_eq!(environment(second), Blue);
    assert_eq!(go(&host, &flow, &data(1_000_000 + (1 << 20))), Ok(second));
}

#[test]
fn a_syn_that_nobody_followed_makes_another_wait_until_it_is_forgotten() {
    let host = draining();
    let flow = host.flow(1);
    go(&host, &flow, &syn(7)).unwrap();
    assert_eq!(go(&host, &flow, &syn(1_000_000)), Err(Reason::PinBusy));
    host.wait(130);
    assert_eq!(expire(&host), 1);
    assert!(go(&host, &flow, &syn(1_000_000)).is_ok());
}

#[test]
fn after_its_end_a_client_may_wait_for_its_backends() {
    let host = draining();
    let flow = host.flow(1);
    let backend = opened(&host, &flow, 7);
    assert_eq!(go(&host, &flow, &Segment { fin: true, ..data(100) }), Ok(backend));
    for _ in 0..5 {
        host.wait(250);
        assert_eq!(expire(&host), 0);
        assert_eq!(go(&host, &flow, &Segment { sequence: 101, ..Segment::ACK }), Ok(backend));
    }
    host.wait(310);
    assert_eq!(expire(&host), 1);
}

#[test]
fn the_drain_waits_for_the_end_of_what_is_closing() {
    let host = draining();
    let flow = host.flow(1);
    opened(&host, &flow, 7);
    go(&host, &flow, &Segment { fin: true, ..data(100) }).unwrap();
    // A rollback drains green.
    host.set(0, Phase::Drain, BLUE, BLUE);
    let alive = || {
        let services = [Some(host.service(0))];
        Pins::new(&host, &services).summary(0, host.control(0), 600).leaving_alive
    };
    assert_eq!(alive(), 1);
    host.wait(310);
    assert_eq!(alive(), 0);
}

#[test]
fn clearing_remembers_the_first_sequence_number_of_a_connection_that_has_gone_far() {
    let host = draining();
    let flow = host.flow(1);
    let backend = opened(&host, &flow, 7);
    assert_eq!(go(&host, &flow, &data(1 << 24)), Ok(backend));
    host.set(0, Phase::Steady, GREEN, GREEN);
    let services = [Some(host.service(0))];
    assert_eq!(Pins::new(&host, &services).clear(&mut Alone, 0, host.control(0)), Ok(0));
    assert!(recent::has(&host, 0, &flow, 7));
}
