//! What holds of a packet to a backend that answers its client itself: in mode dsr it changes in its hardware addresses
//! alone, in mode ipip it travels within another one and has lost one hop. Everything is read from the bytes, with
//! none of the packet path's code.

use bg_common::abi::{Address, mode};
use bg_common::reason::Reason;
use bg_ebpf::kernel::{Answer, Hop};
use bg_ebpf::packet::Macs;

use crate::sums;
use crate::world::{self, TUNNELS};

const ICMP: u8 = 1;
/// Protocol numbers of what an outer header carries: IPv4, and IPv6.
const INNER: [u8; 2] = [4, 41];
/// TTL and hop limit of outer headers.
const HOPS: u8 = 64;
/// Bits of an outer source of IPv6 that are the flow label too.
const LABEL: u32 = (1 << 20) - 1;

/// A packet at a VIP.
pub(crate) struct Direct<'f> {
    mode: u8,
    /// The frame up to and with what says which protocol follows.
    link: &'f [u8],
    ip: Ip<'f>,
}

/// An IP packet, and what follows it in the frame.
#[derive(Clone, Copy)]
struct Ip<'f> {
    v6: bool,
    bytes: &'f [u8],
}

/// A frame to a VIP of mode dsr or ipip; `None` is any other.
pub(crate) fn to_vip(frame: &[u8]) -> Option<Direct<'_>> {
    let (link, ip) = split(frame)?;
    let mode = world::direct(&ip.destination())?;
    Some(Direct { mode, link, ip })
}

/// Whether a frame comes from such a VIP.
pub(crate) fn from_vip(frame: &[u8]) -> bool {
    split(frame).is_some_and(|(_, ip)| world::direct(&ip.source()).is_some())
}

/// Holds an end that only such packets have against what came.
pub(crate) fn ends(reason: Reason, came: &[u8]) -> Result<(), &'static str> {
    let mode = to_vip(came).map(|direct| direct.mode);
    match reason {
        Reason::NoNeighbour | Reason::NotOnLink if mode != Some(mode::DSR) => {
            Err("an end that only mode dsr has")
        }
        Reason::DirectFragment if mode.is_none() => Err("a fragment that may pass"),
        _ => Ok(()),
    }
}

impl Direct<'_> {
    /// Holds such a frame, which is sent by `out` or left to the kernel, against what it is now.
    pub(crate) fn sent(&self, reason: Reason, out: Option<u32>, is: &[u8]) -> Result<(), &'static str> {
        match (self.mode, reason, out) {
            (mode::DSR, Reason::Forwarded | Reason::ErrorForwarded, Some(out)) => self.as_it_came(out, is),
            (mode::IPIP, Reason::Encapsulated | Reason::ErrorForwarded, Some(_))
            | (mode::IPIP, Reason::ForwardedByKernel, None) => self.carried(out, is),
            _ => Err("an end that this mode does not have"),
        }
    }

    fn as_it_came(&self, out: u32, is: &[u8]) -> Result<(), &'static str> {
        let whole = [self.link, self.ip.bytes].concat();
        if whole.get(12..) != is.get(12..) {
            return Err("changed in more than its hardware addresses");
        }
        let reached =
            |backend: Address| hop(&backend).is_some_and(|hop| !hop.gateway && leaves_by(&hop, out, is));
        if !world::backends().any(reached) {
            return Err("to no backend on this link");
        }
        fits(out, self.ip.total())
    }

    fn carried(&self, out: Option<u32>, is: &[u8]) -> Result<(), &'static str> {
        let (link, outer) = split(is).ok_or("no longer IP")?;
        let at = self.link.len() - 2;
        if link.len() != self.link.len() || link[12..at] != self.link[12..at] {
            return Err("with other tags than it came");
        }
        let size = if outer.v6 { 40 } else { 20 };
        if outer.bytes.len() != size + self.ip.bytes.len() {
            return Err("not longer by an outer header");
        }
        let (header, inner) = outer.bytes.split_at(size);
        let backend = outer.destination();
        if !world::backends().any(|other| other == backend) || self.ip.v6 && !outer.v6 {
            return Err("within a packet to no backend, or to one of another version");
        }
        match (out, hop(&backend)) {
            (None, _) if is[..12] == self.link[..12] => {}
            (Some(out), Some(hop)) if leaves_by(&hop, out, is) => fits(out, outer.total())?,
            _ => return Err("by another way than its backend's"),
        }
        if outer.v6 {
            self.header_v6(header)?;
        } else {
            self.header_v4(header, out.is_some())?;
        }
        self.one_hop_less(inner)
    }

    /// An outer header of IPv4 (RFC 2003).
    fn header_v4(&self, header: &[u8], sent: bool) -> Result<(), &'static str> {
        let ip = self.ip.bytes;
        let [high, low] = (self.ip.total() as u16 + 20).to_be_bytes();
        if header[..4] != [0x45, self.ip.tos(), high, low] || header[8..10] != [HOPS, INNER[0]] {
            return Err("an outer header with wrong fields");
        }
        // What the kernel may cut up has a number. It may, too, if the packet within is an ICMP error, about which
        // nobody can be told.
        let whole = header[4..8] == [0, 0, 0x40, 0];
        let divisible = header[4..8] == [ip[4], ip[5], 0, 0];
        let must_be_whole = sent || ip[6] & 0x40 != 0 && ip[9] != ICMP;
        let may_be_whole = must_be_whole || ip[6] & 0x40 != 0;
        if !(whole && may_be_whole || divisible && !must_be_whole) {
            return Err("an outer header that may be cut up, or may not, against the rule");
        }
        if sums::add(&[header]) != u16::MAX {
            return Err("an outer header with a wrong checksum");
        }
        if header[12..14] == TUNNELS[0].0.0[12..14] { Ok(()) } else { Err("from no tunnel source") }
    }

    /// An outer header of IPv6 (RFC 2473).
    fn header_v6(&self, header: &[u8]) -> Result<(), &'static str> {
        let source = [header[20], header[21], header[22], header[23]];
        let first = 6 << 28 | u32::from(self.ip.tos()) << 20 | u32::from_be_bytes(source) & LABEL;
        let [high, low] = (self.ip.total() as u16).to_be_bytes();
        let expected =
            [&first.to_be_bytes()[..], &[high, low, INNER[usize::from(self.ip.v6)], HOPS]].concat();
        if header[..8] != expected {
            return Err("an outer header with wrong fields");
        }
        if header[8..20] == TUNNELS[1].0.0[..12] { Ok(()) } else { Err("from no tunnel source") }
    }

    /// It was forwarded before it was put into the other one.
    fn one_hop_less(&self, inner: &[u8]) -> Result<(), &'static str> {
        let came = self.ip.bytes;
        let at = if self.ip.v6 { 7 } else { 8 };
        if came[at] < 2 || inner[at] != came[at] - 1 {
            return Err("within another one with wrong hops");
        }
        let rest = if self.ip.v6 { 8 } else { 12 };
        if inner[..at] != came[..at] || inner[rest..] != came[rest..] {
            return Err("changed within another one");
        }
        if self.ip.v6 {
            return Ok(());
        }
        // The sum over the header, right or wrong, is what it was.
        let header = usize::from(came[0] & 15) * 4;
        let sums = [came, inner].map(|ip| sums::add(&[&ip[..header]]) % u16::MAX);
        if inner[9] == came[9] && sums[0] == sums[1] { Ok(()) } else { Err("changed within another one") }
    }
}

impl Ip<'_> {
    fn address(&self, v4: usize, v6: usize) -> Address {
        if self.v6 {
            let mut address = Address::default();
            address.0.copy_from_slice(&self.bytes[v6..v6 + 16]);
            return address;
        }
        Address::v4([self.bytes[v4], self.bytes[v4 + 1], self.bytes[v4 + 2], self.bytes[v4 + 3]])
    }

    fn source(&self) -> Address {
        self.address(12, 8)
    }

    fn destination(&self) -> Address {
        self.address(16, 24)
    }

    /// The length that the header claims.
    fn total(&self) -> usize {
        let (at, header) = if self.v6 { (4, 40) } else { (2, 0) };
        header + usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn tos(&self) -> u8 {
        if self.v6 { self.bytes[0] << 4 | self.bytes[1] >> 4 } else { self.bytes[1] }
    }
}

/// The link header with up to two tags, and the packet behind it.
fn split(frame: &[u8]) -> Option<(&[u8], Ip<'_>)> {
    let start = sums::ip_at(frame)?;
    let (link, bytes) = frame.split_at(start);
    let v6 = link.ends_with(&[0x86, 0xdd]);
    (bytes.len() >= if v6 { 40 } else { 20 }).then_some((link, Ip { v6, bytes }))
}

fn hop(backend: &Address) -> Option<Hop> {
    match world::way(backend) {
        Some(Answer::Hop(hop)) => Some(hop),
        _ => None,
    }
}

/// Whether a frame leaves as the next hop says.
fn leaves_by(hop: &Hop, out: u32, frame: &[u8]) -> bool {
    let mac = |at: usize| std::array::from_fn(|i| frame[at + i]);
    hop.interface == out && hop.macs == Macs::words(mac(0), mac(6))
}

fn fits(out: u32, total: usize) -> Result<(), &'static str> {
    let device = world::DEVICES.iter().position(|index| *index == out);
    let mtu = device.map_or(0, |device| world::MTUS[device]);
    if total <= mtu as usize { Ok(()) } else { Err("larger than its way takes") }
}
