//! The rule over plain tables: each of its lines by itself, then random histories of clients, servers,
//! switches, spoofed SYNs and clearings, in which no connection may change its backend.

use super::*;
use crate::control::Environment::{Blue, Green};
use crate::host::{Host, RING_SIZE};
use crate::service;
use core::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

mod datagrams;
mod direct;
mod history;
mod rate;
mod source;
mod views;

const BLUE: (u8, Environment) = (0, Blue);
const GREEN: (u8, Environment) = (1, Green);

pub(super) fn syn(isn: u32) -> Segment {
    Segment { syn: true, ack: false, sequence: isn, ..Segment::ACK }
}

pub(super) fn data(sequence: u32) -> Segment {
    Segment { payload: true, sequence, ..Segment::ACK }
}

pub(super) fn answer(isn: u32) -> Segment {
    Segment { acknowledgement: isn.wrapping_add(1), ..Segment::ACK }
}

/// Where a segment of a client goes.
pub(super) fn go(host: &Host, flow: &Flow, segment: &Segment) -> Result<BackendId, Reason> {
    forward(host, || View::ORDINARY, &host.service(0), flow, segment).map(|route| route.backend)
}

/// The environment of a backend of [`Host`].
pub(super) fn environment(backend: BackendId) -> Environment {
    Environment::from_bit((backend / 2) as u8)
}

/// A backend of the service of deployment 0.
pub(super) fn sender(backend: BackendId) -> Sender {
    Sender { deployment: 0, service: 0, environment: environment(backend), backend }
}

/// A backend answers, this way or another.
fn replied(host: &Host, flow: &Flow, backend: BackendId, segment: &Segment) {
    if host.service(0).direct() {
        return;
    }
    reply(host, &|| View::ORDINARY, sender(backend), flow, segment);
}

fn flip(host: &Host) {
    host.set(0, Phase::Drain, BLUE, GREEN);
}

#[test]
fn in_steady_every_packet_goes_by_base_and_only_syns_are_remembered() {
    let host = Host::default();
    let flow = host.flow(1);
    let base = go(&host, &flow, &syn(7)).unwrap();
    assert_eq!(environment(base), Blue);
    assert_eq!(go(&host, &flow, &data(8)), Ok(base));
    assert!(recent::has(&host, 0, &flow, 7) && !recent::has(&host, 0, &flow, 8));
    assert_eq!(host.used_pins().count(), 0);
}

#[test]
fn an_unset_deployment_is_the_kernels() {
    let host = Host::default();
    host.set(0, Phase::Off, BLUE, BLUE);
    assert_eq!(go(&host, &host.flow(1), &syn(7)), Err(Reason::NotReady));
}

#[test]
fn a_flow_opened_before_a_flip_stays_and_one_opened_after_goes_to_current() {
    let host = Host::default();
    let (old, new) = (host.flow(1), host.flow(2));
    let before = go(&host, &old, &syn(7)).unwrap();
    flip(&host);
    assert_eq!(go(&host, &old, &data(8)), Ok(before));
    let after = go(&host, &new, &syn(7)).unwrap();
    assert_eq!(environment(after), Green);
    assert_eq!(go(&host, &new, &data(8)), Ok(after));
    host.set(0, Phase::Drain, BLUE, BLUE);
    assert_eq!(go(&host, &old, &data(9)), Ok(before), "a rollback moves nothing");
    assert_eq!(go(&host, &new, &data(9)), Ok(after), "a rollback moves nothing");
}

#[test]
fn a_ring_that_moves_some_slots_needs_pins_for_those_alone() {
    let host = Host::default();
    let service = host.service(0);
    // Ring 2 is ring 0 with every other slot led to green.
    let ids: [BackendId; RING_SIZE as usize] = core::array::from_fn(|i| if i % 2 == 0 { 0 } else { 2 });
    for (i, element) in ring::pack(&ids).enumerate() {
        host.rings[(service.ring_base + 2 * service.ring_stride) as usize + i].store(element, SeqCst);
    }
    host.set(0, Phase::Drain, BLUE, (2, Blue));
    for number in 1..200 {
        let flow = host.flow(number);
        let pins = host.used_pins().count();
        let backend = go(&host, &flow, &syn(7)).unwrap();
        assert_eq!(backend, ids[ring::slot(flow.hash, RING_SIZE) as usize]);
        let pinned = host.used_pins().count() > pins;
        assert_eq!(pinned, environment(backend) == Green);
        assert_eq!(recent::has(&host, 0, &flow, 7), !pinned, "what goes to base is remembered");
        assert_eq!(go(&host, &flow, &data(8)), Ok(backend));
    }
}

#[test]
fn a_syn_sent_before_the_flip_and_again_after_it_goes_where_it_went() {
    let host = Host::default();
    let flow = host.flow(1);
    let first = go(&host, &flow, &syn(7)).unwrap();
    flip(&host);
    assert_eq!(go(&host, &flow, &syn(7)), Ok(first));
    assert_eq!(host.used_pins().count(), 0);
}

#[test]
fn a_retransmitted_syn_goes_where_its_half_pin_says_whatever_is_current() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let first = go(&host, &flow, &syn(7)).unwrap();
    host.set(0, Phase::Drain, BLUE, BLUE);
    assert_eq!(go(&host, &flow, &syn(7)), Ok(first));
}

#[test]
fn without_room_a_new_connection_goes_to_base_and_stays_there() {
    let host = Host::new(1, 0);
    let flow = host.flow(1);
    flip(&host);
    let route = forward(&host, || View::ORDINARY, &host.service(0), &flow, &syn(7)).unwrap();
    assert!(route.overflow && environment(route.backend) == Blue);
    assert_eq!(go(&host, &flow, &syn(7)), Ok(route.backend));
    assert_eq!(go(&host, &flow, &data(8)), Ok(route.backend));
}

#[test]
fn a_second_syn_with_another_isn_waits_while_one_is_half_open() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    go(&host, &flow, &syn(7)).unwrap();
    assert_eq!(go(&host, &flow, &syn(1_000_000)), Err(Reason::PinBusy));
}

#[test]
fn a_spoofed_syn_does_not_move_an_established_flow() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let backend = go(&host, &flow, &syn(7)).unwrap();
    replied(&host, &flow, backend, &answer(7));
    host.set(0, Phase::Drain, BLUE, BLUE);
    let spoofed = go(&host, &flow, &syn(0x8000_0000)).unwrap();
    assert_eq!(environment(spoofed), Blue);
    assert_eq!(go(&host, &flow, &data(8)), Ok(backend));
}

#[test]
fn only_the_backends_own_acknowledgement_promotes() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let backend = go(&host, &flow, &syn(7)).unwrap();
    let held = || host.used_pins().next().and_then(Pin::established);
    let syn_ack = Segment { syn: true, ..answer(7) };
    let reset = Segment { rst: true, ..answer(7) };
    for (what, from, segment) in [
        ("a SYN-ACK", backend, syn_ack),
        ("a RST", backend, reset),
        ("another backend", backend ^ 1, answer(7)),
        ("another isn", backend, answer(7 + pin::WINDOW)),
    ] {
        replied(&host, &flow, from, &segment);
        assert_eq!(held(), None, "{what}");
    }
    replied(&host, &flow, backend, &answer(7));
    assert_eq!(held(), Some(Hold::new(7, backend, host.seconds())), "and the isn is kept");
}

#[test]
fn a_keepalive_of_a_silent_client_carries_the_isn_itself_and_stays() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let backend = go(&host, &flow, &syn(7)).unwrap();
    host.set(0, Phase::Drain, BLUE, BLUE);
    assert_eq!(go(&host, &flow, &Segment { sequence: 7, ..Segment::ACK }), Ok(backend));
    let pin = host.used_pins().next().unwrap();
    assert!(pin.half().unwrap().matched());
}

#[test]
fn nothing_new_enters_a_sealed_environment_and_a_stopped_seal_is_a_drain() {
    let host = Host::default();
    let (before, tried) = (host.flow(1), host.flow(2));
    go(&host, &before, &syn(7)).unwrap();
    flip(&host);
    let green = go(&host, &tried, &syn(7)).unwrap();
    host.set(0, Phase::Seal, BLUE, GREEN);
    assert_eq!(go(&host, &before, &syn(7)), Err(Reason::Sealed));
    assert_eq!(go(&host, &tried, &syn(7)), Ok(green));
    assert_eq!(environment(go(&host, &before, &data(8)).unwrap()), Blue, "data still passes");
    host.set(0, Phase::Seal, BLUE, BLUE);
    assert_eq!(go(&host, &tried, &syn(7)), Err(Reason::Sealed));
    assert_eq!(environment(go(&host, &before, &syn(7)).unwrap()), Blue);
    host.wait(3);
    assert_eq!(go(&host, &tried, &syn(7)), Ok(green), "the agent has stopped in the seal");
}

#[test]
fn a_full_table_in_a_seal_refuses_rather_than_enter() {
    let host = Host::new(1, 0);
    host.set(0, Phase::Seal, BLUE, GREEN);
    assert_eq!(go(&host, &host.flow(1), &syn(7)), Err(Reason::Sealed));
}

#[test]
fn pins_on_a_dead_backend_are_void() {
    let host = Host::default();
    let flow = host.flow(1);
    flip(&host);
    let backend = go(&host, &flow, &syn(7)).unwrap();
    replied(&host, &flow, backend, &answer(7));
    host.backends[usize::from(backend)].dead.store(1, SeqCst);
    assert_eq!(environment(go(&host, &flow, &data(8)).unwrap()), Blue, "by base, which will refuse it");
}

#[test]
fn a_ring_without_a_backend_refuses() {
    let host = Host::default();
    for element in &host.rings {
        element.store(u64::MAX, SeqCst);
    }
    assert_eq!(go(&host, &host.flow(1), &syn(7)), Err(Reason::NoBackend));
    flip(&host);
    assert_eq!(go(&host, &host.flow(1), &syn(9)), Err(Reason::NoBackend));
    assert_eq!(host.used_pins().count(), 0);
}

#[test]
fn the_census_sees_old_flows_both_ways_and_no_others() {
    let host = Host::default();
    let (old, new) = (host.flow(1), host.flow(2));
    let backend = go(&host, &old, &syn(7)).unwrap();
    flip(&host);
    go(&host, &new, &syn(7)).unwrap();
    assert_eq!(host.census_flows().count(), 0);
    replied(&host, &old, backend, &data(1));
    go(&host, &old, &Segment { fin: true, ..data(8) }).unwrap();
    replied(&host, &old, backend, &Segment { fin: true, ..Segment::ACK });
    go(&host, &old, &Segment::ACK).unwrap();
    let seen: std::vec::Vec<_> = host.census_flows().collect();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].meta.finished() && seen[0].meta.place() == Blue as u16);
}

#[test]
fn a_syn_stamps_the_environment_that_it_enters() {
    let host = Host::default();
    let stamp = |which: Environment| host.deployments[0][live::LAST_SYN + which as usize].load(SeqCst);
    go(&host, &host.flow(1), &syn(7)).unwrap();
    assert!(stamp(Blue) != 0 && stamp(Green) == 0);
    flip(&host);
    go(&host, &host.flow(2), &syn(7)).unwrap();
    assert!(stamp(Green) != 0);
}

#[test]
fn a_ring_that_leads_to_both_environments_stamps_the_one_that_was_entered() {
    let host = Host::default();
    let service = host.service(0);
    let mixed: std::vec::Vec<_> = (0..RING_SIZE as u16).map(|slot| slot % 4).collect();
    for (i, element) in ring::pack(&mixed).enumerate() {
        host.rings[(service.ring_base + 2 * service.ring_stride) as usize + i].store(element, SeqCst);
    }
    host.set(0, Phase::Drain, BLUE, (2, Blue));
    for number in 1..50 {
        host.wait(1);
        let entered = environment(go(&host, &host.flow(number), &syn(7)).unwrap());
        let stamp = &host.deployments[0][live::LAST_SYN + entered as usize];
        assert_eq!(stamp.load(SeqCst), u64::from(host.seconds()), "{entered:?}");
    }
}

#[test]
fn two_choices_fill_most_of_the_table_before_anything_overflows() {
    let host = Host::new(1, 256);
    flip(&host);
    let overflow = |n: u16| {
        let flow = host.flow(n);
        forward(&host, || View::ORDINARY, &host.service(0), &flow, &syn(7)).unwrap().overflow
    };
    // 1,024 pins in all; half of them are taken without a miss.
    let first = (0..1024).position(overflow);
    assert!(first.is_none_or(|n| n > 512), "overflow at {first:?} of 1024");
}

#[test]
fn processors_that_see_one_new_flow_agree_on_one_pin() {
    for round in 0..200_u32 {
        let host = Host::new(1, 2);
        flip(&host);
        let flow = host.flow(1);
        let routes: std::vec::Vec<_> = std::thread::scope(|scope| {
            let threads: std::vec::Vec<_> = (0..4_u32)
                .map(|i| {
                    let (host, flow) = (&host, &flow);
                    scope.spawn(move || go(host, flow, &syn(round * 1_000_000 + (i % 2) * 500_000)))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // A lock that is not had in time makes a SYN wait, which is safe; two pins are not.
        assert!(host.used_pins().count() <= 1, "{routes:?}");
        let half = host.used_pins().next().and_then(Pin::half);
        assert!(half.is_some(), "{routes:?}");
    }
}

#[test]
fn a_removed_entry_does_not_hide_those_behind_it() {
    use crate::abi::{Address, Endpoint, entry};
    struct Table(std::vec::Vec<Service>);
    impl service::Directory for Table {
        fn service(&self, index: u32) -> Option<&Service> {
            self.0.get(index as usize)
        }
        fn endpoint(&self, _: u32) -> Option<&Endpoint> {
            None
        }
    }
    let host = Host::default();
    let wanted = host.service(0);
    let place = (service::place(&wanted.vip, wanted.port, 6) & 15) as usize;
    let empty = Service { state: entry::EMPTY, ..wanted };
    let mut table = Table(std::vec![empty; 16]);
    table.0[place] = Service { state: entry::REMOVED, ..wanted };
    table.0[(place + 1) & 15] = Service { id: 9, ..wanted };
    let find = |port: [u8; 2]| service::find(&table, 15, &wanted.vip, port, 6).map(|found| found.id);
    assert_eq!(find(wanted.port), Some(9));
    assert_eq!(find([0, 1]), None);
    let other = service::find(&table, 15, &Address::v4([1, 2, 3, 4]), wanted.port, 6);
    assert!(other.is_none());
    assert_eq!(RING_SIZE, wanted.ring_size);
}
