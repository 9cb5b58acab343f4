//! Fragments. Only the first one of a packet has ports: it goes the way of any packet, and what became of it is
//! remembered, so that the later ones follow. They change in their IP headers alone; the checksum of the transport
//! header, which covers them all, is in the first one.
//!
//! A receiver that puts fragments together takes what it gets: one that overlaps the first could give the segment
//! other ports than those that were looked at (RFC 1858, RFC 5722), and is dropped.

use bg_common::abi::{self, Address, FRAGMENT_SECONDS, FragmentKey, Fragmented, NO_BACKEND};
use bg_common::reason::Reason;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::ip::Ip;
use crate::kernel::{Answer, Hop, Kernel, Version};
use crate::ours;
use crate::packet::{Macs, Packet};
use crate::parse::{IPV4, Link, Shape};
use crate::path::{self, Arrival, End, way};
use crate::verdict::{self, Action, Outcome};

/// A fragment's place in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Identification, as it lies in the packet.
    pub(crate) id: u32,
    /// IP protocol number; over IPv6, where it does not count, 0.
    pub(crate) protocol: u8,
    /// Where it begins in what is fragmented, bytes.
    pub(crate) start: u32,
    /// It is not the last one.
    pub(crate) more: bool,
    /// Bytes in front of it: the IP header, with options or up to the header of the fragment.
    pub(crate) header: u32,
    /// Length of the packet that it is in, which the IP header claims.
    pub(crate) total: u32,
}

impl Piece {
    /// It is within a frame of which so many bytes are left from the IP header on, within the longest packet, and
    /// ends where another one can begin.
    #[inline(always)]
    pub(crate) const fn fits(&self, available: u32) -> bool {
        let length = self.total.wrapping_sub(self.header);
        self.header < self.total
            && self.total <= available
            && self.start + length <= u16::MAX as u32
            && (!self.more || length.is_multiple_of(8))
    }
}

/// Nothing is done with it.
pub(crate) const BY_KERNEL: Fragmented = Fragmented {
    address: Address([0; 16]),
    seen: 0,
    end: 0,
    service: 0,
    backend: NO_BACKEND,
    environment: 0,
    kind: abi::fragment::KERNEL,
    pad: [0; 2],
};

/// Whether another fragment can begin where the first one ends.
#[inline(always)]
pub(crate) const fn ends_well(shape: &Shape) -> bool {
    shape.holds(0) && shape.total.wrapping_sub(shape.header).is_multiple_of(8)
}

/// Remembers what becomes of a first fragment; `ip` is as it arrived.
#[inline(always)]
pub(crate) fn remember<I: Ip, K: Kernel>(kernel: &K, ip: &I, protocol: u8, shape: &Shape, first: Fragmented) {
    let protocol = if I::VERSION == Version::V4 { protocol } else { 0 };
    let first = Fragmented { seen: kernel.seconds(), end: shape.total.wrapping_sub(shape.header), ..first };
    kernel.remember(&key(ip, shape.id, protocol), &first);
}

#[inline(always)]
fn key<I: Ip>(ip: &I, id: u32, protocol: u8) -> FragmentKey {
    FragmentKey { source: ip.source(), destination: ip.destination(), id, protocol, pad: [0; 3] }
}

/// [`bg_common::stage::Stage::Fragment`].
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let (arrival, link) = path::arrive(kernel, packet);
    match link {
        Some(link) if link.ethertype == IPV4 => arrival.end(later::<Ipv4Hdr, K>(&arrival, link)),
        Some(link) => arrival.end(later::<Ipv6Hdr, K>(&arrival, link)),
        None => arrival.end(Err(Reason::OtherProtocol.into())),
    }
}

/// A later fragment.
#[inline(always)]
fn later<I: Ip, K: Kernel>(arrival: &Arrival<'_, K>, link: Link<'_>) -> End {
    let kernel = arrival.kernel;
    let Link { macs, mut payload, .. } = link;
    let available = payload.len() as u32;
    let ip = payload.take::<I>().ok_or(Reason::LaterFragment)?;
    let piece = ip.piece(&payload).ok_or(Reason::LaterFragment)?;
    let now = kernel.seconds();
    let known = kernel
        .recall(&key(ip, piece.id, piece.protocol))
        .filter(|known| now.wrapping_sub(known.seen) < FRAGMENT_SECONDS);
    let Some(known) = known else {
        // A backend may have sent it on business of its own.
        return Err(
            if ours::is_vip(kernel, ip) { Reason::UnknownFragment } else { Reason::LaterFragment }.into()
        );
    };
    if known.kind == abi::fragment::KERNEL {
        return Err(Reason::LaterFragment.into());
    }
    if !piece.fits(arrival.available(available, piece.total)) || piece.start < known.end {
        return Err(Reason::BadFragment.into());
    }
    if known.kind == abi::fragment::RETURN {
        back(arrival, macs, ip, &piece, &known)
    } else {
        forward(arrival, macs, ip, &piece, &known)
    }
}

/// To a backend.
#[inline(always)]
fn forward<I: Ip, K: Kernel>(
    arrival: &Arrival<'_, K>,
    macs: &mut Macs,
    ip: &mut I,
    piece: &Piece,
    known: &Fragmented,
) -> End {
    if ip.hops() <= 1 {
        return Err(Reason::FragmentTtl.into());
    }
    let hop = match way::<I, K>(arrival, ip, || ip.source(), &known.address) {
        Answer::Hop(hop) if piece.total <= hop.mtu => Some(hop),
        // Only its sender fragments it.
        Answer::Hop(hop) if I::VERSION == Version::V6 => {
            return Err(Outcome { reason: Reason::FragmentationNeeded, detail: hop.mtu });
        }
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local | Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    verdict::forwarded(arrival.kernel, known.service, known.environment, arrival.bytes.get(), false, false);
    ip.set_destination(&known.address, hop.is_some().into());
    send(macs, hop, Reason::Forwarded, Reason::ForwardedByKernel)
}

/// To a client.
#[inline(always)]
fn back<I: Ip, K: Kernel>(
    arrival: &Arrival<'_, K>,
    macs: &mut Macs,
    ip: &mut I,
    piece: &Piece,
    known: &Fragmented,
) -> End {
    let client = ip.destination();
    if ip.hops() <= 1 {
        return Err(Reason::ReturnTtl.into());
    }
    let hop = match way::<I, K>(arrival, ip, || known.address, &client) {
        Answer::Hop(hop) if piece.total <= hop.mtu => Some(hop),
        Answer::Hop(_) if I::VERSION == Version::V6 => return Err(Reason::ReturnTooBig.into()),
        Answer::Hop(_) | Answer::ByKernel => None,
        Answer::Local => return Err(Reason::OwnTraffic.into()),
        Answer::Nowhere => return Err(Reason::NoRoute.into()),
        Answer::Failed => return Err(Reason::Failed.into()),
    };
    ip.set_source(&known.address, hop.is_some().into());
    send(macs, hop, Reason::Returned, Reason::ReturnedByKernel)
}

#[inline(always)]
fn send(macs: &mut Macs, hop: Option<Hop>, sent: Reason, by_kernel: Reason) -> End {
    let Some(hop) = hop else { return Err(by_kernel.into()) };
    macs.put(hop.macs);
    Ok(Outcome { reason: sent, detail: hop.interface })
}
