//! Mode ipip: the client's packet travels to its backend as it is, within another one (RFC 2003, RFC 2473).
//!
//! The outer source is made of a prefix and a hash of the flow: a flow has one source, and many flows have many, by
//! which the backend's network card spreads them over its processors.

mod v4;
mod v6;

use core::cell::Cell;

use bg_common::abi::{Address, Backend, Service, entry};
use bg_common::decide::Route;
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::answer;
use crate::ip::Ip;
use crate::kernel::{Answer, Hop, Kernel, Note, Query, Version};
use crate::nexthop;
use crate::packet::{Field as _, Frame, Macs, Packet};
use crate::parse::{self, IPV4, Link};
use crate::path::{Arrival, End};
use crate::verdict::{self, Action, Outcome};

/// TTL and hop limit of the outer header.
const HOPS: u8 = 64;

/// What the outer header takes from the packet.
#[derive(Clone, Copy)]
struct Inner {
    version: Version,
    /// Its length, bytes.
    total: u32,
    /// DSCP and ECN bits, which the outer header repeats (RFC 6040, 4.1, normal mode).
    tos: u8,
    /// No router may fragment it.
    whole: bool,
    /// Only IPv4.
    id: [u8; 2],
}

/// What the outer header takes from elsewhere.
struct Around {
    source: Address,
    destination: Address,
    hash: u32,
    /// Routers may fragment it.
    divisible: bool,
}

/// The outer header of one version of IP.
trait Outer: Ip + Sized {
    /// `EtherType`, as it lies in memory.
    const ETHERTYPE: u16;
    /// Bytes.
    const SIZE: u16 = size_of::<Self>() as u16;

    /// Writes the header of a packet that carries `inner`.
    fn write(&mut self, inner: &Inner, around: &Around);
}

/// Leaves word of which backend the packet travels to, and that it counts as `reason` then; for [`run`].
#[inline(always)]
pub(crate) fn enter<K: Kernel>(
    kernel: &K,
    reason: Reason,
    service: &Service,
    flow: &Flow,
    (route, opens): (Route, bool),
) -> End {
    let note = kernel.note().ok_or(Reason::Failed)?;
    note.set(Note {
        reason: reason as u32,
        detail: 0,
        // The other half picks the backend.
        hash: flow.hash as u32,
        backend: route.backend,
        service: service.id,
        opens: opens.into(),
        overflow: route.overflow.into(),
        pad: [0; 6],
    });
    Err(Reason::Encapsulated.into())
}

/// [`bg_common::stage::Stage::Encap`].
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let ingress = packet.interface();
    let arrival = Arrival { kernel, ingress, bytes: Cell::new(packet.frame().len() as u64) };
    match wrap(&arrival, packet) {
        Err(outcome) if outcome.reason == Reason::FragmentationNeeded => answer::enter(kernel, outcome),
        Ok(outcome) | Err(outcome) => verdict::conclude(kernel, ingress, arrival.bytes.get(), outcome),
    }
}

#[inline(always)]
fn wrap<K: Kernel, P: Packet>(arrival: &Arrival<'_, K>, packet: &mut P) -> End {
    let kernel = arrival.kernel;
    let note = kernel.note().map(Cell::get).ok_or(Reason::Failed)?;
    let backend = kernel.backend(note.backend).ok_or(Reason::NoBackend)?;
    if backend.state != entry::USED {
        return Err(Reason::NoBackend.into());
    }
    if backend.address.is_v4() {
        around::<Ipv4Hdr, K, P>(arrival, packet, &note, backend)
    } else {
        around::<Ipv6Hdr, K, P>(arrival, packet, &note, backend)
    }
}

#[inline(always)]
fn around<O: Outer, K: Kernel, P: Packet>(
    arrival: &Arrival<'_, K>,
    packet: &mut P,
    note: &Note,
    backend: &Backend,
) -> End {
    let kernel = arrival.kernel;
    let size = u32::from(O::SIZE);
    let Link { macs, tags, ethertype, mut payload } = parse::link(packet.frame()).ok_or(Reason::Failed)?;
    let macs = *macs;
    let inner = look(ethertype, &payload).ok_or(Reason::Failed)?;
    let source = source(backend, note.hash);
    let answer = nexthop::find(kernel, &backend.address, O::place(&backend.address), || Query {
        version: O::VERSION,
        source,
        destination: backend.address,
        tos: inner.tos,
        interface: arrival.ingress,
    });
    let about_a_reply = note.reason == Reason::ErrorForwarded as u32;
    let (hop, divisible) = match answer {
        Answer::Hop(hop) if inner.total + size <= hop.mtu => (Some(hop), false),
        // Nobody is told of an error about an error (RFC 1122, 3.2.2).
        Answer::Hop(hop) if inner.whole && !about_a_reply => {
            return Err(Outcome {
                reason: Reason::FragmentationNeeded,
                detail: hop.mtu.saturating_sub(size),
            });
        }
        // The kernel fragments the outer packet.
        Answer::Hop(_) => (None, true),
        // The kernel finds the neighbour.
        Answer::ByKernel => (None, !inner.whole),
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };

    take_hop(ethertype, &mut payload);
    let around = Around { source, destination: backend.address, hash: note.hash, divisible };
    put::<O, P>(packet, (macs, tags), hop, &inner, &around).ok_or(Reason::Failed)?;
    if !about_a_reply {
        let Note { service, opens, overflow, .. } = *note;
        verdict::forwarded(
            kernel,
            service,
            backend.environment,
            arrival.bytes.get(),
            opens != 0,
            overflow != 0,
        );
    }
    let Some(hop) = hop else { return Err(Reason::ForwardedByKernel.into()) };
    let reason = if about_a_reply { Reason::ErrorForwarded } else { Reason::Encapsulated };
    Ok(Outcome { reason, detail: hop.interface })
}

/// Reads the header of a packet that was found sound before.
#[inline(always)]
fn look(ethertype: u16, payload: &Frame<'_>) -> Option<Inner> {
    if ethertype == IPV4 {
        let ip = payload.peek_at::<Ipv4Hdr>(0)?;
        Some(Inner {
            version: Version::V4,
            total: u16::from_be_bytes(ip.tot_len).into(),
            tos: ip.tos,
            whole: ip.frags[0] & 0x40 != 0,
            id: ip.id,
        })
    } else {
        let ip = payload.peek_at::<Ipv6Hdr>(0)?;
        Some(Inner {
            version: Version::V6,
            total: u32::from(u16::from_be_bytes(ip.payload_len)) + size_of::<Ipv6Hdr>() as u32,
            tos: ip.tos(),
            whole: true,
            id: [0; 2],
        })
    }
}

/// It is forwarded, and only then put into another one (RFC 2003, 3.1; RFC 2473, 3.1).
#[inline(always)]
fn take_hop(ethertype: u16, payload: &mut Frame<'_>) {
    if ethertype == IPV4 {
        if let Some(ip) = payload.take::<Ipv4Hdr>() {
            ip.take_hop();
        }
    } else if let Some(ip) = payload.take::<Ipv6Hdr>() {
        ip.take_hop();
    }
}

/// Where the outer packet says that it comes from.
#[inline(always)]
fn source(backend: &Backend, hash: u32) -> Address {
    let mask = u32::MAX.checked_shr(32_u32.wrapping_sub(backend.tunnel_bits.into())).unwrap_or(0);
    let [a, b, c, d] = (hash & mask).to_be_bytes();
    let mut source = backend.tunnel;
    source.0[12] |= a;
    source.0[13] |= b;
    source.0[14] |= c;
    source.0[15] |= d;
    source
}

/// Makes room in front of the packet, and puts its link header and the outer header there. `None`: it could not be
/// changed and is of no more use.
#[inline(always)]
fn put<O: Outer, P: Packet>(
    packet: &mut P,
    (macs, tags): (Macs, [[u16; 2]; 2]),
    hop: Option<Hop>,
    inner: &Inner,
    around: &Around,
) -> Option<()> {
    if !packet.move_start(-i32::from(O::SIZE)) {
        return None;
    }
    let mut frame = packet.frame();
    frame.take::<Macs>()?.put(match hop {
        Some(hop) => hop.macs,
        None => macs.fetch(),
    });
    for [ethertype, control] in tags {
        if ethertype != 0 {
            frame.take::<[u8; 2]>()?.put(ethertype);
            frame.take::<[u8; 2]>()?.put(control);
        }
    }
    frame.take::<[u8; 2]>()?.put(O::ETHERTYPE);
    frame.take::<O>()?.write(inner, around);
    Some(())
}
