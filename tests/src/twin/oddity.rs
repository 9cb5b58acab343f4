//! What is wrong with a packet: every kind of nonsense that the packet path tells apart, and any bytes.

use std::net::{IpAddr, SocketAddr};

use super::connection::Step;
use super::form;
use super::random::Random;
use super::world::{BACKENDS, Device, VIPS};
use crate::packets::craft::{self, IcmpError, Segment};

/// What is done to a packet.
#[derive(Clone, Copy, Debug)]
enum Oddity {
    Flags,
    Ttl,
    Source,
    Port,
    Destination,
    Mac,
    EtherType,
    Protocol,
    Fragment,
    LaterFragment,
    /// Of IPv4, or headers of IPv6 that are not walked.
    Options,
    Tags,
    /// An ICMP error about what its receiver has sent, from somebody on the way.
    Icmp,
    /// An echo request, or reply.
    Echo,
    Checksums,
    TcpLength,
    HeaderLength,
    Version,
    TotalLength,
    Cut,
    Bytes,
    Anything,
}

use Oddity::{
    Anything, Bytes, Checksums, Cut, Destination, Echo, EtherType, Flags, Fragment, HeaderLength, Icmp,
    LaterFragment, Mac, Options, Port, Protocol, Source, Tags, TcpLength, TotalLength, Ttl, Version,
};

const ODDITIES: [(u32, Oddity); 22] = [
    (16, Flags),
    (34, Ttl),
    (11, Source),
    (34, Port),
    (4, Destination),
    (6, Mac),
    (4, EtherType),
    (4, Protocol),
    (20, Fragment),
    (45, LaterFragment),
    (6, Options),
    (6, Tags),
    (60, Icmp),
    (16, Echo),
    (4, Checksums),
    (3, TcpLength),
    (2, HeaderLength),
    (2, Version),
    (3, TotalLength),
    (17, Cut),
    (8, Bytes),
    (1, Anything),
];

/// The bytes of a step with something wrong about them.
pub(super) fn spoil(step: &Step, random: &mut Random) -> Vec<u8> {
    let mut segment = step.segment.clone();
    let oddity = random.weighted(&ODDITIES);
    match oddity {
        Flags => segment.flags = random.byte(),
        Ttl => segment.ttl = random.pick(&[0, 1, 1, 1, 2]),
        Source => segment.source = martian(&segment, random),
        Port => {
            let end = if step.forward { &mut segment.destination } else { &mut segment.source };
            end.set_port(random.pick(&[0, 1, 80, 443, 8080, 8081, 9999]));
        }
        Destination => {
            let port = segment.destination.port();
            segment.destination = SocketAddr::new(address(&segment, random), port);
        }
        Mac => {
            segment.to = random.pick(&[
                [0xff; 6],
                [0x33, 0x33, 0, 0, 0, 1],
                [1, 0, 0x5e, 0, 0, 1],
                Device::Wan.mac(),
                Device::Lan.mac(),
                [2, 0, 0, 0, 0, 9],
            ]);
        }
        Fragment => {
            form::number(&mut segment, random);
            segment.fragment = craft::MF | random.pick(&[0, 0, craft::DF]);
            segment.extensions.push(form::fragment(0, true, segment.id));
        }
        LaterFragment => {
            form::number(&mut segment, random);
            segment.ttl = random.pick(&[1, 64]);
            let anywhere = 1 + random.below(0x1fff) as u16;
            let (offset, more) = (random.pick(&[1, 20, 180, 190, anywhere]), random.permille(500));
            segment.fragment = if more { craft::MF | offset } else { offset };
            segment.extensions.push(form::fragment(offset, more, segment.id));
        }
        Options => {
            segment.ip_options = random.words(1, 11);
            segment.extensions = form::unwalked(random);
            // A test run takes no more than a page in one piece.
            segment.payload.truncate(100);
        }
        Icmp => return icmp(&segment, random),
        Echo => return echo(&segment, random),
        Tags => {
            let tag = |random: &mut Random| {
                let [a, b] = random.pick(&[[0x81, 0], [0x88, 0xa8]]);
                [a, b, random.byte(), random.byte()]
            };
            segment.tags = (0..=random.below(3)).map(|_| tag(random)).collect();
        }
        Checksums => {
            segment.ip_error = random.pick(&[0, 1, 0xffff, 0x1234]);
            segment.tcp_error = random.pick(&[0, 1, 0xffff, 0x4321]);
        }
        _ => (),
    }
    let mut bytes = segment.bytes();
    let options: usize = segment.extensions.iter().map(|extension| extension.1.len()).sum();
    edit(oddity, &mut bytes, options, random);
    // A test run takes no less than an Ethernet header.
    bytes.resize(bytes.len().max(14), 0);
    bytes
}

/// What no builder of packets would make. A frame here has no tags, and over IPv6 so many bytes of extension
/// headers.
fn edit(oddity: Oddity, bytes: &mut Vec<u8>, extensions: usize, random: &mut Random) {
    const IP: usize = 14;
    let v6 = bytes[12] == 0x86;
    let tcp = if v6 { IP + 40 + extensions } else { IP + 20 };
    match oddity {
        EtherType => {
            let kinds = [[0x08, 0x06], [0x86, 0xdd], [0x08, 0], [0x88, 0xcc], [0x81, 0], [0, 40]];
            bytes[12..14].copy_from_slice(&random.pick(&kinds));
        }
        Protocol => {
            bytes[if v6 { IP + 6 } else { IP + 9 }] =
                random.pick(&[0, 1, 4, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 132, 135]);
        }
        // Of a header of TCP, or of a datagram.
        TcpLength => {
            let at = if random.permille(500) { tcp + 12 } else { tcp + 5 };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.byte();
            }
        }
        HeaderLength if !v6 => bytes[IP] = 0x40 | random.byte() & 15,
        HeaderLength | Version => bytes[IP] = random.byte(),
        TotalLength => {
            let at = if v6 { IP + 4 } else { IP + 2 };
            let length = random
                .pick(&[0, 19, 20, 39, 40, 41, 60, 1500, u16::MAX])
                .wrapping_add(random.below(3) as u16);
            bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        Cut => {
            // Every other time in the TCP header.
            let from = random.pick(&[IP, tcp]);
            bytes.truncate(from + random.below((tcp + 24 - from) as u32) as usize);
        }
        Bytes => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len().min(tcp + 20) as u32) as usize;
                bytes[at] = random.byte();
            }
        }
        Anything => {
            let count = 14 + random.below(100);
            *bytes = random.bytes(count);
        }
        _ => (),
    }
}

/// A router tells its receiver about what that has sent: it was too large, or ran out of hops. It quotes all of it
/// or less.
fn icmp(segment: &Segment, random: &mut Random) -> Vec<u8> {
    let (kinds, header) = match segment.destination {
        SocketAddr::V4(_) => ([(3, 4), (3, 3), (11, 0), (5, 0)], 20 + segment.ip_options.len()),
        SocketAddr::V6(_) => ([(2, 0), (3, 0), (4, 1), (137, 0)], 40),
    };
    let (kind, code) = random.pick(&kinds);
    let mut quoted =
        Segment { source: segment.destination, destination: segment.source, ..segment.clone() }.ip_bytes();
    quoted.truncate(match random.below(4) {
        0 => random.below(header as u32 + 8) as usize,
        1 | 2 => header + 8 + random.below(20) as usize,
        _ => 1232,
    });
    IcmpError { code, ..message(segment, kind, quoted, random) }.bytes()
}

/// The sender of a segment sends an echo request, or a reply to one.
fn echo(segment: &Segment, random: &mut Random) -> Vec<u8> {
    let kinds = if segment.destination.is_ipv4() { [8, 8, 8, 0] } else { [128, 128, 128, 129] };
    let kind = random.pick(&kinds);
    let length = random.below(60);
    let payload = random.bytes(length);
    message(segment, kind, payload, random).bytes()
}

fn message(segment: &Segment, kind: u8, quote: Vec<u8>, random: &mut Random) -> IcmpError {
    IcmpError {
        to: segment.to,
        from: segment.from,
        tags: segment.tags.clone(),
        vip: segment.source.ip(),
        client: segment.destination.ip(),
        ttl: random.pick(&[64, 64, 2, 1]),
        kind,
        code: 0,
        rest: [0, 0, 5, 0],
        quote,
    }
}

/// A source that no client has, or just another one.
fn martian(segment: &Segment, random: &mut Random) -> SocketAddr {
    let port = segment.source.port();
    let address = match segment.destination {
        SocketAddr::V4(destination) => random
            .pick(&[
                destination.ip().octets(),
                [127, 0, 0, 1],
                [0, 0, 0, 0],
                [224, 0, 0, 1],
                [255, 255, 255, 255],
                [240, 0, 0, 1],
            ])
            .into(),
        SocketAddr::V6(destination) => {
            let mut multicast = destination.ip().octets();
            multicast[0] = 0xff;
            let mut link_local = destination.ip().octets();
            link_local[..2].copy_from_slice(&[0xfe, 0x80]);
            let mut one = [0; 16];
            one[15] = 1;
            random.pick(&[destination.ip().octets(), multicast, link_local, one, [0; 16]]).into()
        }
    };
    SocketAddr::new(address, port)
}

/// Somewhere else.
fn address(segment: &Segment, random: &mut Random) -> IpAddr {
    match segment.destination {
        SocketAddr::V4(destination) => {
            let mut other = destination.ip().octets();
            other[random.below(4) as usize] = random.byte();
            other.into()
        }
        // The tables have IPv4 addresses in this form.
        SocketAddr::V6(_) if random.permille(200) => {
            let IpAddr::V4(address) = random.pick(&[VIPS[0].0, BACKENDS[0].at.ip()]) else {
                unreachable!("the first ones are of IPv4")
            };
            address.to_ipv6_mapped().into()
        }
        SocketAddr::V6(destination) => {
            let mut other = destination.ip().octets();
            other[random.below(16) as usize] = random.byte();
            other.into()
        }
    }
}
