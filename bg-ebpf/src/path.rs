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
use crate::kernel::{Answer, Kernel, Query};
use crate::nat;
use crate::nexthop;
use crate::packet::{Frame, Packet};
use crate::parse::{self, IPV4, Shape, TCP};
use crate::verdict::{self, Action, Outcome};

/// Takes a packet as it arrived, rewrites it if it is for us, and says what to do with it.
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let ingress = packet.interface();
    let frame = packet.frame();
    let bytes = frame.len() as u64;
    let outcome = match receive(&Arrival { kernel, ingress, bytes }, frame) {
        Err(reason) => reason.into(),
        Ok(End::Sent { reason, egress }) => Outcome { reason, egress },
        Ok(End::Answer(error)) => match icmp::answer(packet, error) {
            Some(()) => Outcome { reason: error.reason(), egress: ingress },
            None => Reason::Failed.into(),
        },
    };
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
    macs: &'p mut [u8; 12],
    ip: &'p mut Ipv4Hdr,
    tcp: &'p mut TcpHdr,
    shape: Shape,
}

/// How a packet ends that the program sends. All others end with a reason alone.
enum End {
    /// Rewritten, to leave by this interface.
    Sent { reason: Reason, egress: u32 },
    /// Untouched; its sender gets this instead.
    Answer(icmp::Error),
}

/// Tells our packets from all others.
#[inline(always)]
fn receive<K: Kernel>(arrival: &Arrival<'_, K>, frame: Frame<'_>) -> Result<End, Reason> {
    let kernel = arrival.kernel;
    let mut link = parse::link(frame).ok_or(Reason::OtherProtocol)?;
    if link.ethertype != IPV4 {
        return Err(Reason::OtherProtocol);
    }
    if !addressed_to_us(arrival, link.macs) {
        return Err(Reason::ForeignMac);
    }
    let available = link.payload.len();
    let ip = link.payload.take::<Ipv4Hdr>().ok_or(Reason::OtherProtocol)?;
    if ip.proto != TCP {
        return Err(Reason::OtherProtocol);
    }
    if !parse::is_v4(ip) {
        return Err(if is_vip(kernel, ip) { Reason::BadHeader } else { Reason::NotService });
    }
    let shape = Shape::new(ip, available);
    if shape.later_fragment() {
        return Err(Reason::LaterFragment);
    }
    link.payload.skip(shape.options());
    let Some(tcp) = link.payload.take::<TcpHdr>() else {
        return Err(if is_vip(kernel, ip) { Reason::Truncated } else { Reason::NotService });
    };
    let headers = Headers { macs: link.macs, ip, tcp, shape };

    let node = kernel.node();
    let destination = Address::v4(headers.ip.dst_addr);
    let port = headers.tcp.dest;
    // The entry with port 0 is the VIP itself, and no service.
    if port != [0; 2]
        && let Some(service) = service::find(kernel, node.service_mask, &destination, port, TCP)
    {
        return forward(arrival, headers, service);
    }
    let source = Address::v4(headers.ip.src_addr);
    if let Some(endpoint) =
        service::find_endpoint(kernel, node.endpoint_mask, &source, headers.tcp.source, TCP)
    {
        return back(arrival, headers, endpoint);
    }
    Err(if drops_other_ports(kernel, headers.ip) { Reason::OtherPort } else { Reason::NotService })
}

/// A client's packet to a service.
#[inline(always)]
fn forward<K: Kernel>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_>,
    service: &Service,
) -> Result<End, Reason> {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    if shape.first_fragment() {
        return Err(Reason::FirstFragment);
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader);
    }
    if is_martian(ip) {
        return Err(Reason::Martian);
    }
    if !parse::plausible_flags(tcp) {
        return Err(Reason::BadFlags);
    }
    if ip.ttl <= 1 {
        return Ok(End::Answer(icmp::Error::TimeExceeded));
    }

    let segment = parse::segment(&shape, tcp);
    let flow = Flow::v4(&kernel.node().key, ip.src_addr, tcp.source, service.id);
    let route = decide::forward(kernel, service, &flow, &segment)?;
    let backend = kernel.backend(route.backend).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend);
    }
    let (address, port) = (backend.address.tail(), backend.port);

    let query = Query { source: ip.src_addr, destination: address, tos: ip.tos, interface: arrival.ingress };
    let hop = match nexthop::find(kernel, &query) {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        Answer::Hop(hop) if shape.whole() => {
            return Ok(End::Answer(icmp::Error::FragmentationNeeded(hop.mtu as u16)));
        }
        // The kernel fragments it, or resolves the neighbour. It takes one off the TTL itself.
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute),
        Answer::Failed => return Err(Reason::Failed),
    };
    let opens = segment.opens();
    verdict::forwarded(kernel, service.id, backend.environment, arrival.bytes, opens, route.overflow);
    nat::destination(ip, tcp, address, port);
    let Some(hop) = hop else { return Err(Reason::ForwardedByKernel) };
    nat::hop(ip);
    nat::link(macs, &hop);
    Ok(End::Sent { reason: Reason::Forwarded, egress: hop.interface })
}

/// A packet from a backend: a reply to a client, or the backend's own business.
#[inline(always)]
fn back<K: Kernel>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_>,
    endpoint: &Endpoint,
) -> Result<End, Reason> {
    let kernel = arrival.kernel;
    let Headers { macs, ip, tcp, shape } = headers;
    if endpoint.excludes != 0 && kernel.excluded(&Address::v4(ip.dst_addr)) {
        return Err(Reason::Excluded);
    }
    let (vip, port) = (endpoint.vip.tail(), endpoint.vip_port);
    let query = Query { source: vip, destination: ip.dst_addr, tos: ip.tos, interface: arrival.ingress };
    let answer = nexthop::find(kernel, &query);
    match answer {
        Answer::Hop(_) | Answer::ByKernel => (),
        Answer::Local => return Err(Reason::OwnTraffic),
        Answer::Nowhere => return Err(Reason::NoRoute),
        Answer::Failed => return Err(Reason::Failed),
    }
    // From here on it is a reply. One that went on with the backend's address would make the client
    // reset the connection, so that what cannot be rewritten is dropped.
    if shape.first_fragment() {
        return Err(Reason::FirstFragment);
    }
    if !shape.holds(parse::tcp_length(tcp)) {
        return Err(Reason::BadHeader);
    }
    if ip.ttl <= 1 {
        return Err(Reason::ReturnTtl);
    }
    let hop = match answer {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        // Untouched, because the kernel's message must name what the backend knows.
        Answer::Hop(_) if shape.whole() => return Err(Reason::ReturnTooBig),
        _ => None,
    };

    let segment = parse::segment(&shape, tcp);
    let flow = Flow::v4(&kernel.node().key, ip.dst_addr, tcp.dest, endpoint.service);
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
    nat::source(ip, tcp, vip, port);
    let Some(hop) = hop else { return Err(Reason::ReturnedByKernel) };
    nat::hop(ip);
    nat::link(macs, &hop);
    Ok(End::Sent { reason: Reason::Returned, egress: hop.interface })
}

/// Whether the frame's destination is the hardware address of the interface that it came in by.
#[inline(always)]
fn addressed_to_us<K: Kernel>(arrival: &Arrival<'_, K>, macs: &[u8; 12]) -> bool {
    for probe in 0..INTERFACE_PROBES {
        let Some(interface) = arrival.kernel.interface(arrival.ingress.wrapping_add(probe)) else {
            return false;
        };
        if interface.index == arrival.ingress {
            return interface.mac == macs[..6];
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
    service::find(kernel, kernel.node().service_mask, &Address::v4(ip.dst_addr), [0; 2], TCP)
}

/// A source that no client has: the VIP itself, "this network", loopback, multicast and above (RFC 1812,
/// 5.3.7).
#[inline(always)]
fn is_martian(ip: &Ipv4Hdr) -> bool {
    let first = ip.src_addr[0];
    first == 0 || first == 127 || first >= 224 || ip.src_addr == ip.dst_addr
}
