//! The checksums of a frame, computed from all of its bytes and with none of the packet path's code: which of
//! them are right, and how to make them so.

/// Whether a checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// It is.
    Right,
    /// It is not.
    Wrong,
    /// There is none: IPv6 has none of its own, UDP over IPv4 need not have one, and of what is cut off or a
    /// fragment nobody can tell.
    None,
}

/// The checksums of a frame: of the IP header and of what it carries; and where that is an ICMP error, both once
/// more of the packet that it quotes.
pub type Sums = [Sum; 4];

/// Reads a frame's checksums.
#[must_use]
pub fn sums(frame: &[u8]) -> Sums {
    let mut found = [Sum::None; 4];
    let Some(start) = ip_at(frame) else { return found };
    let outer = &frame[start..];
    (found[0], found[1]) = of_packet(outer);
    if let Some((quote, end)) = quote_at(outer) {
        (found[2], found[3]) = of_packet(&outer[quote..end]);
    }
    found
}

/// Makes a frame's checksums right, those of a quote first. A datagram without one stays without.
pub fn mend(frame: &mut [u8]) {
    let Some(start) = ip_at(frame) else { return };
    let outer = &mut frame[start..];
    if let Some((quote, end)) = quote_at(outer) {
        mend_packet(&mut outer[quote..end]);
    }
    mend_packet(outer);
}

/// Where the IP packet begins, behind up to two tags.
pub(crate) fn ip_at(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while at < 20 && matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
        at += 4;
    }
    matches!(frame.get(at..at + 2)?, [0x08, 0] | [0x86, 0xdd]).then_some(at + 2)
}

/// The parts of an IP packet, as far as it says itself. Offsets count from its start.
struct Parts {
    v6: bool,
    /// Where the transport header begins.
    transport: usize,
    protocol: u8,
    /// Where the packet ends.
    total: usize,
    /// It is all of its datagram.
    whole: bool,
}

fn parts(ip: &[u8]) -> Option<Parts> {
    match ip.first()? >> 4 {
        4 if ip.len() >= 20 => {
            let transport = usize::from(ip[0] & 15) * 4;
            let whole = [ip[6] & 0x3f, ip[7]] == [0, 0];
            let total = u16::from_be_bytes([ip[2], ip[3]]).into();
            (transport >= 20 && transport <= ip.len()).then_some(Parts {
                v6: false,
                transport,
                protocol: ip[9],
                total,
                whole,
            })
        }
        6 if ip.len() >= 40 => {
            let total = 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let (mut protocol, mut transport, mut whole) = (ip[6], 40, true);
            while matches!(protocol, 0 | 43 | 44 | 60) {
                let header = ip.get(transport..transport + 8)?;
                transport += if protocol == 44 { 8 } else { 8 * (usize::from(header[1]) + 1) };
                whole &= protocol != 44 || u16::from_be_bytes([header[2], header[3]]) & 0xfff9 == 0;
                protocol = header[0];
            }
            Some(Parts { v6: true, transport, protocol, total, whole })
        }
        _ => None,
    }
}

/// From where to where an ICMP error quotes a packet. What follows the message in the frame is no part of it.
fn quote_at(ip: &[u8]) -> Option<(usize, usize)> {
    let Parts { v6, transport, protocol, whole, total } = parts(ip)?;
    let kind = *ip.get(transport)?;
    let error = match (v6, protocol) {
        (false, 1) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (true, 58) => kind < 128,
        _ => false,
    };
    (error && whole && (transport + 8..=ip.len()).contains(&total)).then_some((transport + 8, total))
}

fn of_packet(ip: &[u8]) -> (Sum, Sum) {
    let Some(parts) = parts(ip) else { return (Sum::None, Sum::None) };
    let header = if parts.v6 { Sum::None } else { right(&[&ip[..parts.transport]]) };
    let inner = match covered(ip, &parts) {
        // UDP without one.
        Some((at, end, _)) if parts.protocol == 17 && ip[at..end][6..8] == [0, 0] => Sum::None,
        Some((at, end, pseudo)) => right(&[&pseudo, &ip[at..end]]),
        None => Sum::None,
    };
    (header, inner)
}

/// From where to where the transport's checksum goes, and the pseudo-header in front of it.
fn covered(ip: &[u8], parts: &Parts) -> Option<(usize, usize, Vec<u8>)> {
    let at = parts.transport;
    let carried = ip.get(at..parts.total).filter(|_| parts.whole && parts.total <= ip.len())?;
    let length = match (parts.protocol, parts.v6) {
        (6, _) if carried.len() >= 20 => carried.len(),
        (17, _) if carried.len() >= 8 => {
            let claimed = usize::from(u16::from_be_bytes([carried[4], carried[5]]));
            (8..=carried.len()).contains(&claimed).then_some(claimed)?
        }
        (1, false) | (58, true) if carried.len() >= 8 => carried.len(),
        _ => return None,
    };
    let mut pseudo = Vec::new();
    if parts.protocol != 1 {
        pseudo.extend(if parts.v6 { &ip[8..40] } else { &ip[12..20] });
        pseudo.extend((length as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, parts.protocol]);
    }
    Some((at, at + length, pseudo))
}

fn mend_packet(ip: &mut [u8]) {
    let Some(parts) = parts(ip) else { return };
    if let Some((at, end, pseudo)) = covered(ip, &parts) {
        let place = at
            + match parts.protocol {
                6 => 16,
                17 => 6,
                _ => 2,
            };
        let without = parts.protocol == 17 && ip[place..place + 2] == [0, 0];
        ip[place..place + 2].fill(0);
        let sum = match !add(&[&pseudo, &ip[at..end]]) {
            _ if without => 0,
            0 if parts.protocol == 17 => u16::MAX,
            sum => sum,
        };
        ip[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }
    if !parts.v6 {
        ip[10..12].fill(0);
        let sum = !add(&[&ip[..parts.transport]]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fn right(pieces: &[&[u8]]) -> Sum {
    if add(pieces) == u16::MAX { Sum::Right } else { Sum::Wrong }
}

/// The one's complement sum of pieces of an even length, but for the last (RFC 1071).
pub(crate) fn add(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let sum: u64 = words.map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum();
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
