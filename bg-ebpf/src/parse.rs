//! From bytes to headers. Nothing here judges a packet: it only says what can be read.

use bg_common::decide::Segment;
use network_types::tcp::TcpHdr;

use crate::packet::{Field as _, Frame, Macs};

/// `EtherType` of IPv4, as it lies in memory.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// `EtherType` of IPv6, as it lies in memory.
pub const IPV6: u16 = 0x86dd_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const VLAN_SERVICE: u16 = 0x88a8_u16.to_be();
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// Length of a TCP header without options, bytes.
pub const TCP_HEADER: usize = size_of::<TcpHdr>();

/// The Ethernet header, its tags, and what follows them.
#[derive(Debug)]
pub struct Link<'p> {
    /// Hardware addresses.
    pub macs: &'p mut Macs,
    /// Up to two tags, 802.1Q or 802.1ad, a priority tag included: `EtherType` and control information, as
    /// they lie in memory; zeros if there is none. (An `Option` leaves its inside undefined, and the
    /// verifier sees what the compiler makes of that.)
    pub tags: [[u16; 2]; 2],
    /// `EtherType` of the payload, as it lies in memory.
    pub ethertype: u16,
    /// The payload.
    pub payload: Frame<'p>,
}

/// Reads the Ethernet header and up to two tags.
#[inline(always)]
pub fn link(mut frame: Frame<'_>) -> Option<Link<'_>> {
    let macs = frame.take::<Macs>()?;
    let mut tags = [[0; 2]; 2];
    let mut ethertype = frame.take::<[u8; 2]>()?.fetch();
    for tag in &mut tags {
        if ethertype != VLAN && ethertype != VLAN_SERVICE {
            break;
        }
        let control = frame.take::<[u8; 2]>()?.fetch();
        *tag = [ethertype, control];
        ethertype = frame.take::<[u8; 2]>()?.fetch();
    }
    Some(Link { macs, tags, ethertype, payload: frame })
}

/// What the IP header, and the headers between it and TCP, say of the packet's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes from the start of the IP header to the end of the frame, padding included.
    pub available: u32,
    /// Bytes in front of the TCP header: the IP header with options or extension headers.
    pub header: u32,
    /// Length of the packet, which the IP header claims.
    pub total: u32,
    /// No router may fragment it.
    pub whole: bool,
    /// It is the first of several fragments.
    pub first_fragment: bool,
}

impl Shape {
    /// The claimed length fits the frame and holds all headers, TCP's being `tcp` bytes long.
    #[inline(always)]
    pub const fn holds(&self, tcp: u32) -> bool {
        tcp >= TCP_HEADER as u32 && self.header + tcp <= self.total && self.total <= self.available
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Bytes 12 and 13 of the TCP header: data offset, and flags.
#[inline(always)]
fn offset_and_flags(tcp: &TcpHdr) -> [u8; 2] {
    let bits = &tcp._bitfield_1;
    [bits.get(0, 8) as u8, bits.get(8, 8) as u8]
}

/// Length of the TCP header that it claims, bytes.
#[inline(always)]
pub fn tcp_length(tcp: &TcpHdr) -> u32 {
    u32::from(offset_and_flags(tcp)[0] >> 4) << 2
}

/// One bit for each combination of ACK, RST, SYN and FIN that a connection can send.
const GOOD: u16 = 1 << 0b0010 | 1 << 0b0100 | 1 << 0b1000 | 1 << 0b1001 | 1 << 0b1010 | 1 << 0b1100;

/// Whether some connection can have sent these flags (RFC 9293, 3.10.7): SYN without FIN and RST, RST
/// without FIN, or ACK. PSH, URG and the ECN bits do not matter.
#[inline(always)]
pub fn plausible_flags(tcp: &TcpHdr) -> bool {
    let flags = offset_and_flags(tcp)[1];
    let combination = flags & (FIN | SYN | RST) | (flags & ACK) >> 1;
    GOOD >> combination & 1 != 0
}

/// What the rule needs to know of the segment.
#[inline(always)]
pub fn segment(shape: &Shape, tcp: &TcpHdr) -> Segment {
    let [offset, flags] = offset_and_flags(tcp);
    Segment {
        syn: flags & SYN != 0,
        ack: flags & ACK != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        payload: shape.total > shape.header + (u32::from(offset >> 4) << 2),
        sequence: u32::from_be(tcp.seq.fetch()),
        acknowledgement: u32::from_be(tcp.ack_seq.fetch()),
    }
}
