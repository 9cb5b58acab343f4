//! What both modes have whose backends answer clients themselves.

use std::net::SocketAddr;

use super::{
    ACK, Act, CLIENT, DRAIN, FIN, LAN_MAC, PSH, Part, ROUTER, RST, STEADY, SYN, Segment, Transport, WAN, at,
    craft, extension, from, lan, reply, switch, to, wan,
};

/// Services of these modes. Blue's backends are near and behind the narrow link, green's behind a router and silent.
const VIPS: [(&str, SocketAddr); 2] = [("dsr", at(203, 0, 113, 20, 443)), ("ipip", at(203, 0, 113, 30, 443))];
/// So many flows come to both backends of an environment.
const FLOWS: u16 = 4;

/// The cases of both, with their names.
pub(super) fn cases() -> impl Iterator<Item = (String, Vec<Part>)> {
    VIPS.into_iter().flat_map(|(mode, vip)| {
        of(vip).into_iter().map(move |(name, parts)| (format!("{mode}-{name}"), parts))
    })
}

fn of(vip: SocketAddr) -> [(&'static str, Vec<Part>); 10] {
    let green = || switch(0, STEADY, 1, 1);
    let each = |segment: Segment| (0..FLOWS).map(move |n| wan(from(40_000 + n, segment.clone())));
    let large = |payload, fragment| Segment { payload: vec![6; payload], fragment, ..to(vip, ACK) };
    let datagram = Segment { destination: vip, ..Segment::datagram(b"question") };
    let drained = |segment: Segment| {
        let before = [wan(segment.clone()), switch(0, DRAIN, 0, 1)].into_iter().chain(each(segment.clone()));
        before.chain([switch(0, DRAIN, 1, 0)]).chain(each(segment)).collect::<Vec<_>>()
    };
    [
        ("requests", each(to(vip, SYN)).chain([green()]).chain(each(to(vip, SYN))).collect()),
        ("odd", odd(vip)),
        ("flow", flow(vip)),
        ("drain", drained(to(vip, SYN))),
        ("datagrams", drained(datagram.clone())),
        (
            "datagram-unsummed",
            vec![wan(Segment { transport: Transport::UdpUnsummed, payload: vec![1; 33], ..datagram })],
        ),
        (
            "large",
            each(large(1300, craft::DF))
                .chain(each(large(1300, 0)))
                .chain(each(large(1450, craft::DF)))
                .collect(),
        ),
        ("fragments", fragments(vip)),
        ("errors", errors(vip, 8).chain(errors(vip, 1224)).chain([green()]).chain(errors(vip, 8)).collect()),
        (
            "astray",
            vec![
                lan(reply(vip, CLIENT, SYN | ACK)),
                lan(reply(at(10, 0, 1, 1, 443), CLIENT, ACK)),
                lan(Segment { to: LAN_MAC, ..to(vip, SYN) }),
            ],
        ),
    ]
}

/// What an outer header repeats, and what stays as it is.
fn odd(vip: SocketAddr) -> Vec<Part> {
    let tag = [0x81, 0, 0, 5];
    let service_tag = [0x88, 0xa8, 0, 6];
    let chain = vec![extension::options(extension::HOP_BY_HOP, 8), extension::routing(0)];
    let segment = to(vip, ACK);
    let shapes = [
        Segment { ttl: 1, ..segment.clone() },
        Segment { ttl: 2, tos: 0xb9, padding: vec![0xee; 6], ..segment.clone() },
        Segment { tags: vec![tag], payload: vec![3; 9], flow_label: 0xa_bcde, ..segment.clone() },
        Segment { tags: vec![service_tag, tag], ip_options: vec![1; 12], ..segment.clone() },
        Segment { extensions: chain, tos: 3, payload: vec![2; 11], ..segment.clone() },
        Segment { flags: SYN | FIN, ..segment },
    ];
    shapes.map(wan).into()
}

/// A connection of which no reply is seen, from its SYN on; with numbers at the edges of what its pin covers.
fn flow(vip: SocketAddr) -> Vec<Part> {
    let segment = |flags, ahead: u32| {
        let syn = to(vip, SYN);
        wan(Segment { flags, sequence: syn.sequence.wrapping_add(ahead), ..syn })
    };
    let begun = [(SYN, 0), (SYN, 0), (ACK, 1), (ACK | PSH, 1), (ACK, 1 << 20), (ACK, (1 << 25) + (1 << 19))];
    let then = [
        (ACK, 1 << 26),
        (SYN, 0),
        (SYN, 0x1234_5678),
        (ACK, 0x1234_5679),
        (ACK | FIN, 9),
        (ACK, 10),
        (RST, 10),
    ];
    let begun = begun.map(|(flags, ahead)| segment(flags, ahead));
    let then = then.map(|(flags, ahead)| segment(flags, ahead));
    let acts = [switch(0, DRAIN, 1, 0), Part::Act(Act::Routes)];
    acts.into_iter().chain(begun).chain([switch(0, DRAIN, 1, 1)]).chain(then).collect()
}

/// A first fragment, which these modes do not take, and a later one; over IPv4 also one that may be fragmented.
fn fragments(vip: SocketAddr) -> Vec<Part> {
    let first = Segment {
        fragment: craft::MF,
        extensions: vec![extension::fragment(0, true)],
        payload: vec![8; 44],
        ..to(vip, ACK)
    };
    let later = Segment { fragment: 8, extensions: vec![extension::fragment(8, false)], ..first.clone() };
    let datagram = Segment { transport: Transport::Udp, payload: vec![8; 56], ..first.clone() };
    [first, later, datagram].map(wan).into()
}

/// ICMP errors about replies, of which they quote so many bytes behind the IP header.
fn errors(vip: SocketAddr, length: usize) -> impl Iterator<Item = Part> {
    (0..FLOWS).map(move |n| {
        let client = SocketAddr::new(CLIENT.ip(), 40_000 + n);
        let reply = Segment { source: vip, destination: client, payload: vec![7; 1200], ..to(vip, ACK) };
        let ttl = if n == 0 { 1 } else { 64 };
        Part::Message { device: WAN, from: ROUTER.ip(), to: vip.ip(), ttl, about: Some((reply, length)) }
    })
}
