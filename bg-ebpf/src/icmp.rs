//! ICMP errors to a client, made out of the packet that caused them. They come from the VIP and quote the
//! packet as the client sent it; a kernel that saw the rewritten packet would quote the backend, and the
//! client would not know what it is about.

use network_types::ip::Ipv4Hdr;

use crate::checksum::Sum;
use crate::packet::{Field as _, Macs, Packet};
use crate::parse::{self, IPV4, IPV4_HEADER};

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Its packet ran out of hops (RFC 792, type 11 code 0).
    TimeExceeded,
    /// Its packet is larger than this and must not be fragmented (RFC 1191, type 3 code 4).
    FragmentationNeeded(u16),
}

/// Bytes of the transport header that are quoted: ports and sequence number (RFC 792).
const QUOTED: u16 = 8;
const ICMP_HEADER: usize = 8;
/// Bytes in front of the quote.
const FRONT: u16 = (IPV4_HEADER + ICMP_HEADER) as u16;
/// The longest quote in words of four bytes: an IPv4 header with all its options, and [`QUOTED`].
const QUOTE_WORDS: u16 = (60 + QUOTED) / 4;
const ICMP: u8 = 1;
/// Internetwork control (RFC 1812, 4.3.2.5).
const TOS: u8 = 0xc0;
const TTL: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

impl Error {
    /// Type, code, checksum, and the four bytes whose meaning depends on the type.
    #[inline(always)]
    const fn header(self) -> [u8; ICMP_HEADER] {
        match self {
            Self::TimeExceeded => [11, 0, 0, 0, 0, 0, 0, 0],
            Self::FragmentationNeeded(mtu) => {
                let mtu = mtu.to_be_bytes();
                [3, 4, 0, 0, 0, 0, mtu[0], mtu[1]]
            }
        }
    }
}

/// Turns a client's packet, not yet rewritten, into the error about it, ready to leave by the way it
/// came. `None`: the packet could not be changed and is of no more use.
#[inline(always)]
pub(crate) fn answer<P: Packet>(packet: &mut P, error: Error) -> Option<()> {
    let mut link = parse::link(packet.frame())?;
    let macs = *link.macs;
    let tags = link.tags;
    let length = link.payload.len();
    let ip = link.payload.take::<Ipv4Hdr>()?;
    let (client, vip) = (ip.src_addr, ip.dst_addr);
    let quote = u16::from(ip.vihl & 15) * 4 + QUOTED;

    let excess = i32::try_from(length).ok()? - i32::from(quote);
    if !packet.move_end(-excess) || !packet.move_start(-i32::from(FRONT)) {
        return None;
    }

    // The link header, 22 bytes at most, moves into the 28 new ones: nothing that is still needed is
    // overwritten.
    let mut frame = packet.frame();
    let [to, from] = macs.addresses();
    frame.take::<Macs>()?.put(Macs::words(from, to));
    for [ethertype, control] in tags.into_iter().flatten() {
        frame.take::<[u8; 2]>()?.put(ethertype);
        frame.take::<[u8; 2]>()?.put(control);
    }
    frame.take::<[u8; 2]>()?.put(IPV4);
    let ip = frame.take::<Ipv4Hdr>()?;
    let icmp = frame.take::<[u8; ICMP_HEADER]>()?;

    *ip = Ipv4Hdr {
        vihl: 0x45,
        tos: TOS,
        tot_len: (FRONT + quote).to_be_bytes(),
        id: [0; 2],
        frags: DONT_FRAGMENT,
        ttl: TTL,
        proto: ICMP,
        check: [0; 2],
        src_addr: vip,
        dst_addr: client,
    };
    let words = [
        [0x45, TOS, ip.tot_len[0], ip.tot_len[1]],
        [0, 0, DONT_FRAGMENT[0], DONT_FRAGMENT[1]],
        [TTL, ICMP, 0, 0],
        vip,
        client,
    ];
    ip.check.put(words.iter().fold(Sum::default(), |sum, word| sum.four(u32::from_ne_bytes(*word))).finish());

    let mut header = error.header();
    let mut sum = Sum::default()
        .four(u32::from_ne_bytes([header[0], header[1], header[2], header[3]]))
        .four(u32::from_ne_bytes([header[4], header[5], header[6], header[7]]));
    for _ in 0..QUOTE_WORDS {
        // The frame ends where the quote does.
        let Some(word) = frame.take::<[u8; 4]>() else { break };
        sum = sum.four(word.fetch());
    }
    let checksum = sum.finish().to_ne_bytes();
    header[2] = checksum[0];
    header[3] = checksum[1];
    *icmp = header;
    Some(())
}
