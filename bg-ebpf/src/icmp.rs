//! ICMP for VIPs. An echo request is answered in place. An error about a reply comes to the VIP, which has no idea:
//! it is led to the backend that sent the reply, and speaks of that backend's address. An error about a request comes
//! from behind the node and speaks of a backend: it goes to the client, and speaks of the VIP (RFC 5508, 4.2).

use bg_common::abi::{Address, Endpoint, Service, entry, mode, views};
use bg_common::decide::views::{Voice, answering};
use bg_common::decide::{self, Route};
use bg_common::reason::Reason;
use bg_common::service;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::checksum::Change;
use crate::encap;
use crate::ip::Ip;
use crate::kernel::{Answer, Kernel};
use crate::ours;
use crate::packet::{Field as _, Frame, Macs, Packet};
use crate::parse::{IPV4, Link, Shape, TCP, UDP};
use crate::path::{self, Arrival, End, direct, way};
use crate::verdict::{Action, Outcome};

/// What differs between ICMP and ICMP for IPv6.
pub(crate) trait Icmp: Ip {
    /// IP protocol number.
    const PROTOCOL: u8;
    /// Types of an echo request and of its reply.
    const ECHO: [u8; 2];

    /// Whether messages of this type quote the packet that they are about.
    fn is_error(kind: u8) -> bool;

    /// Turns the header around: the packet goes back, with new hops.
    fn turn(&mut self);

    /// What a change of an address in this header changes for the checksum of a message that it precedes.
    fn before(change: Change) -> Change;

    /// Changes an address of a quoted header, in a message whose checksum covers it, by `change`. Returns what
    /// that changes for the checksum of the transport header, and for that of the message.
    fn quoted(&mut self, change: impl FnOnce(&mut Self) -> Change) -> [Change; 2];
}

/// Type, code, checksum, and four bytes more.
type Message = [u8; 8];

/// A packet's headers up to the message's own.
struct Headers<'p, I> {
    macs: &'p mut Macs,
    ip: &'p mut I,
    message: &'p mut Message,
    shape: Shape,
    rest: Frame<'p>,
}

/// The beginning of the quoted transport header: ports, and four bytes more.
struct Quoted<'p, I> {
    ip: &'p mut I,
    ports: &'p mut [u8; 8],
    /// The ten bytes behind, up to and with the checksum of TCP.
    more: Option<&'p mut [u8; 10]>,
    protocol: u8,
}

/// [`bg_common::stage::Stage::Icmp`].
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = path::arrive(kernel, packet);
    match link {
        Some(link) if link.ethertype == IPV4 => arrival.end(receive::<Ipv4Hdr, K>(&arrival, link)),
        Some(link) => arrival.end(receive::<Ipv6Hdr, K>(&arrival, link)),
        None => arrival.end(Err(Reason::OtherProtocol.into())),
    }
}

#[inline(always)]
fn receive<I: Icmp, K: Kernel>(arrival: &Arrival<'_, K>, link: Link<'_>) -> End {
    let kernel = arrival.kernel;
    let Link { macs, mut payload, .. } = link;
    if !ours::addressed(kernel, arrival.ingress, macs) {
        return Err(Reason::ForeignMac.into());
    }
    let available = payload.len();
    let ip = payload.take::<I>().ok_or(Reason::OtherProtocol)?;
    let Ok(shape) = ip.read(I::PROTOCOL, &mut payload, available) else {
        return Err(Reason::OtherProtocol.into());
    };
    let shape = Shape { available: arrival.available(shape.available, shape.total), ..shape };
    // The kernel puts fragments together.
    if shape.first_fragment {
        return Err(Reason::OtherProtocol.into());
    }
    let message = payload.take::<Message>().ok_or(Reason::OtherProtocol)?;
    let to_vip = ours::is_vip(kernel, ip);
    let kind = message[0];
    let headers = Headers { macs, ip, message, shape, rest: payload };
    if to_vip && kind == I::ECHO[0] {
        return echo(arrival, headers);
    }
    if I::is_error(kind) { error(arrival, headers, to_vip) } else { Err(Reason::OtherProtocol.into()) }
}

/// Answers an echo request.
#[inline(always)]
fn echo<I: Icmp, K: Kernel>(arrival: &Arrival<'_, K>, headers: Headers<'_, I>) -> End {
    let Headers { macs, ip, message, shape, .. } = headers;
    if !shape.holds(size_of::<Message>() as u32) {
        return Err(Reason::BadHeader.into());
    }
    let client = ip.source();
    if I::is_martian(&client) || client.halves() == ip.destination().halves() {
        return Err(Reason::Martian.into());
    }
    let [to, from] = macs.addresses();
    macs.put(Macs::words(from, to));
    ip.turn();
    let word = |kind: u8| u16::from_ne_bytes([kind, 0]);
    alter(message, Change::default().two(word(message[0]), word(I::ECHO[1])));
    message[0] = I::ECHO[1];
    Ok(Outcome { reason: Reason::Echoed, detail: arrival.ingress })
}

/// Leads an error on, to the backend or to the client.
#[inline(always)]
fn error<I: Icmp, K: Kernel>(arrival: &Arrival<'_, K>, mut headers: Headers<'_, I>, to_vip: bool) -> End {
    let kernel = arrival.kernel;
    let node = kernel.node();
    let unknown = || Outcome::from(if to_vip { Reason::ShortQuote } else { Reason::OtherProtocol });
    let available = headers.rest.len();
    let ip = headers.rest.take::<I>().ok_or_else(unknown)?;
    let mut protocol = TCP;
    let mut seen = ip.read(TCP, &mut headers.rest, available);
    if matches!(seen, Err(outcome) if outcome.reason == Reason::OtherProtocol && outcome.detail == u32::from(UDP))
    {
        protocol = UDP;
        seen = ip.read(UDP, &mut headers.rest, available);
    }
    // About something else, or about what nobody can tell the ports of.
    let Ok(Shape { header, .. }) = seen else {
        return Err(Reason::OtherProtocol.into());
    };
    // Bytes that follow the message in the frame are no part of it, and its checksum does not cover them.
    let within = |bytes: u32| headers.shape.holds(size_of::<Message>() as u32 + header + bytes);
    if !within(8) {
        return Err(unknown());
    }
    let ports = headers.rest.take::<[u8; 8]>().ok_or_else(unknown)?;
    let more = if within(18) { headers.rest.take::<[u8; 10]>() } else { None };
    let quoted = Quoted { ip, ports, more, protocol };
    let [source, destination] = [quoted.ip.source(), quoted.ip.destination()];
    if !I::may_be_listed(&source) || !I::may_be_listed(&destination) {
        return Err(Reason::OtherProtocol.into());
    }
    let [from, to] = [[quoted.ports[0], quoted.ports[1]], [quoted.ports[2], quoted.ports[3]]];
    if to_vip
        && source.halves() == headers.ip.destination().halves()
        && let Some(service) = service::find(kernel, node.service_mask, &source, from, protocol)
    {
        return to_backend(arrival, headers, quoted, service);
    }
    if !to_vip
        && source.halves() == headers.ip.destination().halves()
        && let Some(endpoint) = service::find_endpoint(kernel, node.endpoint_mask, &destination, to, protocol)
    {
        return to_client(arrival, headers, quoted, endpoint);
    }
    Err(Reason::OtherProtocol.into())
}

/// About a reply, to the backend that sent it.
#[inline(always)]
fn to_backend<I: Icmp, K: Kernel>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_, I>,
    quoted: Quoted<'_, I>,
    service: &Service,
) -> End {
    let kernel = arrival.kernel;
    let client = quoted.ip.destination();
    let port = [quoted.ports[2], quoted.ports[3]];
    let flow = I::flow(&kernel.node().key, &client, port, service.id);
    let owner = decide::owner(kernel, service, &flow)?;
    let backend = kernel.backend(owner).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend.into());
    }
    let address = backend.address;
    // What is quoted is what a backend sent that has the VIP.
    if service.mode == mode::IPIP {
        if headers.ip.hops() <= 1 {
            return Err(Reason::ErrorTtl.into());
        }
        let route = Route { backend: owner, overflow: false };
        return encap::enter(kernel, Reason::ErrorForwarded, service, &flow, (route, false));
    }
    if service.mode == mode::DSR {
        let hop = match way::<I, K>(arrival, headers.ip, || headers.ip.source(), &address) {
            Answer::Hop(hop) if headers.shape.total <= hop.mtu => Some(hop),
            // Nobody is told of an error about an error (RFC 1122, 3.2.2).
            Answer::Hop(_) | Answer::ByKernel => None,
            Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
            Answer::Failed => return Err(Reason::Failed.into()),
        };
        let outcome = direct(headers.macs, hop)?;
        return Ok(Outcome { reason: Reason::ErrorForwarded, ..outcome });
    }
    let hop = route::<I, K>(arrival, &headers, || headers.ip.source(), &address)?;
    let Headers { macs, ip, message, .. } = headers;
    let outer = I::before(ip.set_destination(&address, hop.is_some().into()));
    let inner = quoted.rewrite(0, u16::from_ne_bytes(backend.port), |ip| ip.set_source(&address, 0));
    alter(message, outer.and(inner));
    send(macs, hop, Reason::ErrorForwarded, Reason::ForwardedByKernel)
}

/// About a request, to the client that sent it.
#[inline(always)]
fn to_client<I: Icmp, K: Kernel>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_, I>,
    quoted: Quoted<'_, I>,
    endpoint: &Endpoint,
) -> End {
    let client = headers.ip.destination();
    if endpoint.excludes != 0 && arrival.kernel.excluded(&client) {
        return Err(Reason::Excluded.into());
    }
    let port = [quoted.ports[0], quoted.ports[1]];
    let flow = |service| I::flow(&arrival.kernel.node().key, &client, port, service);
    let Voice { vip, port, .. } = if endpoint.views & views::SHARED == 0 {
        Voice::of(endpoint)
    } else {
        answering(arrival.kernel, endpoint, None, flow)
    };
    let hop = route::<I, K>(arrival, &headers, || vip, &client)?;
    let Headers { macs, ip, message, .. } = headers;
    let outer = I::before(ip.set_source(&vip, hop.is_some().into()));
    let inner = quoted.rewrite(2, u16::from_ne_bytes(port), |ip| ip.set_destination(&vip, 0));
    alter(message, outer.and(inner));
    send(macs, hop, Reason::ErrorReturned, Reason::ReturnedByKernel)
}

/// How the message leaves; `None` is by the kernel.
#[inline(always)]
fn route<I: Icmp, K: Kernel>(
    arrival: &Arrival<'_, K>,
    headers: &Headers<'_, I>,
    source: impl FnOnce() -> Address,
    destination: &Address,
) -> Result<Option<crate::kernel::Hop>, Outcome> {
    let hop = match way::<I, K>(arrival, headers.ip, source, destination) {
        Answer::Hop(hop) if headers.shape.total <= hop.mtu => Some(hop),
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local => return Err(Reason::OwnTraffic.into()),
        Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    // Nobody is told of an error about an error (RFC 1122, 3.2.2).
    if headers.ip.hops() <= 1 { Err(Reason::ErrorTtl.into()) } else { Ok(hop) }
}

#[inline(always)]
fn send(macs: &mut Macs, hop: Option<crate::kernel::Hop>, sent: Reason, by_kernel: Reason) -> End {
    let Some(hop) = hop else { return Err(by_kernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: sent, detail: hop.interface })
}

impl<I: Icmp> Quoted<'_, I> {
    /// Gives the quoted packet another address, and another port, which lies so many bytes behind the start of the
    /// transport header. Returns what that changes for the message.
    #[inline(always)]
    fn rewrite(self, at: usize, port: u16, address: impl FnOnce(&mut I) -> Change) -> Change {
        let Quoted { ip, ports, more, protocol } = self;
        let [transport, message] = ip.quoted(address);
        let old = u16::from_ne_bytes([ports[at], ports[at + 1]]);
        [ports[at], ports[at + 1]] = port.to_ne_bytes();
        let transport = transport.two(old, port);
        let message = message.two(old, port);
        // As far as it is quoted.
        let (before, after) = if protocol == UDP {
            let mut checksum = [ports[6], ports[7]];
            let before = checksum.fetch();
            // None, and none it stays.
            if before != 0 {
                transport.apply(&mut checksum);
            }
            [ports[6], ports[7]] = checksum;
            (before, checksum.fetch())
        } else if let Some(more) = more {
            let mut checksum = [more[8], more[9]];
            let before = checksum.fetch();
            transport.apply(&mut checksum);
            [more[8], more[9]] = checksum;
            (before, checksum.fetch())
        } else {
            (0, 0)
        };
        message.two(before, after)
    }
}

/// Updates the message's checksum.
#[inline(always)]
fn alter(message: &mut Message, change: Change) {
    let mut checksum = [message[2], message[3]];
    change.apply(&mut checksum);
    [message[2], message[3]] = checksum;
}

mod v4;
mod v6;
