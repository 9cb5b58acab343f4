//! ICMP for VIPs: echo answered, errors led to the backend or to the client they are about. Cases 19 to 25.

use std::net::{IpAddr, Ipv4Addr};

use bg_common::control::Environment;
use bg_common::reason::Reason;
use bg_tests::packets::craft::{IcmpError, flags};
use bg_tests::packets::world::{
    BACKENDS, Backend, CLIENT, CLIENT_MAC, EDGE, LAN_MAC, SILENT, V6_BACKEND, WAN_MAC, WEB, v6, v6_ip,
};
use bg_tests::packets::{Action, Rig, Segment, Transport};

/// Somebody on the way.
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

/// Kinds of errors with what is behind their checksums: too big, unreachable, out of hops.
fn kinds(over_v6: bool) -> [(u8, u8, [u8; 4]); 3] {
    if over_v6 {
        [(2, 0, [0, 0, 5, 0]), (1, 4, [0; 4]), (3, 0, [0; 4])]
    } else {
        [(3, 4, [0, 0, 5, 0]), (3, 3, [0; 4]), (11, 0, [0; 4])]
    }
}

/// A message to `to`, that arrives on the wan.
fn message(from: IpAddr, to: IpAddr, kind: (u8, u8, [u8; 4]), quote: Vec<u8>) -> IcmpError {
    let (kind, code, rest) = kind;
    let tags = Vec::new();
    IcmpError { to: WAN_MAC, from: CLIENT_MAC, tags, vip: from, client: to, ttl: 64, kind, code, rest, quote }
}

/// Replies of the first service to the client as it sees them, in several shapes.
fn replies() -> Vec<Segment> {
    let bare =
        Segment { source: WEB, destination: CLIENT, payload: vec![7; 33], ..Segment::to_service(flags::ACK) };
    let shapes = [
        bare.clone(),
        Segment { ip_options: vec![1; 12], tcp_options: vec![1; 8], ..bare.clone() },
        Segment { transport: Transport::Udp, ..bare.clone() },
        Segment { transport: Transport::Udp, payload: vec![9], ..bare },
    ];
    shapes.iter().flat_map(|shape| [shape.clone(), shape.over_v6()]).collect()
}

/// How long quotes are: all, and no more than eight bytes of the transport header.
fn lengths(segment: &Segment) -> [usize; 2] {
    let header = if segment.source.is_ipv4() { 20 + segment.ip_options.len() } else { 40 };
    [segment.ip_bytes().len(), header + 8]
}

/// The backend of that environment, of the segment's version of IP.
fn backend(segment: &Segment, environment: usize) -> Backend {
    BACKENDS[environment + if segment.source.is_ipv4() { 0 } else { V6_BACKEND }]
}

fn router(segment: &Segment) -> IpAddr {
    if segment.source.is_ipv4() { ROUTER } else { v6_ip(ROUTER) }
}

fn quote(segment: &Segment, length: usize) -> Vec<u8> {
    let mut bytes = segment.ip_bytes();
    bytes.truncate(length);
    bytes
}

/// Expects that errors about a reply reach this backend, and speak of its address.
#[track_caller]
fn reach(rig: &mut Rig<'_>, reply: &Segment, to: &Backend) {
    let known = Segment { source: to.address, ..reply.clone() };
    for length in lengths(reply) {
        for kind in kinds(reply.source.is_ipv6()) {
            let error = message(router(reply), reply.source.ip(), kind, quote(reply, length));
            let led = IcmpError {
                to: to.mac,
                from: LAN_MAC,
                client: to.address.ip(),
                ttl: 63,
                quote: quote(&known, length),
                ..error.clone()
            };
            rig.expect(&error.bytes(), Reason::ErrorForwarded, Action::Redirect, &led.bytes());
            rig.expect(&padded(&error), Reason::ErrorForwarded, Action::Redirect, &padded(&led));
        }
    }
}

/// With more bytes in the frame than the message has. They are no part of it: nothing is read from them, and none
/// of them changes.
fn padded(error: &IcmpError) -> Vec<u8> {
    [error.bytes(), vec![0x5a; 40]].concat()
}

/// Case 19.
#[test]
fn an_echo_request_to_a_vip_is_answered() {
    Rig::run("echo", |rig| {
        for (client, vip, kinds) in
            [(CLIENT.ip(), WEB.ip(), [8, 0]), (v6(CLIENT).ip(), v6(WEB).ip(), [128, 129])]
        {
            for payload in [vec![], vec![1, 2, 3], vec![0xab; 1400]] {
                let request =
                    IcmpError { ttl: 3, ..message(client, vip, (kinds[0], 0, [1, 2, 3, 4]), payload) };
                let answer = IcmpError {
                    to: CLIENT_MAC,
                    from: WAN_MAC,
                    vip,
                    client,
                    ttl: 64,
                    kind: kinds[1],
                    ..request.clone()
                };
                rig.expect(&request.bytes(), Reason::Echoed, Action::Tx, &answer.bytes());
            }
            let other = message(client, client, (kinds[0], 0, [0; 4]), vec![]);
            rig.expect_untouched(&other.bytes(), Reason::OtherProtocol);
            let answer = message(client, vip, (kinds[1], 0, [0; 4]), vec![]);
            rig.expect_untouched(&answer.bytes(), Reason::OtherProtocol);
        }
    });
}

/// Cases 20, 22 and 23: errors about a reply go to the backend that sent it.
#[test]
fn an_error_about_a_reply_reaches_the_backend_that_sent_it() {
    Rig::run("toback", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for reply in replies() {
            rig.tables.steady(0, Environment::Blue).unwrap();
            reach(rig, &reply, &backend(&reply, 0));
            rig.tables.steady(0, Environment::Green).unwrap();
            reach(rig, &reply, &backend(&reply, 1));
        }
    });
}

/// Through a switch they follow the connection: to base without a pin, to the pin's backend with one.
#[test]
fn an_error_follows_its_connection_through_a_switch() {
    Rig::run("icmppin", |rig| {
        for v6 in [false, true] {
            let version = |segment: Segment| if v6 { segment.over_v6() } else { segment };
            let reply =
                version(Segment { source: WEB, destination: CLIENT, ..Segment::to_service(flags::ACK) });
            rig.tables.flip(0, Environment::Blue).unwrap();
            reach(rig, &reply, &backend(&reply, 0));
            rig.send(&version(Segment::to_service(flags::SYN)).bytes());
            reach(rig, &reply, &backend(&reply, 1));
        }
    });
}

/// Case 21: errors about a request go to the client, from the VIP, and quote what the client sent.
#[test]
fn an_error_about_a_request_reaches_the_client_from_the_vip() {
    Rig::run("toclient", |rig| {
        rig.tables.serve_udp(true).unwrap();
        for reply in replies() {
            let request = Segment { source: reply.destination, destination: reply.source, ..reply.clone() };
            let backend = backend(&reply, 0);
            let known = Segment { destination: backend.address, ..request.clone() };
            for length in lengths(&reply) {
                for (kind, by) in kinds(reply.source.is_ipv6()).into_iter().zip([
                    backend.address.ip(),
                    backend.address.ip(),
                    router(&reply),
                ]) {
                    let client = request.source.ip();
                    let error =
                        IcmpError { from: backend.mac, ..message(by, client, kind, quote(&known, length)) };
                    let led = IcmpError {
                        to: CLIENT_MAC,
                        from: WAN_MAC,
                        vip: reply.source.ip(),
                        ttl: 63,
                        quote: quote(&request, length),
                        ..error.clone()
                    };
                    rig.expect(&error.bytes(), Reason::ErrorReturned, Action::Tx, &led.bytes());
                }
            }
        }
    });
}

/// Cases 24 and 25, and what else cannot be led anywhere.
#[test]
fn an_error_that_says_too_little_goes_nowhere() {
    Rig::run("short", |rig| {
        for reply in [replies()[0].clone(), replies()[1].clone()] {
            let [_, enough] = lengths(&reply);
            let kind = kinds(reply.source.is_ipv6())[0];
            let vip = reply.source.ip();
            for length in [enough - 1, enough - 8, enough - 9, 3, 0] {
                let error = message(router(&reply), vip, kind, quote(&reply, length));
                rig.expect_drop(&error.bytes(), Reason::ShortQuote);
            }
            for length in [enough - 1, enough - 8] {
                let error = message(router(&reply), vip, kind, quote(&reply, length));
                rig.expect_drop(&padded(&error), Reason::ShortQuote);
            }
            let mut other = quote(&reply, enough);
            other[if vip.is_ipv4() { 9 } else { 6 }] = 132;
            rig.expect_untouched(&message(router(&reply), vip, kind, other).bytes(), Reason::OtherProtocol);
            // About somebody else's packet, or to nobody of ours.
            let mut foreign = reply.clone();
            foreign.source.set_port(9999);
            let about = message(router(&reply), vip, kind, quote(&foreign, enough));
            rig.expect_untouched(&about.bytes(), Reason::OtherProtocol);
            let nobody = message(router(&reply), router(&reply), kind, quote(&reply, enough));
            rig.expect_untouched(&nobody.bytes(), Reason::OtherProtocol);
            let last = IcmpError { ttl: 1, ..message(router(&reply), vip, kind, quote(&reply, enough)) };
            rig.expect_drop(&last.bytes(), Reason::ErrorTtl);
        }
    });
}

/// Case 45, for ICMP: the kernel finds the neighbour.
#[test]
fn an_error_for_a_backend_that_was_never_heard_of_goes_up_rewritten() {
    Rig::run("icmpup", |rig| {
        let to = BACKENDS[SILENT];
        let reply = Segment { source: EDGE, destination: CLIENT, ..Segment::to_service(flags::ACK) };
        let known = Segment { source: to.address, ..reply.clone() };
        let error = message(ROUTER, EDGE.ip(), kinds(false)[0], quote(&reply, 28));
        let led = IcmpError { client: to.address.ip(), quote: quote(&known, 28), ..error.clone() };
        rig.expect(&error.bytes(), Reason::ForwardedByKernel, Action::Pass, &led.bytes());
    });
}
