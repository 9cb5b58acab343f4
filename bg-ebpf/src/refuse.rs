//! Packets for which there is no backend: the client is told so at once, and need not wait. A segment becomes the
//! RST that a host without the connection would send, in place; a datagram is answered by [`crate::answer`].

use bg_common::reason::Reason;
use bg_common::stage::Stage;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;

use crate::answer::{self, HOPS};
use crate::checksum::Sum;
use crate::ip::Ip;
use crate::kernel::{Kernel, Note};
use crate::packet::{Field as _, Frame, Macs, Packet};
use crate::parse::{self, IPV4, TCP, UDP};
use crate::transport::Refusal;
use crate::verdict::{self, Action, Outcome};

/// Length of a header without options, bytes.
pub(crate) const TCP_HEADER: u16 = size_of::<TcpHdr>() as u16;

/// A header of IP for a segment that goes back to where another came from.
trait Turn: Ip + Copy {
    /// Length of the whole packet, bytes.
    const LENGTH: u16 = size_of::<Self>() as u16 + TCP_HEADER;

    /// Writes it in front of what is left of the frame, for a segment without data. Returns the sum of what the
    /// segment's checksum covers of it; `None` if the frame is too short.
    fn turn(&self, frame: &mut Frame<'_>) -> Option<Sum>;
}

/// Leaves word of why the packet is refused; for [`run`].
#[inline(always)]
pub(crate) fn enter<K: Kernel>(kernel: &K, outcome: Outcome) -> Action {
    if let Some(note) = kernel.note() {
        note.set(Note { reason: outcome.reason as u32, ..Note::default() });
    }
    Action::Enter(Stage::Refuse)
}

/// [`Stage::Refuse`].
#[inline(always)]
pub fn run<K: Kernel, P: Packet>(kernel: &K, packet: &mut P) -> Action {
    let ingress = packet.interface();
    let frame = packet.frame();
    let first = frame.len() as u64;
    let bytes = kernel.length(first);
    let beyond = bytes.wrapping_sub(first);
    let end = match parse::link(frame).map(|link| link.ethertype) {
        Some(IPV4) => refuse::<Ipv4Hdr, P>(packet, beyond),
        _ => refuse::<Ipv6Hdr, P>(packet, beyond),
    };
    match end {
        Ok(()) => {
            let unpinned = kernel.note().is_some_and(|note| note.get().reason == Reason::NoPin as u32);
            let reason = if unpinned { Reason::NoPin } else { Reason::Refused };
            verdict::conclude(kernel, ingress, bytes, Outcome { reason, detail: ingress })
        }
        Err(Outcome { reason: Reason::OtherProtocol, detail }) if detail == UDP.into() => {
            answer::enter(kernel, Reason::NoBackend.into())
        }
        Err(Outcome { reason: Reason::Failed, .. }) => {
            verdict::conclude(kernel, ingress, bytes, Reason::Failed.into())
        }
        Err(_) => verdict::conclude(kernel, ingress, bytes, Reason::NoBackend.into()),
    }
}

/// Turns a client's segment into the answer to it, ready to leave by the way it came. `Failed` is a packet that
/// could not be changed and is of no more use; all other reasons are those of packets that are no segments to be
/// answered.
#[inline(always)]
fn refuse<I: Turn, P: Packet>(packet: &mut P, beyond: u64) -> Result<(), Outcome> {
    let mut link = parse::link(packet.frame()).ok_or(Reason::Truncated)?;
    let length = link.payload.len();
    let ip = *link.payload.take::<I>().ok_or(Reason::Truncated)?;
    let shape = ip.read(TCP, &mut link.payload, length)?;
    let segment = link.payload.take::<TcpHdr>().ok_or(Reason::Truncated)?;
    let refusal = Refusal::of(segment, &shape).ok_or(Reason::NoBackend)?;

    let excess = i32::try_from(length as u64 + beyond).map_err(|_| Reason::Failed)? - i32::from(I::LENGTH);
    if !packet.move_end(-excess) {
        return Err(Reason::Failed.into());
    }
    write(ip, &refusal, packet.frame()).ok_or_else(|| Reason::Failed.into())
}

/// Writes the answer over the segment, behind tags that stay as they are.
#[inline(always)]
fn write<I: Turn>(ip: I, refusal: &Refusal, frame: Frame<'_>) -> Option<()> {
    let mut link = parse::link(frame)?;
    let [to, from] = link.macs.addresses();
    link.macs.put(Macs::words(from, to));
    let frame = &mut link.payload;
    let mut sum = ip.turn(frame)?;
    for word in refusal.words() {
        frame.take::<[u8; 4]>()?.put(word);
        sum = sum.four(word);
    }
    frame.take::<[u8; 2]>()?.put(sum.finish());
    // The urgent pointer.
    frame.take::<[u8; 2]>()?.put(0);
    Some(())
}

mod v4;
mod v6;
