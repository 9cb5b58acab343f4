//! Affinity by source: which slot a client has does not depend on its ports, and everything else goes by the tuple as
//! ever.

use super::*;

const SOURCE: u8 = affinity::SOURCE;

/// The service whose clients stay together.
fn service(host: &Host, affinity: u8) -> Service {
    Service { affinity, ..host.service(0) }
}

/// A client's flow from one of its ports.
fn flow(host: &Host, client: u8, port: u16) -> Flow {
    Flow::v4(&host.node.key, [192, 0, 2, client], port.to_be_bytes(), 0)
}

fn goes(host: &Host, service: &Service, flow: &Flow, segment: &Segment) -> BackendId {
    forward(host, || View::ORDINARY, service, flow, segment).unwrap().backend
}

#[test]
fn all_flows_of_a_client_have_one_backend_in_every_phase() {
    let host = Host::new(1, 4096);
    let service = service(&host, SOURCE);
    let opened = |client, ports: core::ops::Range<u16>| {
        let mut backends = ports.map(|port| goes(&host, &service, &flow(&host, client, port), &syn(7)));
        let first = backends.next().unwrap();
        assert!(backends.all(|backend| backend == first), "client {client}");
        first
    };
    let before: Vec<_> = (0..32).map(|client| opened(client, 1000..1010)).collect();
    assert!(before.contains(&0) && before.contains(&1), "clients spread over the backends: {before:?}");
    flip(&host);
    for (client, &before) in (0..32).zip(&before) {
        assert_eq!(environment(opened(client, 2000..2010)), Green);
        assert!((1000..1010).all(|p| goes(&host, &service, &flow(&host, client, p), &data(8)) == before));
    }
}

#[test]
fn a_pin_is_judged_by_the_slot_that_it_was_made_for() {
    use crate::clear::Pins;
    // Pins of a flow opened after a flip agree with the base that current becomes, by the client's slot.
    let host = Host::new(1, 4096);
    let service = service(&host, SOURCE);
    flip(&host);
    for client in 0..32 {
        assert_eq!(environment(goes(&host, &service, &flow(&host, client, 1000), &syn(7))), Green);
    }
    host.set(0, Phase::Steady, GREEN, GREEN);
    let services = [Some(service)];
    let pins = Pins::new(&host, &services);
    assert_eq!(host.used_pins().count(), 32);
    assert_eq!(pins.summary(0, host.control(0), 600).disagreeing, 0);
}

#[test]
fn without_it_the_ports_count() {
    let host = Host::default();
    let service = service(&host, 0);
    let mut backends = (0..50).map(|port| goes(&host, &service, &flow(&host, 1, port), &syn(7)));
    let first = backends.next().unwrap();
    assert!(backends.any(|backend| backend != first));
}

#[test]
fn datagrams_too() {
    let host = Host::new(1, 4096);
    let service = Service { protocol: 17, ..service(&host, SOURCE | affinity::FLOW) };
    let goes = |client, port| {
        datagram::forward(&host, || View::ORDINARY, &service, &flow(&host, client, port)).unwrap().backend
    };
    let before = goes(1, 0);
    assert!((1..50).all(|port| goes(1, port) == before));
    flip(&host);
    assert!((0..50).all(|port| goes(1, port) == before), "the flows were there before");
    let after = goes(1, 100);
    assert_eq!(environment(after), Green);
    assert!((100..150).all(|port| goes(1, port) == after));
}
