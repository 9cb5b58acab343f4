//! ICMP errors to a client, made out of the packet that caused them. They come from the VIP and quote the
//! packet as the client sent it; a kernel that saw the rewritten packet would quote the backend, and the
//! client would not know what it is about. How many there are is limited (RFC 1812, 4.3.2.8; RFC 4443, 2.4 (f)).

pub(crate) mod allowance;
mod v4;
mod v6;

use core::cell::Cell;

use bg_common::reason::Reason;
use bg_common::stage::Stage;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::checksum::Sum;
use crate::kernel::{Kernel, Note};
use crate::packet::{Field as _, Frame, Macs, Packet, Wire};
use crate::parse::{self, IPV4};
use crate::verdict::{self, Action, Outcome};

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Its packet ran out of hops.
    TimeExceeded,
    /// Its packet is larger than this and must not be fragmented on its way.
    TooBig(u32),
    /// Nobody is behind the port.
    Unreachable,
}

const ICMP_HEADER: usize = 8;
/// TTL and hop limit of what the program sends itself.
pub(crate) const HOPS: u8 = 64;

/// The errors of one version of IP. `self` is the header of the packet that they are about.
trait Report: Wire + Copy {
    /// Bytes in front of the quote.
    const FRONT: u16 = (size_of::<Self>() + ICMP_HEADER) as u16;

    /// How many bytes of a packet are quoted.
    fn quote(&self) -> u16;

    /// Writes the headers into the first [`Self::FRONT`] bytes. The frame ends where the quote does.
    fn write(&self, error: Error, quote: u16, frame: Frame<'_>) -> Option<()>;
}

/// Leaves word of why the packet, not yet rewritten, is answered; for [`run`].
#[inline(always)]
pub(crate) fn enter<K: Kernel>(kernel: &K, outcome: Outcome) -> Action {
    if let Some(note) = kernel.note() {
        note.set(Note { reason: outcome.reason as u32, detail: outcome.detail, ..Note::default() });
    }
    Action::Enter(Stage::Answer)
}

/// [`Stage::Answer`].
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    const TIME_EXCEEDED: u32 = Reason::TimeExceeded as u32;
    const TOO_BIG: u32 = Reason::FragmentationNeeded as u32;
    const NO_BACKEND: u32 = Reason::NoBackend as u32;
    let ingress = packet.interface();
    let first = packet.frame().len() as u64;
    let bytes = kernel.length(first);
    let beyond = bytes.wrapping_sub(first);
    let told = match kernel.note().map(Cell::get) {
        Some(Note { reason: TIME_EXCEEDED, .. }) => Some((Reason::TimeExceeded, Error::TimeExceeded)),
        Some(Note { reason: TOO_BIG, detail, .. }) => {
            Some((Reason::FragmentationNeeded, Error::TooBig(detail)))
        }
        Some(Note { reason: NO_BACKEND, .. }) => Some((Reason::Refused, Error::Unreachable)),
        _ => None,
    };
    let outcome = match told {
        Some((_, error)) if !allowance::spend(kernel, error) => Reason::Unanswered.into(),
        Some((reason, error)) if answer(packet, beyond, error).is_some() => {
            Outcome { reason, detail: ingress }
        }
        _ => Reason::Failed.into(),
    };
    verdict::conclude(kernel, ingress, bytes, outcome)
}

/// Turns a client's packet, not yet rewritten, into the error about it, ready to leave by the way it
/// came; so many bytes of it are beyond its first buffer. `None`: the packet could not be changed and is of no more use.
#[inline(always)]
fn answer<P: Packet>(packet: &mut P, beyond: u64, error: Error) -> Option<()> {
    if parse::link(packet.frame())?.ethertype == IPV4 {
        turn::<Ipv4Hdr, P>(packet, beyond, error)
    } else {
        turn::<Ipv6Hdr, P>(packet, beyond, error)
    }
}

#[inline(always)]
fn turn<R: Report, P: Packet>(packet: &mut P, beyond: u64, error: Error) -> Option<()> {
    let mut link = parse::link(packet.frame())?;
    let (macs, tags, ethertype) = (*link.macs, link.tags, link.ethertype);
    let length = link.payload.len();
    let ip = *link.payload.take::<R>()?;
    // No more than the first buffer has: what is behind it cannot be summed up.
    let quote = ip.quote().min(u16::try_from(length).unwrap_or(u16::MAX));

    let excess = i32::try_from(length as u64 + beyond).ok()? - i32::from(quote);
    if !packet.move_end(-excess) || !packet.move_start(-i32::from(R::FRONT)) {
        return None;
    }

    // The link header, 22 bytes at most, moves into the new ones, which are more: nothing that is still
    // needed is overwritten.
    let mut frame = packet.frame();
    let [to, from] = macs.addresses();
    frame.take::<Macs>()?.put(Macs::words(from, to));
    for [ethertype, control] in tags {
        if ethertype != 0 {
            frame.take::<[u8; 2]>()?.put(ethertype);
            frame.take::<[u8; 2]>()?.put(control);
        }
    }
    frame.take::<[u8; 2]>()?.put(ethertype);
    ip.write(error, quote, frame)
}

/// Puts the header in its place, with the checksum over itself and what else is covered.
#[inline(always)]
fn seal(place: &mut [u8; ICMP_HEADER], mut header: [u8; ICMP_HEADER], covered: Sum) {
    let sum = covered
        .four(u32::from_ne_bytes([header[0], header[1], header[2], header[3]]))
        .four(u32::from_ne_bytes([header[4], header[5], header[6], header[7]]));
    let checksum = sum.finish().to_ne_bytes();
    header[2] = checksum[0];
    header[3] = checksum[1];
    *place = header;
}
