//! TCP (RFC 9293).

use bg_common::abi::Service;
use bg_common::decide::views::Look;
use bg_common::decide::{self, Route, Segment, Sender};
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use network_types::tcp::TcpHdr;

use super::Transport;
use crate::checksum::Change;
use crate::kernel::Kernel;
use crate::packet::Field as _;
use crate::parse::{Shape, TCP};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Length of a header without options, bytes.
const HEADER: u32 = size_of::<TcpHdr>() as u32;

/// One bit for each combination of ACK, RST, SYN and FIN that a connection can send.
const GOOD: u16 = 1 << 0b0010 | 1 << 0b0100 | 1 << 0b1000 | 1 << 0b1001 | 1 << 0b1010 | 1 << 0b1100;

impl Transport for TcpHdr {
    const PROTOCOL: u8 = TCP;

    #[inline(always)]
    fn source(&self) -> u16 {
        self.source.fetch()
    }

    #[inline(always)]
    fn destination(&self) -> u16 {
        self.dest.fetch()
    }

    #[inline(always)]
    fn fits(&self, shape: &Shape) -> bool {
        let header = length(self);
        header >= HEADER && shape.holds(header)
    }

    /// Flags that no connection can have sent (RFC 9293, 3.10.7): it sends SYN without FIN and RST, RST without
    /// FIN, or ACK. PSH, URG and the ECN bits do not matter.
    #[inline(always)]
    fn fault(&self, _: &Shape) -> Option<Reason> {
        let flags = offset_and_flags(self)[1];
        let combination = flags & (FIN | SYN | RST) | (flags & ACK) >> 1;
        if GOOD >> combination & 1 != 0 { None } else { Some(Reason::BadFlags) }
    }

    #[inline(always)]
    fn set_source(&mut self, change: Change, port: u16) {
        change.two(self.source.fetch(), port).apply(&mut self.check);
        self.source.put(port);
    }

    #[inline(always)]
    fn set_destination(&mut self, change: Change, port: u16) {
        change.two(self.dest.fetch(), port).apply(&mut self.check);
        self.dest.put(port);
    }

    #[inline(always)]
    fn forward<K: Kernel>(
        &self,
        kernel: &K,
        look: impl Look,
        service: &Service,
        flow: &Flow,
        shape: &Shape,
    ) -> Result<(Route, bool), Reason> {
        let segment = segment(shape, self);
        Ok((decide::forward(kernel, look, service, flow, &segment)?, segment.opens()))
    }

    #[inline(always)]
    fn reply<K: Kernel>(
        &self,
        kernel: &K,
        look: impl Look,
        sender: Sender,
        flow: &Flow,
        shape: &Shape,
    ) -> bool {
        let segment = segment(shape, self);
        decide::reply(kernel, &look, sender, flow, &segment);
        segment.syn && segment.ack
    }

    #[inline(always)]
    fn segment(&self, shape: &Shape) -> Option<Segment> {
        Some(segment(shape, self))
    }
}

/// The segment that answers one to a connection that does not exist (RFC 9293, 3.10.7.1): a RST that the sender
/// takes for one of that connection. Words as they lie in memory.
pub(crate) struct Refusal {
    ports: [u16; 2],
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

impl Refusal {
    /// `None`: a RST is never answered.
    #[inline(always)]
    pub(crate) fn of(tcp: &TcpHdr, shape: &Shape) -> Option<Self> {
        let flags = offset_and_flags(tcp)[1];
        if flags & RST != 0 {
            return None;
        }
        let ports = [tcp.dest.fetch(), tcp.source.fetch()];
        if flags & ACK != 0 {
            return Some(Self { ports, sequence: tcp.ack_seq.fetch(), acknowledgement: 0, flags: RST });
        }
        let data = shape.total.wrapping_sub(shape.header + length(tcp));
        let length = data + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = u32::from_be(tcp.seq.fetch()).wrapping_add(length);
        Some(Self { ports, sequence: 0, acknowledgement: end.to_be(), flags: RST | ACK })
    }

    /// All of its header in front of the checksum: a header without options, and no window.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u32; 4] {
        let [[a, b], [c, d]] = self.ports.map(u16::to_ne_bytes);
        let flags = u32::from_ne_bytes([(HEADER as u8) << 2, self.flags, 0, 0]);
        [u32::from_ne_bytes([a, b, c, d]), self.sequence, self.acknowledgement, flags]
    }
}

/// Bytes 12 and 13: data offset, and flags.
#[inline(always)]
fn offset_and_flags(tcp: &TcpHdr) -> [u8; 2] {
    let bits = &tcp._bitfield_1;
    [bits.get(0, 8) as u8, bits.get(8, 8) as u8]
}

/// Length of the header that it claims, bytes.
#[inline(always)]
fn length(tcp: &TcpHdr) -> u32 {
    u32::from(offset_and_flags(tcp)[0] >> 4) << 2
}

/// What the rule needs to know.
#[inline(always)]
fn segment(shape: &Shape, tcp: &TcpHdr) -> Segment {
    let flags = offset_and_flags(tcp)[1];
    Segment {
        syn: flags & SYN != 0,
        ack: flags & ACK != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        payload: shape.total > shape.header + length(tcp),
        sequence: u32::from_be(tcp.seq.fetch()),
        acknowledgement: u32::from_be(tcp.ack_seq.fetch()),
    }
}
