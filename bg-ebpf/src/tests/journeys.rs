//! Flows there and back.

use std::vec::Vec;

use bg_common::control::{Environment, Phase};
use bg_common::reason::Reason;

use super::{ACK, BACKENDS, CLIENT, LAN, LAN_MAC, SYN, VIP, WAN, arrive, frame, from_client, node};
use crate::verdict::Action;
use Environment::{Blue, Green};

/// Where a client's packet was sent.
fn backend_of(sent: &[u8]) -> [u8; 4] {
    [sent[30], sent[31], sent[32], sent[33]]
}

#[test]
fn what_goes_out_comes_back_as_it_went() {
    let host = node();
    for port in 1..500 {
        let (action, sent) = arrive(&host, &from_client(port, SYN), WAN);
        assert_eq!(action, Action::Redirect(LAN));
        let backend = backend_of(&sent);
        assert!(BACKENDS[..2].contains(&backend), "{backend:?} is not blue");
        assert_eq!(sent[36..38], 8080_u16.to_be_bytes());

        // The backend's reply, with the checksums of the packet that came: what the way there changed,
        // the way back changes back, but for the two hops.
        let mut reply = frame(LAN_MAC, [2; 6], (backend, 8080), (CLIENT, port), ACK);
        reply[50..52].copy_from_slice(&sent[50..52]);
        let (action, returned) = arrive(&host, &reply, LAN);
        assert_eq!(action, Action::Redirect(WAN));
        assert_eq!(returned[26..30], VIP);
        assert_eq!(returned[34..36], 443_u16.to_be_bytes());
        assert_eq!(returned[50..52], [0xab, 0xcd]);
        assert_eq!(returned[22], 63);
    }
    assert_eq!(host.counted(Reason::Forwarded).packets, 499);
    assert_eq!(host.counted(Reason::Returned).packets, 499);
}

#[test]
fn a_flow_keeps_its_backend_through_flip_and_rollback() {
    let host = node();
    let before: Vec<_> =
        (1..200).map(|port| backend_of(&arrive(&host, &from_client(port, SYN), WAN).1)).collect();
    host.tables.set(0, Phase::Drain, (0, Blue), (1, Green));
    let opened: Vec<_> =
        (1000..1050).map(|port| backend_of(&arrive(&host, &from_client(port, SYN), WAN).1)).collect();
    assert!(opened.iter().all(|backend| BACKENDS[2..].contains(backend)));
    for current in [(1, Green), (0, Blue), (1, Green)] {
        host.tables.set(0, Phase::Drain, (0, Blue), current);
        for (port, backend) in (1..).zip(&before).chain((1000..).zip(&opened)) {
            assert_eq!(backend_of(&arrive(&host, &from_client(port, ACK), WAN).1), *backend);
        }
    }
}

#[test]
fn every_backend_of_a_ring_is_used() {
    let host = node();
    let mut seen = [0; 2];
    for port in 1..1000 {
        let backend = backend_of(&arrive(&host, &from_client(port, ACK), WAN).1);
        seen[usize::from(backend[3] - 1)] += 1;
    }
    assert!(seen.iter().all(|&count| count > 400), "{seen:?}");
}

#[test]
fn interfaces_whose_places_collide_are_told_apart() {
    let mut host = node();
    host.add_interface(WAN + 64, [2, 0, 0, 0, 0, 77]);
    let mut packet = from_client(1, ACK);
    packet[5] = 77;
    assert_eq!(arrive(&host, &packet, WAN + 64).0, Action::Redirect(LAN));
    assert_eq!(arrive(&host, &packet, WAN).0, Action::Pass);
    assert_eq!(host.counted(Reason::ForeignMac).packets, 1);
}
