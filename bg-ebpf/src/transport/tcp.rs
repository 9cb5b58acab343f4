//! TCP (RFC 9293).

use bg_common::abi::{Endpoint, Service};
use bg_common::control::Environment;
use bg_common::decide::{self, Route, Segment};
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
        service: &Service,
        flow: &Flow,
        shape: &Shape,
    ) -> Result<(Route, bool), Reason> {
        let segment = segment(shape, self);
        Ok((decide::forward(kernel, service, flow, &segment)?, segment.opens()))
    }

    #[inline(always)]
    fn reply<K: Kernel>(&self, kernel: &K, endpoint: &Endpoint, flow: &Flow, shape: &Shape) -> bool {
        let segment = segment(shape, self);
        let Endpoint { deployment, service, backend, .. } = *endpoint;
        let environment = Environment::from_bit(endpoint.environment);
        decide::reply(kernel, deployment, service, environment, backend, flow, &segment);
        segment.syn && segment.ack
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
