//! IPv6 (RFC 8200).

use bg_common::abi::Address;
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use network_types::ip::Ipv6Hdr;

use super::Ip;
use crate::checksum::Change;
use crate::fragment::Piece;
use crate::kernel::Version;
use crate::packet::{Field as _, Frame, SKIP_FAR};
use crate::parse::Shape;
use crate::verdict::Outcome;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Extension headers that are walked. Of those that are known here, RFC 8200 (4.1) has five before the transport.
const WALKED: usize = 8;
/// Length of a header without extension headers, bytes.
const HEADER: u32 = size_of::<Ipv6Hdr>() as u32;

impl Ip for Ipv6Hdr {
    const VERSION: Version = Version::V6;

    #[inline(always)]
    fn read(&self, protocol: u8, payload: &mut Frame<'_>, available: usize) -> Result<Shape, Outcome> {
        let first = self.next_hdr;
        let chain = if first == protocol { Chain::default() } else { walk(first, protocol, payload)? };
        if self.vcf[0] >> 4 != 6 {
            return Err(Reason::BadHeader.into());
        }
        let length = payload.skip_far(chain.length);
        Ok(Shape {
            version: Self::VERSION,
            available: available as u32,
            header: HEADER + length as u32,
            total: HEADER + u32::from(u16::from_be(self.payload_len.fetch())),
            // Nobody but its sender fragments it.
            whole: true,
            first_fragment: chain.first_fragment,
            id: chain.id,
        })
    }

    #[inline(always)]
    fn piece(&self, payload: &Frame<'_>) -> Option<Piece> {
        let mut next = self.next_hdr;
        let mut length = 0;
        for _ in 0..WALKED {
            let header = payload.peek_at::<[u8; 8]>(length)?;
            if next == FRAGMENT {
                let offset = u16::from_be_bytes([header[2], header[3]]);
                return Some(Piece {
                    id: u32::from_ne_bytes([header[4], header[5], header[6], header[7]]),
                    protocol: 0,
                    start: u32::from(offset & !7),
                    more: offset & 1 != 0,
                    header: HEADER + length as u32 + 8,
                    total: HEADER + u32::from(u16::from_be(self.payload_len.fetch())),
                });
            }
            if next != HOP_BY_HOP && next != DESTINATION && next != ROUTING {
                return None;
            }
            next = header[0];
            length += 8 + usize::from(header[1]) * 8;
        }
        None
    }

    #[inline(always)]
    fn source(&self) -> Address {
        Address::from_halves(self.src_addr.fetch())
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        Address::from_halves(self.dst_addr.fetch())
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.vcf[0] << 4 | self.vcf[1] >> 4
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    #[inline(always)]
    fn set_destination(&mut self, address: &Address, hops: u8) -> Change {
        let change = replace(&mut self.dst_addr, address);
        self.hop_limit = self.hop_limit.wrapping_sub(hops);
        change
    }

    #[inline(always)]
    fn set_source(&mut self, address: &Address, hops: u8) -> Change {
        let change = replace(&mut self.src_addr, address);
        self.hop_limit = self.hop_limit.wrapping_sub(hops);
        change
    }

    /// No service and no backend is in `::/64`, where RFC 4291 (2.5) has the unspecified address, loopback,
    /// and what stands for IPv4: the tables have IPv4 addresses there.
    #[inline(always)]
    fn may_be_listed(address: &Address) -> bool {
        address.halves()[0] != 0
    }

    /// `::/64`, as above; multicast; link-local, which must not leave its link (RFC 4291, 2.5.6), while
    /// backends are on another one.
    #[inline(always)]
    fn is_martian(source: &Address) -> bool {
        let [first, second, ..] = source.0;
        !Self::may_be_listed(source) || first == 0xff || first == 0xfe && second & 0xc0 == 0x80
    }

    #[inline(always)]
    fn flow(key: &[u64; 4], client: &Address, port: [u8; 2], service: u16) -> Flow {
        Flow::v6(key, client, port, service)
    }

    /// As for IPv4, over all words.
    #[inline(always)]
    fn place(destination: &Address) -> u32 {
        let [high, low] = destination.halves().map(u64::from_be);
        let both = (high ^ low) as u32 ^ ((high ^ low) >> 32) as u32;
        both ^ (both >> 10) ^ (both >> 20)
    }
}

/// What is between the header and the transport's.
#[derive(Clone, Copy, Default)]
struct Chain {
    /// Bytes.
    length: usize,
    /// The first of several fragments.
    first_fragment: bool,
    /// Identification of the fragments.
    id: u32,
}

/// Goes from one extension header to the next until it comes to the protocol. What it does not know, and what asks
/// more of a router than to send it on, is the kernel's.
#[inline(always)]
fn walk(first: u8, protocol: u8, payload: &Frame<'_>) -> Result<Chain, Outcome> {
    let mut next = first;
    let mut chain = Chain::default();
    let mut fragmented = false;
    for place in 0..WALKED {
        if next == protocol {
            break;
        }
        let header = payload.peek_at::<[u8; 8]>(chain.length).ok_or(Reason::OtherProtocol)?;
        let words = match next {
            // Options: a router need not look at the former (RFC 8200, 4.3), which comes first or not at all.
            HOP_BY_HOP if place == 0 => header[1],
            DESTINATION => header[1],
            // It has been to all the places it names.
            ROUTING if header[3] == 0 => header[1],
            // An atomic one (RFC 6946) is no fragment at all.
            FRAGMENT if !fragmented => {
                let offset = u16::from_be_bytes([header[2], header[3]]);
                if offset >> 3 != 0 {
                    let later = header[0] == protocol;
                    return Err(if later {
                        Reason::LaterFragment.into()
                    } else {
                        Outcome::other_protocol(header[0])
                    });
                }
                fragmented = true;
                chain.first_fragment = offset & 1 != 0;
                chain.id = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
                // The later ones would not say what they belong to.
                if chain.first_fragment && header[0] != protocol {
                    return Err(Outcome::other_protocol(header[0]));
                }
                0
            }
            _ => return Err(Outcome::other_protocol(next)),
        };
        next = header[0];
        chain.length += 8 + usize::from(words) * 8;
    }
    if next == protocol && chain.length <= SKIP_FAR { Ok(chain) } else { Err(Reason::OtherProtocol.into()) }
}

/// Puts an address in the place of another.
#[inline(always)]
fn replace(place: &mut [u8; 16], address: &Address) -> Change {
    let (old, new) = (Address::from_halves(place.fetch()).words(), address.words());
    place.put(address.halves());
    let change = Change::default().four(old[0], new[0]).four(old[1], new[1]);
    change.four(old[2], new[2]).four(old[3], new[3])
}
