//! What fuzzing begins with: a case for each kind of packet and each end that a packet can come to.

mod direct;
mod views;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bg_fuzz::{Act, Step};

use crate::packets::craft::{self, IcmpError, flags};
use crate::packets::extension;
use crate::packets::world::{
    CLIENT, CLIENT_MAC, EDGE, LAN_MAC, PLAIN, THIN_CLIENT, UNREADY, WAN_MAC, WEB, v6_ip,
};
use crate::packets::{Segment, Transport};
use flags::{ACK, FIN, PSH, RST, SYN};

/// A case with a name.
#[derive(Clone, Debug)]
pub struct Seed {
    /// What it shows.
    pub name: String,
    /// What happens.
    pub steps: Vec<Step>,
}

const WAN: u8 = 0;
const LAN: u8 = 1;

const fn at(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

/// The backends of the first service, blue's before green's.
const BACKENDS: [SocketAddr; 4] =
    [at(10, 0, 1, 1, 8080), at(10, 0, 1, 2, 8080), at(10, 0, 2, 1, 8080), at(10, 0, 2, 2, 8080)];
/// A backend of the second service, and a client that speaks to it directly.
const DIRECT: [SocketAddr; 2] = [at(10, 0, 1, 1, 8081), at(198, 51, 100, 193, 40_000)];
/// A client that nobody has heard of.
const SILENT: SocketAddr = at(192, 0, 2, 90, 40_000);
/// The node, as its backends know it.
const NODE: SocketAddr = at(10, 0, 0, 1, 40_000);
/// Nobody that a packet could be sent to.
const NOWHERE: SocketAddr = at(100, 64, 9, 9, 40_000);
const ROUTER: SocketAddr = at(198, 51, 100, 9, 0);
/// A router that is known on its link only, over IPv6.
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// All of them, each over IPv4 and over IPv6.
pub fn seeds() -> Vec<Seed> {
    let cases = [
        requests(),
        flows(),
        replies(),
        datagrams(),
        headers(),
        refused(),
        answers(),
        errors(),
        views::cases(),
    ];
    let named = cases.into_iter().flatten().map(|(name, parts)| (name.to_owned(), parts));
    let mut seeds = Vec::new();
    for (name, parts) in named.chain(direct::cases()) {
        for over_v6 in [false, true] {
            let version = if over_v6 { "v6" } else { "v4" };
            let steps = parts.iter().map(|part| part.step(over_v6)).collect();
            seeds.push(Seed { name: format!("{name}-{version}"), steps });
        }
    }
    seeds
}

/// A step of either version of IP.
enum Part {
    /// On the device with this number.
    Segment(u8, Segment),
    /// An ICMP message about a segment that is quoted up to so many bytes behind its IP header; or, without one,
    /// an echo request.
    Message {
        device: u8,
        from: IpAddr,
        to: IpAddr,
        ttl: u8,
        about: Option<(Segment, usize)>,
    },
    Act(Act),
    /// Another part's frame, so many bytes longer or shorter.
    Resized(Box<Self>, isize),
}

impl Part {
    fn step(&self, over_v6: bool) -> Step {
        let version = |segment: &Segment| if over_v6 { segment.over_v6() } else { segment.clone() };
        let (device, bytes) = match self {
            Self::Act(act) => return Step::Act(*act),
            Self::Resized(part, by) => {
                let Step::Packet { device, mut bytes, .. } = part.step(over_v6) else {
                    unreachable!("only packets have a size")
                };
                bytes.resize(bytes.len().saturating_add_signed(*by), 0x5a);
                (device, bytes)
            }
            Self::Segment(device, segment) => (*device, version(segment).bytes()),
            Self::Message { device, from, to, ttl, about } => {
                let address = |address: IpAddr| match address {
                    LINK_LOCAL if !over_v6 => ROUTER.ip(),
                    address if over_v6 => v6_ip(address),
                    address => address,
                };
                let (kind, quote) = match (about, over_v6) {
                    (None, false) => (8, vec![7; 24]),
                    (None, true) => (128, vec![7; 24]),
                    (Some((segment, length)), _) => {
                        let mut quote = version(segment).ip_bytes();
                        quote.truncate(if over_v6 { 40 } else { 20 } + length);
                        (if over_v6 { 2 } else { 3 }, quote)
                    }
                };
                let message = IcmpError {
                    to: if *device == WAN { WAN_MAC } else { LAN_MAC },
                    from: CLIENT_MAC,
                    tags: Vec::new(),
                    vip: address(*from),
                    client: address(*to),
                    ttl: *ttl,
                    kind,
                    code: if kind == 3 { 4 } else { 0 },
                    rest: [0, 0, 5, 0],
                    quote,
                };
                (*device, message.bytes())
            }
        };
        Step::Packet { device, mend: true, bytes }
    }
}

type Case = (&'static str, Vec<Part>);

fn request(flags: u8) -> Segment {
    Segment::to_service(flags)
}

/// To another place than the first service.
fn to(destination: SocketAddr, flags: u8) -> Segment {
    Segment { destination, ..request(flags) }
}

fn from(port: u16, segment: Segment) -> Segment {
    Segment { source: SocketAddr::new(segment.source.ip(), port), ..segment }
}

fn reply(source: SocketAddr, destination: SocketAddr, flags: u8) -> Segment {
    Segment { to: LAN_MAC, source, destination, ..request(flags) }
}

fn wan(segment: Segment) -> Part {
    Part::Segment(WAN, segment)
}

fn lan(segment: Segment) -> Part {
    Part::Segment(LAN, segment)
}

fn resized(part: Part, by: isize) -> Part {
    Part::Resized(Box::new(part), by)
}

fn switch(deployment: u8, phase: u8, base: u8, current: u8) -> Part {
    Part::Act(Act::Switch { deployment, phase, base, current })
}

const STEADY: u8 = 1;
const DRAIN: u8 = 2;
const SEAL: u8 = 3;

fn requests() -> Vec<Case> {
    let tag = [0x81, 0, 0, 5];
    let service_tag = [0x88, 0xa8, 0, 6];
    vec![
        ("syn", vec![wan(request(SYN))]),
        ("data", vec![wan(Segment { payload: b"GET / HTTP/1.0\r\n\r\n".to_vec(), ..request(ACK | PSH) })]),
        ("odd", vec![wan(Segment { payload: vec![1; 7], padding: vec![0; 3], tos: 0xb8, ..request(ACK) })]),
        ("options", vec![wan(Segment { ip_options: vec![1; 12], tcp_options: vec![1; 20], ..request(SYN) })]),
        ("tag", vec![wan(Segment { tags: vec![tag], ..request(SYN) })]),
        ("tags", vec![wan(Segment { tags: vec![service_tag, tag], payload: vec![3; 9], ..request(ACK) })]),
        ("many-tags", vec![wan(Segment { tags: vec![service_tag, tag, tag], ..request(ACK) })]),
        ("same-port", vec![wan(to(PLAIN, SYN)), wan(to(PLAIN, ACK))]),
    ]
}

fn flows() -> Vec<Case> {
    let all = [SYN, ACK, ACK | PSH, ACK | FIN];
    let opened = || vec![wan(request(SYN)), lan(reply(BACKENDS[0], CLIENT, SYN | ACK)), wan(request(ACK))];
    let after = |acts: Vec<Part>, flags: &[u8]| {
        let then = flags.iter().map(|&flags| wan(request(flags)));
        opened().into_iter().chain(acts).chain(then).collect::<Vec<_>>()
    };
    let other_syn = Segment { sequence: 0x9999_0000, ..request(SYN) };
    vec![
        ("flip", after(vec![switch(0, DRAIN, 0, 1)], &all)),
        ("rollback", after(vec![switch(0, DRAIN, 0, 1), wan(request(SYN)), switch(0, DRAIN, 0, 0)], &all)),
        ("seal", after(vec![switch(0, DRAIN, 0, 1), switch(0, SEAL, 0, 1)], &all)),
        ("seal-into-left", vec![switch(0, SEAL, 0, 0), wan(request(SYN)), wan(from(40_001, request(SYN)))]),
        ("conclude", after(vec![switch(0, DRAIN, 0, 1), switch(0, STEADY, 1, 1)], &all)),
        (
            "two-syns",
            vec![
                switch(0, DRAIN, 0, 1),
                wan(request(SYN)),
                wan(other_syn),
                lan(reply(BACKENDS[2], CLIENT, SYN | ACK)),
                lan(reply(BACKENDS[3], CLIENT, SYN | ACK)),
                wan(request(ACK)),
                wan(request(RST)),
            ],
        ),
        (
            "no-pins",
            vec![Part::Act(Act::NoPins), switch(0, DRAIN, 0, 1), wan(request(SYN)), wan(request(ACK))],
        ),
        (
            "dead",
            after(
                vec![
                    switch(0, DRAIN, 0, 1),
                    wan(request(SYN)),
                    Part::Act(Act::Dead(2)),
                    Part::Act(Act::Dead(3)),
                ],
                &all,
            ),
        ),
    ]
}

fn replies() -> Vec<Case> {
    let large = Segment { payload: vec![9; 1300], ..reply(BACKENDS[0], THIN_CLIENT, ACK) };
    let vip = SocketAddr::new(WEB.ip(), 9999);
    vec![
        ("replies", BACKENDS.iter().map(|&backend| lan(reply(backend, CLIENT, SYN | ACK))).collect()),
        ("reply-excluded", vec![lan(reply(DIRECT[0], DIRECT[1], ACK)), lan(reply(DIRECT[0], CLIENT, ACK))]),
        ("reply-to-node", vec![lan(reply(BACKENDS[0], NODE, ACK))]),
        ("reply-nowhere", vec![lan(reply(BACKENDS[0], NOWHERE, ACK))]),
        ("reply-silent", vec![lan(reply(BACKENDS[0], SILENT, ACK))]),
        ("reply-hops", vec![lan(Segment { ttl: 1, ..reply(BACKENDS[1], CLIENT, ACK) })]),
        ("reply-large", vec![lan(large.clone()), lan(Segment { fragment: 0, ..large })]),
        ("reply-from-vip", vec![lan(reply(vip, CLIENT, ACK))]),
    ]
}

fn datagrams() -> Vec<Case> {
    let datagram = Segment::datagram(b"question");
    let other = Segment { destination: PLAIN, payload: vec![5; 700], ..datagram.clone() };
    let reply = |source, transport| Segment {
        to: LAN_MAC,
        source,
        destination: CLIENT,
        transport,
        ..Segment::datagram(b"answer.")
    };
    let unsummed = Transport::UdpUnsummed;
    vec![
        ("datagram", vec![wan(datagram.clone()), switch(0, DRAIN, 0, 1), wan(datagram.clone())]),
        ("datagram-each-alone", vec![wan(other)]),
        ("datagram-unsummed", vec![wan(Segment { transport: unsummed, ..datagram })]),
        ("datagram-reply", vec![lan(reply(BACKENDS[1], Transport::Udp)), lan(reply(BACKENDS[3], unsummed))]),
    ]
}

fn headers() -> Vec<Case> {
    let chain = vec![
        extension::options(extension::HOP_BY_HOP, 8),
        extension::routing(0),
        extension::fragment(0, false),
        extension::options(extension::DESTINATION, 24),
    ];
    let unwalked = vec![extension::routing(2), extension::options(extension::DESTINATION, 8)];
    // 64 bytes behind the headers of IP, of which the next fragment begins.
    let first = Segment {
        fragment: craft::MF,
        extensions: vec![extension::fragment(0, true)],
        payload: vec![8; 44],
        ..request(ACK)
    };
    let later = Segment { fragment: 8, extensions: vec![extension::fragment(8, false)], ..first.clone() };
    let over = Segment { ttl: 1, ..later.clone() };
    let odd = Segment { payload: vec![8; 47], ..first.clone() };
    let reply_first = Segment { to: LAN_MAC, source: BACKENDS[0], destination: CLIENT, ..first.clone() };
    let reply_later = Segment { fragment: 8, extensions: later.extensions.clone(), ..reply_first.clone() };
    let kernels = SocketAddr::new(WEB.ip(), 9999);
    let kernels = [&first, &later].map(|part| wan(Segment { destination: kernels, ..part.clone() }));
    let own = |n: u16| lan(reply(SocketAddr::new(BACKENDS[usize::from(n) % 4].ip(), 40_000 + n), WEB, SYN));
    vec![
        ("chain", vec![wan(Segment { extensions: chain.clone(), payload: vec![2; 11], ..request(ACK) })]),
        ("chain-datagram", vec![wan(Segment { extensions: chain, ..Segment::datagram(b"chained") })]),
        ("chain-unwalked", vec![wan(Segment { extensions: unwalked, ..request(SYN) })]),
        (
            "fragments",
            vec![wan(first.clone()), wan(later.clone()), lan(reply_first), lan(reply_later.clone())],
        ),
        ("fragments-hops", vec![wan(first), wan(over)]),
        ("fragments-alone", vec![wan(later), wan(odd)]),
        ("fragments-not-ours", [lan(reply_later.clone())].into_iter().chain(kernels).collect()),
        ("own-client", (0..8).map(own).collect()),
    ]
}

fn refused() -> Vec<Case> {
    let ports = |n: u16| 40_000 + n;
    let edge = |flags| (0..8).map(move |n| wan(from(ports(n), to(EDGE, flags)))).collect::<Vec<_>>();
    let other = [switch(1, STEADY, 1, 1)];
    let hard_to_reach = [edge(SYN), edge(RST)].into_iter().flatten().chain(other).chain(edge(SYN));
    let martian = Segment { source: SocketAddr::new(WEB.ip(), 40_000), ..request(SYN) };
    vec![
        ("flags", [0, SYN | FIN, SYN | RST, 0xff].map(|flags| wan(request(flags))).into()),
        ("martian", vec![wan(martian)]),
        ("cut", [-1, -21, -35, -46].map(|by| resized(wan(request(SYN)), by)).into()),
        ("shorter-than-it-says", vec![resized(wan(Segment { payload: vec![1; 9], ..request(ACK) }), -4)]),
        ("other-port", vec![wan(to(SocketAddr::new(EDGE.ip(), 9999), SYN))]),
        ("kernel-port", vec![wan(to(SocketAddr::new(WEB.ip(), 9999), SYN))]),
        ("not-ready", vec![wan(to(UNREADY, SYN))]),
        ("foreign", vec![wan(Segment { to: [2, 0, 0, 0, 0, 9], ..request(SYN) }), lan(request(SYN))]),
        ("hard-to-reach", hard_to_reach.collect()),
    ]
}

fn answers() -> Vec<Case> {
    let tag = [0x81, 0, 0, 5];
    let echo = |ttl| Part::Message { device: WAN, from: CLIENT.ip(), to: WEB.ip(), ttl, about: None };
    let large = Segment { payload: vec![6; 1300], ..to(EDGE, ACK) };
    let large = |n: u16| wan(from(40_000 + n, large.clone()));
    vec![
        ("hops", vec![wan(Segment { ttl: 1, ..request(SYN) }), wan(Segment { ttl: 0, ..request(ACK) })]),
        (
            "hops-tagged",
            vec![wan(Segment {
                ttl: 1,
                tags: vec![tag, tag],
                ip_options: vec![1; 40],
                payload: vec![4; 1400],
                ..request(ACK)
            })],
        ),
        ("hops-datagram", vec![wan(Segment { ttl: 1, ..Segment::datagram(b"?") })]),
        ("large", (0..8).map(large).collect()),
        ("echo", vec![echo(64), echo(1)]),
    ]
}

fn errors() -> Vec<Case> {
    // As the client knows the reply, and as the backend knows the request.
    let tcp = |source, destination| Segment { source, destination, payload: vec![7; 33], ..request(ACK) };
    let udp = |segment: Segment| Segment { transport: Transport::Udp, ..segment };
    let about_reply = |segment: Segment, length, ttl| Part::Message {
        device: WAN,
        from: ROUTER.ip(),
        to: WEB.ip(),
        ttl,
        about: Some((segment, length)),
    };
    let from_the_link = Part::Message {
        device: WAN,
        from: LINK_LOCAL,
        to: WEB.ip(),
        ttl: 64,
        about: Some((tcp(WEB, CLIENT), 8)),
    };
    let about_request = |segment: Segment, length, ttl| Part::Message {
        device: LAN,
        from: BACKENDS[0].ip(),
        to: CLIENT.ip(),
        ttl,
        about: Some((segment, length)),
    };
    vec![
        (
            "error-about-reply",
            vec![about_reply(tcp(WEB, CLIENT), 1000, 64), about_reply(tcp(WEB, CLIENT), 8, 64)],
        ),
        ("error-about-datagram", vec![about_reply(udp(tcp(WEB, CLIENT)), 1000, 64)]),
        ("error-from-the-link", vec![from_the_link]),
        ("error-short", vec![about_reply(tcp(WEB, CLIENT), 3, 64), about_reply(tcp(WEB, CLIENT), 17, 64)]),
        (
            "error-hops",
            vec![about_reply(tcp(WEB, CLIENT), 8, 1), about_request(tcp(CLIENT, BACKENDS[0]), 8, 1)],
        ),
        (
            "error-about-request",
            vec![
                about_request(tcp(CLIENT, BACKENDS[0]), 1000, 64),
                about_request(udp(tcp(CLIENT, BACKENDS[1])), 8, 64),
            ],
        ),
    ]
}
