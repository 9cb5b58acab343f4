//! The life of a packet, from top to bottom: is it ours to look at, is it for a service or from a
//! backend, is it sound, where does it go, and how does it get there.
//!
//! Only what is ours is judged. Whatever is neither to a service nor from a backend goes to the kernel
//! as it came, however odd it looks.

use bg_common::abi::{Address, Endpoint, INTERFACE_PROBES, Service, entry, other_ports};
use bg_common::control::Environment;
use bg_common::decide;
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use bg_common::service;
use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;

use crate::icmp;
use crate::kernel::{Answer, Kernel, Query, Version};
use crate::nat;
use crate::nexthop;
use crate::packet::{Field, Frame, Macs, Packet};
use crate::parse::{self, IPV4, Shape, TCP};
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
        Reason::FragmentationNeeded => icmp::Error::FragmentationNeeded(outcome.detail as u16),
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
struct Headers<'p> {
    macs: &'p mut Macs,
    ip: &'p mut Ipv4Hdr,
    tcp: &'p mut TcpHdr,
    shape: Shape,
}

/// `Ok` is a packet that the program has rewritten to be sent.
type End = Result<Outcome, Outcome>;

/// Tells our packets from all others.
#[inline(always)]
fn receive<K: Kernel>(arrival: &Arrival<'_, K>, frame: Frame<'_>) -> End {
    let kernel = arrival.kernel;
    let mut link = parse::link(frame).ok_or(Reason::OtherProtocol)?;
    if link.ethertype != IPV4 {
        return Err(Reason::OtherProtocol.into());
    }
    if !addressed_to_us(arrival, link.macs) {
        return Err(Reason::ForeignMac.into());
    }
    let available = link.payload.len();
    let ip = link.payload.take::<Ipv4Hdr>().ok_or(Reason::OtherProtocol)?;
    if ip.proto != TCP {
        return Err(Reason::OtherProtocol.into());
    }
    if !parse::is_v4(ip) {
        return Err(if is_vip(kernel, ip) { Reason::BadHeader } else { Reason::NotService }.into());
    }
    let shape = Shape::new(ip, available);
    if shape.later_fragment() {
        return Err(Reason::LaterFragment.into());
    }
    link.payload.skip(shape.options());
    let Some(tcp) = link.payload.take::<TcpHdr>() else {
        return Err(if is_vip(kernel, ip) { Reason::Truncated } else { Reason::NotService }.into());
    };
    let headers = Headers { macs: link.macs, ip, tcp, shape };

    let node = kernel.node();
    let destination = v4(headers.ip.dst_addr.fetch());
    let port = headers.tcp.dest.fetch().to_ne_bytes();
    // The entry with port 0 is the VIP itself, and no service.
    if port != [0; 2]
        && let Some(service) = service::find(kernel, node.service_mask, &destination, port, TCP)
    {
        return forward(arrival, headers, service);
    }
    let source = v4(headers.ip.src_addr.fetch());
    if let Some(endpoint) = service::find_endpoint(
        kernel,
        node.endpoint_mask,
        &source,
        headers.tcp.source.fetch().to_ne_bytes(),
        TCP,
    ) {
        return back(arrival, headers, endpoint);
    }
    Err(if drops_other_ports(kernel, headers.ip) { Reason::OtherPort } else { Reason::NotService }.into())
}

/// A client's packet to a service.
#[inline(always)]
fn forward<K: Kernel>(arrival: &Arrival<'_, K>, headers: Headers<'_>, service: &Service) -> End {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    if shape.first_fragment() {
        return Err(Reason::FirstFragment.into());
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader.into());
    }
    if is_martian(ip) {
        return Err(Reason::Martian.into());
    }
    if !parse::plausible_flags(tcp) {
        return Err(Reason::BadFlags.into());
    }
    if ip.ttl <= 1 {
        return Err(Reason::TimeExceeded.into());
    }

    let segment = parse::segment(&shape, tcp);
    let (client, port) = (ip.src_addr.fetch().to_ne_bytes(), tcp.source.fetch().to_ne_bytes());
    let flow = Flow::v4(&kernel.node().key, client, port, service.id);
    let route = decide::forward(kernel, service, &flow, &segment)?;
    let backend = kernel.backend(route.backend).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend.into());
    }
    let (address, port) = (word(&backend.address), u16::from_ne_bytes(backend.port));

    let query = || Query {
        version: Version::V4,
        source: v4(ip.src_addr.fetch()),
        destination: v4(address),
        tos: ip.tos,
        interface: arrival.ingress,
    };
    let hop = match nexthop::find(kernel, address, query) {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        Answer::Hop(hop) if shape.whole() => {
            return Err(Outcome { reason: Reason::FragmentationNeeded, detail: hop.mtu });
        }
        // The kernel fragments it, or resolves the neighbour. It takes one off the TTL itself.
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    let opens = segment.opens();
    verdict::forwarded(kernel, service.id, backend.environment, arrival.bytes, opens, route.overflow);
    if opens {
        verdict::of_backend(kernel, route.backend, |counter| counter.syns += 1);
    }
    nat::destination(ip, tcp, address, port, hop.is_some().into());
    let Some(hop) = hop else { return Err(Reason::ForwardedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Forwarded, detail: hop.interface })
}

/// A packet from a backend: a reply to a client, or the backend's own business.
#[inline(always)]
fn back<K: Kernel>(arrival: &Arrival<'_, K>, headers: Headers<'_>, endpoint: &Endpoint) -> End {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    if endpoint.excludes != 0 && kernel.excluded(&v4(ip.dst_addr.fetch())) {
        return Err(Reason::Excluded.into());
    }
    let (vip, port) = (word(&endpoint.vip), u16::from_ne_bytes(endpoint.vip_port));
    let client = ip.dst_addr.fetch();
    let query = || Query {
        version: Version::V4,
        source: v4(vip),
        destination: v4(client),
        tos: ip.tos,
        interface: arrival.ingress,
    };
    let answer = nexthop::find(kernel, client, query);
    match answer {
        Answer::Hop(_) | Answer::ByKernel => (),
        Answer::Local => return Err(Reason::OwnTraffic.into()),
        Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    }
    // From here on it is a reply. One that went on with the backend's address would make the client
    // reset the connection, so that what cannot be rewritten is dropped.
    if shape.first_fragment() {
        return Err(Reason::FirstFragment.into());
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader.into());
    }
    if ip.ttl <= 1 {
        return Err(Reason::ReturnTtl.into());
    }
    let hop = match answer {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        // Untouched, because the kernel's message must name what the backend knows.
        Answer::Hop(_) if shape.whole() => return Err(Reason::ReturnTooBig.into()),
        _ => None,
    };

    let segment = parse::segment(&shape, tcp);
    let client_port = tcp.dest.fetch().to_ne_bytes();
    let flow = Flow::v4(&kernel.node().key, client.to_ne_bytes(), client_port, endpoint.service);
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
    nat::source(ip, tcp, vip, port, hop.is_some().into());
    let Some(hop) = hop else { return Err(Reason::ReturnedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Returned, detail: hop.interface })
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
fn is_vip<K: Kernel>(kernel: &K, ip: &Ipv4Hdr) -> bool {
    policy(kernel, ip).is_some()
}

/// Whether the destination is a VIP that drops what is sent to its other ports.
#[inline(always)]
fn drops_other_ports<K: Kernel>(kernel: &K, ip: &Ipv4Hdr) -> bool {
    kernel.node().vip_policy != 0
        && policy(kernel, ip).is_some_and(|policy| policy.other_ports == other_ports::DROP)
}

/// The entry of the VIP as such.
#[inline(always)]
fn policy<'k, K: Kernel>(kernel: &'k K, ip: &Ipv4Hdr) -> Option<&'k Service> {
    service::find(kernel, kernel.node().service_mask, &v4(ip.dst_addr.fetch()), [0; 2], TCP)
}

/// A source that no client has: the VIP itself, "this network", loopback, multicast and above (RFC 1812,
/// 5.3.7).
#[inline(always)]
fn is_martian(ip: &Ipv4Hdr) -> bool {
    let source = ip.src_addr.fetch();
    let first = source.to_ne_bytes()[0];
    first == 0 || first == 127 || first >= 224 || source == ip.dst_addr.fetch()
}

/// The IPv4 address in a table's entry, as it lies in memory.
#[inline(always)]
fn word(address: &Address) -> u32 {
    address.0.last_chunk::<4>().map_or(0, Field::fetch)
}

#[inline(always)]
const fn v4(word: u32) -> Address {
    Address::v4(word.to_ne_bytes())
}
