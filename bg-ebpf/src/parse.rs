//! From bytes to headers. Nothing here judges a packet: it only says what can be read.

use crate::kernel::Version;
use crate::packet::{Field as _, Frame, Macs};

/// `EtherType` of IPv4, as it lies in memory.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// `EtherType` of IPv6, as it lies in memory.
pub const IPV6: u16 = 0x86dd_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const VLAN_SERVICE: u16 = 0x88a8_u16.to_be();
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMP for IPv6.
pub const ICMP_V6: u8 = 58;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

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

/// What the IP header, and the headers between it and the transport's, say of the packet's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Version of IP.
    pub version: Version,
    /// Bytes from the start of the IP header to the end of the frame, padding included.
    pub available: u32,
    /// Bytes in front of the transport header: the IP header with options or extension headers.
    pub header: u32,
    /// Length of the packet, which the IP header claims.
    pub total: u32,
    /// No router may fragment it.
    pub whole: bool,
    /// It is the first of several fragments.
    pub first_fragment: bool,
    /// Their identification, as it lies in the packet.
    pub id: u32,
}

impl Shape {
    /// The claimed length fits the frame and holds all headers and `bytes` more.
    #[inline(always)]
    pub const fn holds(&self, bytes: u32) -> bool {
        self.header + bytes <= self.total && self.total <= self.available
    }
}
