//! A reader of the classic capture file format, for Ethernet, IP and TCP: as much of it as the
//! laboratory's captures need.

use anyhow::{Context, Result, bail, ensure};
use std::net::{IpAddr, SocketAddr};

/// The TCP flag SYN.
pub const SYN: u8 = 0x02;
/// The TCP flag RST.
pub const RST: u8 = 0x04;
/// The TCP flag ACK.
pub const ACK: u8 = 0x10;

/// One TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When it was seen, `CLOCK_REALTIME`, nanoseconds since 1970.
    pub at_ns: u64,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The flag byte.
    pub flags: u8,
}

/// Every TCP segment of a capture file. A last record that is not complete is left out: the writer
/// may still be at it.
pub(super) fn segments(file: &[u8]) -> Result<Vec<Segment>> {
    let per_unit = unit(file)?;
    Ok(records(file.get(HEADER..).unwrap_or_default(), per_unit).0)
}

/// Bytes of a capture file's own header.
pub(super) const HEADER: usize = 24;

/// Nanoseconds in a unit of the time stamps' fraction, from the file's header.
pub(super) fn unit(file: &[u8]) -> Result<u64> {
    let magic = little(file, 0).context("the capture has no header")?;
    let per_unit = match magic {
        0xa1b2_c3d4 => 1_000,
        0xa1b2_3c4d => 1,
        _ => bail!("no capture file of this machine: magic {magic:#x}"),
    };
    let link = little(file, 20).context("the capture has no header")?;
    ensure!(link & 0xffff == 1, "the capture is not of Ethernet frames: {link}");
    Ok(per_unit)
}

/// The segments in complete records, and how many bytes those take.
pub(super) fn records(file: &[u8], per_unit: u64) -> (Vec<Segment>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    while let (Some(seconds), Some(fraction), Some(length)) =
        (little(file, at), little(file, at + 4), little(file, at + 8))
    {
        let start = at + 16;
        let Some(frame) = file.get(start..start + length as usize) else {
            break;
        };
        let at_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * per_unit;
        found.extend(segment(at_ns, frame));
        at = start + length as usize;
    }
    (found, at)
}

fn segment(at_ns: u64, frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (protocol, header, from, to) = match frame[12..14] {
        [0x08, 0x00] => (*packet.get(9)?, usize::from(packet.first()? & 0x0f) * 4, v4(12)?, v4(16)?),
        // Linux puts no extension header before TCP.
        [0x86, 0xdd] => (*packet.get(6)?, 40, v6(8)?, v6(24)?),
        _ => return None,
    };
    let tcp = packet.get(header..).filter(|_| protocol == 6)?;
    let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
    Some(Segment {
        at_ns,
        from: SocketAddr::new(from, port(0)?),
        to: SocketAddr::new(to, port(2)?),
        sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
        acknowledgement: u32::from_be_bytes(tcp.get(8..12)?.try_into().ok()?),
        flags: *tcp.get(13)?,
    })
}

fn little(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(magic: u32, fraction: u32) -> Vec<u8> {
        let mut frame = vec![0_u8; 14];
        frame[12] = 0x08;
        frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([198, 51, 100, 10, 203, 0, 113, 10]);
        frame.extend([0x30, 0x39, 0x00, 0x50, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, SYN]);
        frame.extend([0; 6]);
        let mut file = Vec::new();
        for word in [magic, 0, 0, 0, 65_535, 1, 7, fraction] {
            file.extend(word.to_le_bytes());
        }
        for _ in 0..2 {
            file.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        }
        file.extend(frame);
        file
    }

    #[test]
    fn a_syn_is_read_with_its_time_and_tuple() {
        let expected = Segment {
            at_ns: 7_000_000_900,
            from: "198.51.100.10:12345".parse().unwrap(),
            to: "203.0.113.10:80".parse().unwrap(),
            sequence: 0x0102_0304,
            acknowledgement: 0,
            flags: SYN,
        };
        assert_eq!(segments(&file(0xa1b2_3c4d, 900)).unwrap(), [expected]);
        let micro = segments(&file(0xa1b2_c3d4, 900)).unwrap();
        assert_eq!(micro[0].at_ns, 7_000_900_000);
    }

    #[test]
    fn a_cut_record_ends_the_reading() {
        let whole = file(0xa1b2_3c4d, 0);
        assert!(segments(&whole[..whole.len() - 1]).unwrap().is_empty());
        assert!(segments(&whole[..10]).is_err());
    }
}
