//! The life of a packet, from top to bottom: is it ours to look at, is it for a service or from a
//! backend, is it sound, where does it go, and how does it get there.
//!
//! Only what is ours is judged. Whatever is neither to a service nor from a backend goes to the kernel
//! as it came, however odd it looks.

use bg_common::abi::{Address, Endpoint, INTERFACE_PROBES, Service, entry, other_ports};
use bg_common::control::Environment;
use bg_common::decide;
use bg_common::reason::Reason;
use bg_common::service;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;

use crate::icmp;
use crate::ip::Ip;
use crate::kernel::{Answer, Kernel, Query};
use crate::nat;
use crate::nexthop;
use crate::packet::{Field as _, Frame, Macs, Packet};
use crate::parse::{self, IPV4, IPV6, Link, Shape, TCP};
use crate::verdict::{self, Action, Outcome};

/// Of the middle word of the hardware addresses, what belongs to the destination.
const END_OF_DESTINATION: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);

/// Takes a packet as it arrived, rewrites it if it is for us, and says what to do with it.
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let ingress = packet.interface();
    let frame = packet.frame();
    let bytes = frame.len() as u64;
    let (Ok(mut outcome) | Err(mut outcome)) = receive(&Arrival { kernel, ingress, bytes }, frame);
    let error = match outcome.reason {
        Reason::TimeExceeded => icmp::Error::TimeExceeded,
        Reason::FragmentationNeeded => icmp::Error::TooBig(outcome.detail),
        _ => return verdict::conclude(kernel, ingress, bytes, outcome),
    };
    outcome.detail = ingress;
    if icmp::answer(packet, error).is_none() {
        outcome = Reason::Failed.into();
    }
    verdict::conclude(kernel, ingress, bytes, outcome)
}

/// A packet's circumstances.
struct Arrival<'k, K> {
    kernel: &'k K,
    /// The interface.
    ingress: u32,
    /// Length of the frame.
    bytes: u64,
}

/// The packet's headers, each to be read and written in place.
struct Headers<'p, I> {
    macs: &'p mut Macs,
    ip: &'p mut I,
    tcp: &'p mut TcpHdr,
    shape: Shape,
}

/// `Ok` is a packet that the program has rewritten to be sent.
type End = Result<Outcome, Outcome>;

/// Tells what can be ours from all others.
#[inline(always)]
fn receive<K: Kernel>(arrival: &Arrival<'_, K>, frame: Frame<'_>) -> End {
    let link = parse::link(frame).ok_or(Reason::OtherProtocol)?;
    if link.ethertype != IPV4 && link.ethertype != IPV6 {
        return Err(Reason::OtherProtocol.into());
    }
    if !addressed_to_us(arrival, link.macs) {
        return Err(Reason::ForeignMac.into());
    }
    if link.ethertype == IPV4 { take::<Ipv4Hdr, K>(arrival, link) } else { take::<Ipv6Hdr, K>(arrival, link) }
}

/// Tells our packets from all others of their version of IP.
#[inline(always)]
fn take<I: Ip, K: Kernel>(arrival: &Arrival<'_, K>, link: Link<'_>) -> End {
    let kernel = arrival.kernel;
    let Link { macs, mut payload, .. } = link;
    let available = payload.len();
    let ip = payload.take::<I>().ok_or(Reason::OtherProtocol)?;
    let shape = ip.read(&mut payload, available);
    let headers = shape.and_then(|shape| Ok((shape, payload.take::<TcpHdr>().ok_or(Reason::Truncated)?)));
    let (shape, tcp) = match headers {
        Ok(headers) => headers,
        Err(reason @ (Reason::BadHeader | Reason::Truncated)) => {
            return Err(if is_vip(kernel, ip) { reason } else { Reason::NotService }.into());
        }
        Err(reason) => return Err(reason.into()),
    };
    let headers = Headers { macs, ip, tcp, shape };

    let node = kernel.node();
    let destination = headers.ip.destination();
    if !I::may_be_listed(&destination) {
        return Err(Reason::NotService.into());
    }
    let port = headers.tcp.dest.fetch().to_ne_bytes();
    // The entry with port 0 is the VIP itself, and no service.
    if port != [0; 2]
        && let Some(service) = service::find(kernel, node.service_mask, &destination, port, TCP)
    {
        return forward(arrival, headers, service);
    }
    let source = headers.ip.source();
    let port = headers.tcp.source.fetch().to_ne_bytes();
    if I::may_be_listed(&source)
        && let Some(endpoint) = service::find_endpoint(kernel, node.endpoint_mask, &source, port, TCP)
    {
        return back(arrival, headers, endpoint);
    }
    Err(if drops_other_ports(kernel, headers.ip) { Reason::OtherPort } else { Reason::NotService }.into())
}

/// A client's packet to a service.
#[inline(always)]
fn forward<I: Ip, K: Kernel>(arrival: &Arrival<'_, K>, headers: Headers<'_, I>, service: &Service) -> End {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    if shape.first_fragment {
        return Err(Reason::FirstFragment.into());
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader.into());
    }
    let client = ip.source();
    if I::is_martian(&client) || client.halves() == ip.destination().halves() {
        return Err(Reason::Martian.into());
    }
    if !parse::plausible_flags(tcp) {
        return Err(Reason::BadFlags.into());
    }
    if ip.hops() <= 1 {
        return Err(Reason::TimeExceeded.into());
    }

    let segment = parse::segment(&shape, tcp);
    let flow = I::flow(&kernel.node().key, &client, tcp.source.fetch().to_ne_bytes(), service.id);
    let route = decide::forward(kernel, service, &flow, &segment)?;
    let backend = kernel.backend(route.backend).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend.into());
    }

    let hop = match way::<I, K>(arrival, ip, || ip.source(), &backend.address) {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        Answer::Hop(hop) if shape.whole => {
            return Err(Outcome { reason: Reason::FragmentationNeeded, detail: hop.mtu });
        }
        // The kernel fragments it, or resolves the neighbour. It takes one off the hops itself.
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    let opens = segment.opens();
    verdict::forwarded(kernel, service.id, backend.environment, arrival.bytes, opens, route.overflow);
    if opens {
        verdict::of_backend(kernel, route.backend, |counter| counter.syns += 1);
    }
    nat::destination(ip, tcp, &backend.address, u16::from_ne_bytes(backend.port), hop.is_some().into());
    let Some(hop) = hop else { return Err(Reason::ForwardedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Forwarded, detail: hop.interface })
}

/// A packet from a backend: a reply to a client, or the backend's own business.
#[inline(always)]
fn back<I: Ip, K: Kernel>(arrival: &Arrival<'_, K>, headers: Headers<'_, I>, endpoint: &Endpoint) -> End {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    let client = ip.destination();
    if endpoint.excludes != 0 && kernel.excluded(&client) {
        return Err(Reason::Excluded.into());
    }
    let answer = way::<I, K>(arrival, ip, || endpoint.vip, &client);
    match answer {
        Answer::Hop(_) | Answer::ByKernel => (),
        Answer::Local => return Err(Reason::OwnTraffic.into()),
        Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    }
    // From here on it is a reply. One that went on with the backend's address would make the client
    // reset the connection, so that what cannot be rewritten is dropped.
    if shape.first_fragment {
        return Err(Reason::FirstFragment.into());
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader.into());
    }
    if ip.hops() <= 1 {
        return Err(Reason::ReturnTtl.into());
    }
    let hop = match answer {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        // Untouched, because the kernel's message must name what the backend knows.
        Answer::Hop(_) if shape.whole => return Err(Reason::ReturnTooBig.into()),
        _ => None,
    };

    let segment = parse::segment(&shape, tcp);
    let flow = I::flow(&kernel.node().key, &client, tcp.dest.fetch().to_ne_bytes(), endpoint.service);
    let environment = Environment::from_bit(endpoint.environment);
    decide::reply(
        kernel,
        endpoint.deployment,
        endpoint.service,
        environment,
        endpoint.backend,
        &flow,
        &segment,
    );
    if segment.syn && segment.ack {
        verdict::of_backend(kernel, endpoint.backend, |counter| counter.syn_acks += 1);
    }
    nat::source(ip, tcp, &endpoint.vip, u16::from_ne_bytes(endpoint.vip_port), hop.is_some().into());
    let Some(hop) = hop else { return Err(Reason::ReturnedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Returned, detail: hop.interface })
}

/// The next hop of the packet as it will be.
#[inline(always)]
fn way<I: Ip, K: Kernel>(
    arrival: &Arrival<'_, K>,
    ip: &I,
    source: impl FnOnce() -> Address,
    destination: &Address,
) -> Answer {
    nexthop::find(arrival.kernel, destination, I::place(destination), || Query {
        version: I::VERSION,
        source: source(),
        destination: *destination,
        tos: ip.tos(),
        interface: arrival.ingress,
    })
}

/// Whether the frame's destination is the hardware address of the interface that it came in by.
#[inline(always)]
fn addressed_to_us<K: Kernel>(arrival: &Arrival<'_, K>, macs: &Macs) -> bool {
    for probe in 0..INTERFACE_PROBES {
        let Some(interface) = arrival.kernel.interface(arrival.ingress.wrapping_add(probe)) else {
            return false;
        };
        if interface.index == arrival.ingress {
            let [head, middle, _] = macs.fetch();
            let mac = Macs::words(interface.mac, [0; 6]);
            return head == mac[0] && (middle ^ mac[1]) & END_OF_DESTINATION == 0;
        }
        if interface.index == 0 {
            return false;
        }
    }
    false
}

/// Whether the destination is an address of some service.
#[inline(always)]
fn is_vip<I: Ip, K: Kernel>(kernel: &K, ip: &I) -> bool {
    policy(kernel, ip).is_some()
}

/// Whether the destination is a VIP that drops what is sent to its other ports.
#[inline(always)]
fn drops_other_ports<I: Ip, K: Kernel>(kernel: &K, ip: &I) -> bool {
    kernel.node().vip_policy != 0
        && policy(kernel, ip).is_some_and(|policy| policy.other_ports == other_ports::DROP)
}

/// The entry of the VIP as such.
#[inline(always)]
fn policy<'k, I: Ip, K: Kernel>(kernel: &'k K, ip: &I) -> Option<&'k Service> {
    let vip = ip.destination();
    if !I::may_be_listed(&vip) {
        return None;
    }
    service::find(kernel, kernel.node().service_mask, &vip, [0; 2], TCP)
}
