//! A case as bytes: any bytes are one, so that a fuzzer may do to them what it likes, and a case that is found
//! can be kept in a file and run again on either side.
//!
//! ```text
//! bits of the first byte   7    6     5 4 3    2 1 0
//!                        | 0 | mend | device | 0..=4 |  a packet: length (two bytes, little-endian), bytes
//!                        |   what             | 5     |  an act; more bytes as it needs
//!                        |                    | 6     |  the last packet again: place (two bytes), other bits
//!                        |                    | 7     |  time goes by: ticks of the clock (one byte)
//! ```

use crate::act::Act;

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame arrives.
    Packet {
        /// Number of the device, 0 to 2.
        device: u8,
        /// Its checksums are made right first.
        mend: bool,
        /// All of its bytes.
        bytes: Vec<u8>,
    },
    /// The last frame arrives again, with these bits of the byte at this place turned over.
    Again {
        /// Place; beyond the end, nothing is turned over.
        at: u16,
        /// The bits.
        bits: u8,
    },
    /// The agent does something.
    Act(Act),
    /// So many ticks of the rule's clock go by.
    Wait(u8),
}

/// The longest frame, bytes.
pub const LONGEST: usize = 2048;

/// Steps that are taken of one case.
const STEPS: usize = 64;

const ACT: u8 = 5;
const AGAIN: u8 = 6;
const WAIT: u8 = 7;

/// Reads a case.
pub fn decode(mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some((&first, rest)) = bytes.split_first()
        && steps.len() < STEPS
    {
        bytes = rest;
        steps.push(match first & 7 {
            ACT => Step::Act(Act::read(first >> 3, &mut bytes)),
            AGAIN => Step::Again { at: u16::from_le_bytes(take(&mut bytes)), bits: take::<1>(&mut bytes)[0] },
            WAIT => Step::Wait(take::<1>(&mut bytes)[0]),
            _ => {
                let length = usize::from(u16::from_le_bytes(take(&mut bytes))) % (LONGEST + 1);
                let (packet, rest) = bytes.split_at(length.min(bytes.len()));
                bytes = rest;
                Step::Packet { device: (first >> 3 & 7) % 3, mend: first & 0x40 != 0, bytes: packet.to_vec() }
            }
        });
    }
    steps
}

/// Writes a case.
pub fn encode(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps {
        match step {
            Step::Packet { device, mend, bytes: packet } => {
                bytes.push(device << 3 | u8::from(*mend) << 6);
                bytes.extend((packet.len() as u16).to_le_bytes());
                bytes.extend(packet);
            }
            Step::Again { at, bits } => {
                bytes.push(AGAIN);
                bytes.extend(at.to_le_bytes());
                bytes.push(*bits);
            }
            Step::Act(act) => {
                let (number, more) = act.write();
                bytes.push(number << 3 | ACT);
                bytes.extend(more);
            }
            Step::Wait(ticks) => bytes.extend([WAIT, *ticks]),
        }
    }
    bytes
}

/// The next bytes; zeros where there are none.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    let mut taken = [0; N];
    taken[..head.len()].copy_from_slice(head);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_survives_its_bytes() {
        let steps = [
            Step::Packet { device: 2, mend: true, bytes: vec![1, 2, 3] },
            Step::Again { at: 300, bits: 0x81 },
            Step::Act(Act::Switch { deployment: 1, phase: 2, base: 0, current: 1 }),
            Step::Act(Act::Word { deployment: 0, word: u64::MAX }),
            Step::Act(Act::Dead(17)),
            Step::Act(Act::NoPins),
            Step::Act(Act::Routes),
            Step::Act(Act::Rotate(1)),
            Step::Wait(9),
            Step::Packet { device: 0, mend: false, bytes: Vec::new() },
        ];
        assert_eq!(decode(&encode(&steps)), steps);
    }

    #[test]
    fn any_bytes_are_a_case() {
        for first in 0..=u8::MAX {
            for length in 0..12 {
                decode(&vec![first; length]);
            }
        }
        assert_eq!(decode(&[0x09]), [Step::Packet { device: 1, mend: false, bytes: Vec::new() }]);
    }
}
