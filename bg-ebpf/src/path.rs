//! The life of a packet, from top to bottom: is it ours to look at, is it for a service or from a
//! backend, is it sound, where does it go, and how does it get there.
//!
//! Only what is ours is judged. Whatever is neither to a service nor from a backend goes to the kernel
//! as it came, however odd it looks.

use core::cell::Cell;

use bg_common::abi::{self, Address, Endpoint, Fragmented, Service, entry, mode, views};
use bg_common::decide::views::{Ordinary, View, Voice, answering};
use bg_common::reason::Reason;
use bg_common::service;
use bg_common::stage::Stage;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::ip::Ip;
use crate::kernel::{Answer, Hop, Kernel, Note, Query, Version};
use crate::nexthop;
use crate::ours;
use crate::packet::{Macs, Packet};
use crate::parse::{self, ICMP, ICMP_V6, IPV4, IPV6, Link, Shape, TCP, UDP};
use crate::refuse;
use crate::transport::Transport;
use crate::verdict::{self, Action, Outcome};
use crate::{answer, encap, fragment};

/// Takes a packet as it arrived, rewrites it if it is for us, and says what to do with it.
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = arrive(kernel, packet);
    match link {
        Some(link) if link.ethertype == IPV4 => {
            arrival.end(receive::<Ipv4Hdr, TcpHdr, K, ORDINARY>(&arrival, link))
        }
        Some(link) if link.ethertype == IPV6 => Action::Enter(Stage::V6),
        _ => arrival.end(Err(Reason::OtherProtocol.into())),
    }
}

/// [`Stage::V6`].
#[inline(always)]
pub fn run_v6<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    v6::<K, P, ORDINARY>(kernel, packet)
}

/// [`Stage::Udp`].
#[inline(always)]
pub fn run_udp<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    either::<UdpHdr, K, P, ORDINARY>(kernel, packet)
}

/// [`Stage::FirstTcp`].
#[inline(always)]
pub fn run_first_tcp<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = arrive(kernel, packet);
    match link {
        Some(link) if link.ethertype == IPV4 => {
            arrival.end(receive::<Ipv4Hdr, TcpHdr, K, FIRST>(&arrival, link))
        }
        _ => Action::Enter(Stage::FirstV6),
    }
}

/// [`Stage::FirstV6`].
#[inline(always)]
pub fn run_first_v6<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    v6::<K, P, FIRST>(kernel, packet)
}

/// [`Stage::FirstUdp`].
#[inline(always)]
pub fn run_first_udp<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    either::<UdpHdr, K, P, FIRST>(kernel, packet)
}

/// [`Stage::Views`].
#[inline(always)]
pub fn run_views<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = arrive(kernel, packet);
    let Some(link) = link else { return arrival.end(Err(Reason::OtherProtocol.into())) };
    arrival.end(receive::<Ipv4Hdr, TcpHdr, K, VIEWS_FORWARD>(&arrival, link))
}

/// [`Stage::ViewsV6`].
#[inline(always)]
pub fn run_views_v6<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    v6::<K, P, VIEWS_FORWARD>(kernel, packet)
}

/// [`Stage::ViewsUdp`].
#[inline(always)]
pub fn run_views_udp<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    either::<UdpHdr, K, P, VIEWS_FORWARD>(kernel, packet)
}

/// [`Stage::ViewsBack`].
#[inline(always)]
pub fn run_views_back<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    either::<TcpHdr, K, P, VIEWS_BACK>(kernel, packet)
}

/// [`Stage::ViewsUdpBack`].
#[inline(always)]
pub fn run_views_udp_back<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    either::<UdpHdr, K, P, VIEWS_BACK>(kernel, packet)
}

#[inline(always)]
fn v6<K: Kernel, P: Packet, const PART: u8>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = arrive(kernel, packet);
    let Some(link) = link else { return arrival.end(Err(Reason::OtherProtocol.into())) };
    arrival.end(receive::<Ipv6Hdr, TcpHdr, K, PART>(&arrival, link))
}

#[inline(always)]
fn either<T: Transport, K: Kernel, P: Packet, const PART: u8>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = arrive(kernel, packet);
    match link {
        Some(link) if link.ethertype == IPV4 => arrival.end(receive::<Ipv4Hdr, T, K, PART>(&arrival, link)),
        Some(link) => arrival.end(receive::<Ipv6Hdr, T, K, PART>(&arrival, link)),
        None => arrival.end(Err(Reason::OtherProtocol.into())),
    }
}

/// Begins with a packet. It takes no function of what comes next: a closure is not inlined by force, and a frame of
/// its own is stack that older verifiers count twice.
#[inline(always)]
pub(crate) fn arrive<'k, 'p, K: Kernel, P: Packet>(
    kernel: &'k K,
    packet: &'p mut P,
) -> (Arrival<'k, K>, Option<Link<'p>>) {
    let ingress = packet.interface();
    let frame = packet.frame();
    let bytes = Cell::new(frame.len() as u64);
    (Arrival { kernel, ingress, bytes }, parse::link(frame))
}

/// A packet's circumstances.
pub(crate) struct Arrival<'k, K> {
    pub(crate) kernel: &'k K,
    /// The interface.
    pub(crate) ingress: u32,
    /// Length of the frame, as far as it is known: its first buffer, until something claims to be longer.
    pub(crate) bytes: Cell<u64>,
}

impl<K: Kernel> Arrival<'_, K> {
    /// Bytes of the frame from somewhere in its first buffer on, where that buffer has `available` of them, and
    /// `total` are wanted. Most frames have one buffer.
    #[inline(always)]
    pub(crate) fn available(&self, available: u32, total: u32) -> u32 {
        if total <= available {
            return available;
        }
        let first = self.bytes.get();
        let length = self.kernel.length(first);
        self.bytes.set(length);
        available + length.wrapping_sub(first) as u32
    }

    /// What is done with the packet.
    #[inline(always)]
    pub(crate) fn end(&self, (Ok(outcome) | Err(outcome)): End) -> Action {
        match outcome.reason {
            Reason::OtherProtocol if outcome.detail & VIEWS != 0 => {
                Action::Enter(match outcome.detail ^ VIEWS {
                    FORWARD_V4 => Stage::Views,
                    FORWARD_V6 => Stage::ViewsV6,
                    FORWARD_UDP => Stage::ViewsUdp,
                    BACK => Stage::ViewsBack,
                    _ => Stage::ViewsUdpBack,
                })
            }
            Reason::OtherProtocol if outcome.detail == UDP.into() => Action::Enter(Stage::Udp),
            Reason::OtherProtocol if outcome.detail == ICMP.into() => Action::Enter(Stage::Icmp),
            Reason::OtherProtocol if outcome.detail == ICMP_V6.into() => Action::Enter(Stage::Icmp),
            Reason::TimeExceeded | Reason::FragmentationNeeded => answer::enter(self.kernel, outcome),
            Reason::NoBackend | Reason::NoPin => refuse::enter(self.kernel, outcome),
            Reason::LaterFragment if outcome.detail == LATER => Action::Enter(Stage::Fragment),
            Reason::LaterFragment if outcome.detail == TCP.into() => Action::Enter(Stage::FirstTcp),
            Reason::LaterFragment if outcome.detail == UDP.into() => Action::Enter(Stage::FirstUdp),
            Reason::Encapsulated => Action::Enter(Stage::Encap),
            _ => verdict::conclude(self.kernel, self.ingress, self.bytes.get(), outcome),
        }
    }
}

/// The parts of the path, each with the programs that have it: what most packets need, and either direction of
/// services with views. Together they would be more than the verifier looks at.
const ORDINARY: u8 = 0;
const VIEWS_FORWARD: u8 = 1;
const VIEWS_BACK: u8 = 2;
/// First fragments.
const FIRST: u8 = 3;

/// Of `OtherProtocol`, beside which one: the packet needs a stage for views.
const VIEWS: u32 = 1 << 8;
const FORWARD_V4: u32 = 0;
const FORWARD_V6: u32 = 1;
const FORWARD_UDP: u32 = 2;
const BACK: u32 = 3;
const BACK_UDP: u32 = 4;

/// It goes on there, as a client's packet or as a backend's.
#[inline(always)]
fn to_views<I: Ip, T: Transport>(part: u8) -> Outcome {
    let which = match (part, T::PROTOCOL, I::VERSION) {
        (VIEWS_FORWARD, TCP, Version::V4) => FORWARD_V4,
        (VIEWS_FORWARD, TCP, Version::V6) => FORWARD_V6,
        (VIEWS_FORWARD, ..) => FORWARD_UDP,
        (_, TCP, _) => BACK,
        _ => BACK_UDP,
    };
    Outcome { reason: Reason::OtherProtocol, detail: VIEWS | which }
}

/// The packet's headers, each to be read and written in place.
struct Headers<'p, I, T> {
    macs: &'p mut Macs,
    ip: &'p mut I,
    transport: &'p mut T,
    shape: Shape,
}

/// What goes with a fragment that is looked at elsewhere, beside the protocol of a first one.
const LATER: u32 = 1 << 8;

/// `Ok` is a packet that the program has rewritten to be sent.
pub(crate) type End = Result<Outcome, Outcome>;

/// Tells our packets from all others. `FIRST`: it is a first fragment, and what becomes of it is remembered for the
/// later ones; elsewhere first fragments are not looked at. `VIEWS_FORWARD` and `VIEWS_BACK`: services with views.
#[inline(always)]
fn receive<I: Ip, T: Transport, K: Kernel, const PART: u8>(arrival: &Arrival<'_, K>, link: Link<'_>) -> End {
    let kernel = arrival.kernel;
    let Link { macs, mut payload, .. } = link;
    if !ours::addressed(kernel, arrival.ingress, macs) {
        return Err(Reason::ForeignMac.into());
    }
    let available = payload.len();
    let ip = payload.take::<I>().ok_or(Reason::OtherProtocol)?;
    let shape = ip.read(T::PROTOCOL, &mut payload, available);
    let headers = shape.and_then(|shape| Ok((shape, payload.take::<T>().ok_or(Reason::Truncated)?)));
    let (shape, transport) = match headers {
        Ok(headers) => headers,
        Err(outcome) if matches!(outcome.reason, Reason::BadHeader | Reason::Truncated) => {
            return Err(if ours::is_vip(kernel, ip) { outcome } else { Reason::NotService.into() });
        }
        Err(Outcome { reason: Reason::LaterFragment, .. }) => {
            return Err(Outcome { reason: Reason::LaterFragment, detail: LATER });
        }
        Err(outcome) => return Err(outcome),
    };
    let shape = Shape { available: arrival.available(shape.available, shape.total), ..shape };
    if PART != FIRST && shape.first_fragment {
        return Err(Outcome { reason: Reason::LaterFragment, detail: T::PROTOCOL.into() });
    }
    let headers = Headers { macs, ip, transport, shape };

    let node = kernel.node();
    let destination = headers.ip.destination();
    if !I::may_be_listed(&destination) {
        return Err(Reason::NotService.into());
    }
    let port = headers.transport.destination().to_ne_bytes();
    // The entry with port 0 is the VIP itself, and no service.
    if PART != VIEWS_BACK
        && port != [0; 2]
        && let Some(service) = service::find(kernel, node.service_mask, &destination, port, T::PROTOCOL)
    {
        return forward::<I, T, K, PART>(arrival, headers, service);
    }
    let source = headers.ip.source();
    let port = headers.transport.source().to_ne_bytes();
    if PART != VIEWS_FORWARD
        && I::may_be_listed(&source)
        && let Some(endpoint) = service::find_endpoint(kernel, node.endpoint_mask, &source, port, T::PROTOCOL)
    {
        return back::<I, T, K, PART>(arrival, headers, endpoint);
    }
    if ours::drops_other_ports(kernel, headers.ip) {
        return Err(Reason::OtherPort.into());
    }
    if PART == FIRST && ours::is_vip(kernel, headers.ip) {
        fragment::remember(kernel, headers.ip, T::PROTOCOL, &shape, fragment::BY_KERNEL);
    }
    Err(Reason::NotService.into())
}

/// A client's packet to a service.
#[inline(always)]
fn forward<I: Ip, T: Transport, K: Kernel, const PART: u8>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_, I, T>,
    service: &Service,
) -> End {
    if service.views != 0 {
        match PART {
            ORDINARY => return Err(to_views::<I, T>(VIEWS_FORWARD)),
            FIRST if !service.direct() => return Err(Reason::FragmentedView.into()),
            _ => (),
        }
    }
    let kernel = arrival.kernel;
    let Headers { macs, ip, transport, shape } = headers;
    if PART == FIRST && !(fragment::ends_well(&shape) && transport.fits(&shape)) {
        return Err(Reason::BadFragment.into());
    }
    // The later ones would not follow: they are for addresses that are rewritten.
    if PART == FIRST && service.direct() {
        return Err(Reason::DirectFragment.into());
    }
    if !transport.fits(&shape) {
        return Err(Reason::BadHeader.into());
    }
    let client = ip.source();
    if I::is_martian(&client) || client.halves() == ip.destination().halves() {
        return Err(Reason::Martian.into());
    }
    if let Some(fault) = transport.fault(&shape) {
        return Err(fault.into());
    }
    // In mode dsr the packet has arrived, as if this were the host that has the VIP (RFC 1122, 3.2.1.7).
    if ip.hops() <= 1 && service.mode != mode::DSR {
        return Err(Reason::TimeExceeded.into());
    }

    let flow = I::flow(&kernel.node().key, &client, transport.source().to_ne_bytes(), service.id);
    let (route, opens) = if PART == VIEWS_FORWARD {
        let view = View::of(kernel, service.views, service.deployment, &client);
        if view == View::TESTER && service.idle_base == 0 {
            return Err(Reason::NoBackend.into());
        }
        let view = noted(kernel, view)?;
        transport.forward(kernel, view, service, &flow, &shape)?
    } else {
        transport.forward(kernel, Ordinary, service, &flow, &shape)?
    };
    let backend = kernel.backend(route.backend).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend.into());
    }
    // A host drops what comes from outside with its own address.
    if backend.address.halves() == client.halves() {
        return Err(Reason::Hairpin.into());
    }

    if service.mode == mode::IPIP {
        return encap::enter(kernel, Reason::Encapsulated, service, &flow, (route, opens));
    }
    let hop = match way::<I, K>(arrival, ip, || ip.source(), &backend.address) {
        Answer::Hop(hop) if shape.total <= hop.mtu => Some(hop),
        // The kernel would not fragment what is to the VIP, but take it.
        Answer::Hop(hop) if shape.whole || service.direct() => {
            return Err(Outcome { reason: Reason::FragmentationNeeded, detail: hop.mtu });
        }
        // The kernel fragments it, or resolves the neighbour.
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    if service.direct() {
        let outcome = direct(macs, hop)?;
        verdict::forwarded(
            kernel,
            service.id,
            backend.environment,
            arrival.bytes.get(),
            opens,
            route.overflow,
        );
        return Ok(outcome);
    }
    verdict::forwarded(kernel, service.id, backend.environment, arrival.bytes.get(), opens, route.overflow);
    if opens {
        verdict::of_backend(kernel, route.backend, |counter| counter.syns += 1);
    }
    if PART == FIRST {
        let first = Fragmented {
            address: backend.address,
            service: service.id,
            backend: route.backend,
            environment: backend.environment,
            kind: abi::fragment::FORWARD,
            ..fragment::BY_KERNEL
        };
        fragment::remember(kernel, ip, T::PROTOCOL, &shape, first);
    }
    // The kernel takes one off the hops itself.
    let change = ip.set_destination(&backend.address, hop.is_some().into());
    transport.set_destination(change, u16::from_ne_bytes(backend.port));
    let Some(hop) = hop else { return Err(Reason::ForwardedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Forwarded, detail: hop.interface })
}

/// Sends a packet on as it is (mode dsr). The VIP is the node's own, and the kernel would take the packet: what the
/// program cannot send is lost.
#[inline(always)]
pub(crate) fn direct(macs: &mut Macs, hop: Option<Hop>) -> End {
    let hop = hop.ok_or(Reason::NoNeighbour)?;
    // A router knows nothing of the backend's address in a packet to the VIP, and would send it back.
    if hop.gateway {
        return Err(Reason::NotOnLink.into());
    }
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Forwarded, detail: hop.interface })
}

/// A packet from a backend: a reply to a client, or the backend's own business.
#[inline(always)]
fn back<I: Ip, T: Transport, K: Kernel, const PART: u8>(
    arrival: &Arrival<'_, K>,
    headers: Headers<'_, I, T>,
    endpoint: &Endpoint,
) -> End {
    if endpoint.views != 0 {
        match PART {
            ORDINARY => return Err(to_views::<I, T>(VIEWS_BACK)),
            FIRST => return Err(Reason::FragmentedView.into()),
            _ => (),
        }
    }
    let kernel = arrival.kernel;
    let Headers { macs, ip, transport, shape } = headers;
    let client = ip.destination();
    let port = transport.destination().to_ne_bytes();
    let flow = |service| I::flow(&kernel.node().key, &client, port, service);
    let voice = if PART == VIEWS_BACK && endpoint.views & views::SHARED != 0 {
        answering(kernel, endpoint, transport.segment(&shape).as_ref(), flow)
    } else {
        Voice::of(endpoint)
    };
    let Voice { sender, vip, .. } = voice;
    if endpoint.excludes != 0 && kernel.excluded(&client) {
        return Err(Reason::Excluded.into());
    }
    let answer = way::<I, K>(arrival, ip, || vip, &client);
    match answer {
        Answer::Hop(_) | Answer::ByKernel => (),
        Answer::Local => return Err(Reason::OwnTraffic.into()),
        Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    }
    // From here on it is a reply. One that went on with the backend's address would make the client
    // reset the connection, so that what cannot be rewritten is dropped.
    if PART == FIRST && !(fragment::ends_well(&shape) && transport.fits(&shape)) {
        return Err(Reason::BadFragment.into());
    }
    if !transport.fits(&shape) {
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

    let flow = flow(sender.service);
    let accepts = if PART == VIEWS_BACK {
        let view = noted(kernel, View::of(kernel, voice.views, sender.deployment, &client))?;
        transport.reply(kernel, view, sender, &flow, &shape)
    } else {
        transport.reply(kernel, Ordinary, sender, &flow, &shape)
    };
    if accepts {
        verdict::of_backend(kernel, sender.backend, |counter| counter.syn_acks += 1);
    }
    if PART == FIRST {
        let first = Fragmented {
            address: endpoint.vip,
            service: endpoint.service,
            backend: endpoint.backend,
            environment: endpoint.environment,
            kind: abi::fragment::RETURN,
            ..fragment::BY_KERNEL
        };
        fragment::remember(kernel, ip, T::PROTOCOL, &shape, first);
    }
    let change = ip.set_source(&vip, hop.is_some().into());
    transport.set_source(change, u16::from_ne_bytes(voice.port));
    let Some(hop) = hop else { return Err(Reason::ReturnedByKernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: Reason::Returned, detail: hop.interface })
}

/// Writes a view down, to be asked for: the verifier does not follow what lies in a map.
#[inline(always)]
fn noted<K: Kernel>(kernel: &K, view: View) -> Result<impl Fn() -> View, Reason> {
    let note = kernel.note().ok_or(Reason::Failed)?;
    note.set(Note { detail: view.number(), ..Note::default() });
    Ok(|| View::from_number(note.get().detail))
}

/// The next hop of the packet as it will be.
#[inline(always)]
pub(crate) fn way<I: Ip, K: Kernel>(
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
