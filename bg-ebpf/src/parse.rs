//! From bytes to headers. Nothing here judges a packet: it only says what can be read.

use bg_common::decide::Segment;
use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;

use crate::packet::{Field as _, Frame, Macs};

/// `EtherType` of IPv4, as it lies in memory.
pub const IPV4: u16 = 0x0800_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const VLAN_SERVICE: u16 = 0x88a8_u16.to_be();
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// Length of an IPv4 header without options, bytes.
pub const IPV4_HEADER: usize = size_of::<Ipv4Hdr>();
/// Length of a TCP header without options, bytes.
pub const TCP_HEADER: usize = size_of::<TcpHdr>();

/// The Ethernet header, its tags, and what follows them.
#[derive(Debug)]
pub struct Link<'p> {
    /// Hardware addresses.
    pub macs: &'p mut Macs,
    /// Up to two tags, 802.1Q or 802.1ad, a priority tag included: `EtherType` and control information, as
    /// they lie in memory.
    pub tags: [Option<[u16; 2]>; 2],
    /// `EtherType` of the payload, as it lies in memory.
    pub ethertype: u16,
    /// The payload.
    pub payload: Frame<'p>,
}

/// Reads the Ethernet header and up to two tags.
#[inline(always)]
pub fn link(mut frame: Frame<'_>) -> Option<Link<'_>> {
    let macs = frame.take::<Macs>()?;
    let mut tags = [None; 2];
    let mut ethertype = frame.take::<[u8; 2]>()?.fetch();
    for tag in &mut tags {
        if ethertype != VLAN && ethertype != VLAN_SERVICE {
            break;
        }
        let control = frame.take::<[u8; 2]>()?.fetch();
        *tag = Some([ethertype, control]);
        ethertype = frame.take::<[u8; 2]>()?.fetch();
    }
    Some(Link { macs, tags, ethertype, payload: frame })
}

/// What the IPv4 header says of the packet's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes from the start of the IPv4 header to the end of the frame, padding included.
    pub available: u32,
    /// Length of the IPv4 header, 20 to 60 bytes.
    pub header: u32,
    /// Length of the packet, which the header claims.
    pub total: u32,
    /// `DF`, `MF` and the offset.
    pub fragment: u16,
}

impl Shape {
    const DONT_FRAGMENT: u16 = 1 << 14;
    const MORE_FRAGMENTS: u16 = 1 << 13;
    const OFFSET: u16 = (1 << 13) - 1;

    /// Reads it; `available` counts from the start of the header.
    #[inline(always)]
    pub fn new(ip: &Ipv4Hdr, available: usize) -> Self {
        Self {
            available: available as u32,
            header: u32::from(ip.vihl & 15) << 2,
            total: u16::from_be(ip.tot_len.fetch()).into(),
            fragment: u16::from_be(ip.frags.fetch()),
        }
    }

    /// Length of the IPv4 options, 0 to 40 bytes.
    #[inline(always)]
    pub const fn options(&self) -> usize {
        (self.header as usize).wrapping_sub(IPV4_HEADER)
    }

    /// It may not be fragmented.
    #[inline(always)]
    pub const fn whole(&self) -> bool {
        self.fragment & Self::DONT_FRAGMENT != 0
    }

    /// It is the first of several fragments.
    #[inline(always)]
    pub const fn first_fragment(&self) -> bool {
        self.fragment & Self::MORE_FRAGMENTS != 0
    }

    /// It is a fragment, and not the first one: it has no ports.
    #[inline(always)]
    pub const fn later_fragment(&self) -> bool {
        self.fragment & Self::OFFSET != 0
    }

    /// The claimed length fits the frame and holds both headers, the second one `tcp` bytes long.
    #[inline(always)]
    pub const fn holds(&self, tcp: u32) -> bool {
        tcp >= TCP_HEADER as u32 && self.header + tcp <= self.total && self.total <= self.available
    }
}

/// Version 4 and a header length of 20 to 60 bytes.
#[inline(always)]
pub const fn is_v4(ip: &Ipv4Hdr) -> bool {
    ip.vihl >= 0x45 && ip.vihl <= 0x4f
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
