//! UDP (RFC 768).

use bg_common::abi::Service;
use bg_common::decide::views::Look;
use bg_common::decide::{Route, Segment, Sender, datagram};
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use network_types::udp::UdpHdr;

use super::Transport;
use crate::checksum::Change;
use crate::kernel::{Kernel, Version};
use crate::packet::Field as _;
use crate::parse::{Shape, UDP};

/// Length of the header, bytes.
const HEADER: u32 = size_of::<UdpHdr>() as u32;

impl Transport for UdpHdr {
    const PROTOCOL: u8 = UDP;

    #[inline(always)]
    fn source(&self) -> u16 {
        self.src.fetch()
    }

    #[inline(always)]
    fn destination(&self) -> u16 {
        self.dst.fetch()
    }

    #[inline(always)]
    fn fits(&self, shape: &Shape) -> bool {
        let length = u16::from_be(self.len.fetch()).into();
        // Of a fragmented datagram it is the length of the whole.
        length >= HEADER && (shape.first_fragment || shape.holds(length)) && shape.holds(HEADER)
    }

    /// Over IPv6 there is no datagram without a checksum (RFC 8200, 8.1).
    #[inline(always)]
    fn fault(&self, shape: &Shape) -> Option<Reason> {
        if shape.version == Version::V6 && self.check == [0; 2] { Some(Reason::NoChecksum) } else { None }
    }

    #[inline(always)]
    fn set_source(&mut self, change: Change, port: u16) {
        apply(change.two(self.src.fetch(), port), &mut self.check);
        self.src.put(port);
    }

    #[inline(always)]
    fn set_destination(&mut self, change: Change, port: u16) {
        apply(change.two(self.dst.fetch(), port), &mut self.check);
        self.dst.put(port);
    }

    #[inline(always)]
    fn forward<K: Kernel>(
        &self,
        kernel: &K,
        look: impl Look,
        service: &Service,
        flow: &Flow,
        _: &Shape,
    ) -> Result<(Route, bool), Reason> {
        Ok((datagram::forward(kernel, look, service, flow)?, false))
    }

    #[inline(always)]
    fn reply<K: Kernel>(&self, kernel: &K, look: impl Look, sender: Sender, flow: &Flow, _: &Shape) -> bool {
        datagram::reply(kernel, &look, sender, flow);
        false
    }

    #[inline(always)]
    fn segment(&self, _: &Shape) -> Option<Segment> {
        None
    }
}

/// Updates a checksum: 0 says that there is none, and stays; one that becomes 0 is sent as all ones.
#[inline(always)]
fn apply(change: Change, checksum: &mut [u8; 2]) {
    if *checksum == [0; 2] {
        return;
    }
    change.apply(checksum);
    if *checksum == [0; 2] {
        *checksum = [0xff; 2];
    }
}
