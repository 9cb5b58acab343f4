//! IPv4 (RFC 791).

use bg_common::abi::Address;
use bg_common::flow::Flow;
use bg_common::reason::Reason;
use network_types::ip::Ipv4Hdr;

use super::Ip;
use crate::checksum::Change;
use crate::fragment::Piece;
use crate::kernel::Version;
use crate::packet::{Field, Frame};
use crate::parse::Shape;
use crate::verdict::Outcome;

/// `DF`, and the offset with `MF` above it.
const DONT_FRAGMENT: u16 = 1 << 14;
const MORE_FRAGMENTS: u16 = 1 << 13;
const OFFSET: u16 = MORE_FRAGMENTS - 1;

impl Ip for Ipv4Hdr {
    const VERSION: Version = Version::V4;

    #[inline(always)]
    fn read(&self, protocol: u8, payload: &mut Frame<'_>, available: usize) -> Result<Shape, Outcome> {
        if self.proto != protocol {
            return Err(Outcome::other_protocol(self.proto));
        }
        // Version 4 and a header length of 20 to 60 bytes.
        if self.vihl < 0x45 || self.vihl > 0x4f {
            return Err(Reason::BadHeader.into());
        }
        let header = u32::from(self.vihl & 15) << 2;
        let fragment = u16::from_be(self.frags.fetch());
        if fragment & OFFSET != 0 {
            return Err(Reason::LaterFragment.into());
        }
        payload.skip((header as usize).wrapping_sub(size_of::<Self>()));
        Ok(Shape {
            version: Self::VERSION,
            available: available as u32,
            header,
            total: u16::from_be(self.tot_len.fetch()).into(),
            whole: fragment & DONT_FRAGMENT != 0,
            first_fragment: fragment & MORE_FRAGMENTS != 0,
            id: u16::from_ne_bytes(self.id).into(),
        })
    }

    #[inline(always)]
    fn piece(&self, _: &Frame<'_>) -> Option<Piece> {
        let fragment = u16::from_be(self.frags.fetch());
        if fragment & (OFFSET | MORE_FRAGMENTS) == 0 || self.vihl < 0x45 || self.vihl > 0x4f {
            return None;
        }
        Some(Piece {
            id: u16::from_ne_bytes(self.id).into(),
            protocol: self.proto,
            start: u32::from(fragment & OFFSET) << 3,
            more: fragment & MORE_FRAGMENTS != 0,
            header: u32::from(self.vihl & 15) << 2,
            total: u16::from_be(self.tot_len.fetch()).into(),
        })
    }

    #[inline(always)]
    fn source(&self) -> Address {
        mapped(self.src_addr.fetch())
    }

    #[inline(always)]
    fn destination(&self) -> Address {
        mapped(self.dst_addr.fetch())
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        finish(self, Change::default(), 1);
    }

    #[inline(always)]
    fn set_destination(&mut self, address: &Address, hops: u8) -> Change {
        let address = word(address);
        let change = Change::default().four(self.dst_addr.fetch(), address);
        self.dst_addr.put(address);
        finish(self, change, hops)
    }

    #[inline(always)]
    fn set_source(&mut self, address: &Address, hops: u8) -> Change {
        let address = word(address);
        let change = Change::default().four(self.src_addr.fetch(), address);
        self.src_addr.put(address);
        finish(self, change, hops)
    }

    #[inline(always)]
    fn may_be_listed(_: &Address) -> bool {
        true
    }

    /// "This network", loopback, multicast and above (RFC 1812, 5.3.7).
    #[inline(always)]
    fn is_martian(source: &Address) -> bool {
        let first = source.tail()[0];
        first == 0 || first == 127 || first >= 224
    }

    #[inline(always)]
    fn flow(key: &[u64; 4], client: &Address, port: [u8; 2], service: u16) -> Flow {
        Flow::v4(key, client.tail(), port, service)
    }

    /// Neighbouring addresses differ in the last bits, so that backends of one subnet never share an entry.
    #[inline(always)]
    fn place(destination: &Address) -> u32 {
        let address = u32::from_be_bytes(destination.tail());
        address ^ (address >> 10) ^ (address >> 20)
    }
}

/// Takes the hops, and keeps the header's own checksum up to date.
#[inline(always)]
fn finish(ip: &mut Ipv4Hdr, change: Change, hops: u8) -> Change {
    change.decrement(hops).apply(&mut ip.check);
    ip.ttl = ip.ttl.wrapping_sub(hops);
    change
}

/// The IPv4 address in a table's entry, as it lies in memory.
#[inline(always)]
fn word(address: &Address) -> u32 {
    address.0.last_chunk::<4>().map_or(0, Field::fetch)
}

#[inline(always)]
const fn mapped(word: u32) -> Address {
    Address::v4(word.to_ne_bytes())
}
