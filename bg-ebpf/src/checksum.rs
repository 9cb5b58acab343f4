//! The Internet checksum: computed for what the program writes itself, updated for what it changes.

/// The effect of changes on a checksum that covers the changed words (RFC 1624, equation 3). A wrong
/// checksum stays wrong by as much: it is not ours to repair.
///
/// Words are taken in the order of the machine; a one's complement sum does not care (RFC 1071, 2.B).
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// Two bytes at an even offset change.
    #[must_use]
    #[inline(always)]
    pub const fn two(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_ne_bytes(old) as u64 + u16::from_ne_bytes(new) as u64)
    }

    /// Four bytes at an even offset change.
    #[must_use]
    #[inline(always)]
    pub const fn four(self, old: [u8; 4], new: [u8; 4]) -> Self {
        Self(self.0 + !u32::from_ne_bytes(old) as u64 + u32::from_ne_bytes(new) as u64)
    }

    /// Updates a checksum.
    #[inline(always)]
    pub const fn apply(self, checksum: &mut [u8; 2]) {
        let sum = !u16::from_ne_bytes(*checksum) as u64 + self.0;
        *checksum = (!fold(sum)).to_ne_bytes();
    }
}

/// A sum of bytes that the program has written itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds four bytes at an even offset.
    #[must_use]
    #[inline(always)]
    pub const fn four(self, bytes: [u8; 4]) -> Self {
        Self(self.0 + u32::from_ne_bytes(bytes) as u64)
    }

    /// The checksum.
    #[must_use]
    #[inline(always)]
    pub const fn finish(self) -> [u8; 2] {
        (!fold(self.0)).to_ne_bytes()
    }
}

/// Folds a sum of 16- and 32-bit words, fewer than 2^16 of them, to 16 bits.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    // 48 bits -> 33 -> 18 -> 17 -> 16: each step adds the carries back in.
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071, word by word over network-order bytes, odd lengths padded with a zero byte.
    fn recomputed(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    /// A segment with its checksum at 0 and 1, an address at 2, a port at 6.
    fn rewritten(mut bytes: Vec<u8>, address: [u8; 4], port: [u8; 2], off_by: u16) -> (Vec<u8>, [u8; 2]) {
        bytes[..2].fill(0);
        let right = u16::from_be_bytes(recomputed(&bytes));
        let mut checksum = right.wrapping_add(off_by).to_be_bytes();
        let old_address = [bytes[2], bytes[3], bytes[4], bytes[5]];
        Change::default()
            .four(old_address, address)
            .two([bytes[6], bytes[7]], port)
            .apply(&mut checksum);
        bytes[2..6].copy_from_slice(&address);
        bytes[6..8].copy_from_slice(&port);
        (bytes, checksum)
    }

    proptest! {
        #[test]
        fn an_update_equals_a_recomputation_for_odd_lengths_too(
            bytes in proptest::collection::vec(any::<u8>(), 9..80), address: [u8; 4], port: [u8; 2]
        ) {
            // All zero words but for the checksum exist in no packet: the pseudo-header has a length.
            prop_assume!(bytes[8..].iter().any(|&b| b != 0));
            let (bytes, checksum) = rewritten(bytes, address, port, 0);
            prop_assert_eq!(checksum, recomputed(&bytes));
        }

        #[test]
        fn a_checksum_that_is_wrong_stays_wrong(
            bytes in proptest::collection::vec(any::<u8>(), 9..80), address: [u8; 4], port: [u8; 2],
            off_by in 1..0xffff_u16
        ) {
            prop_assume!(bytes[8..].iter().any(|&b| b != 0));
            let (bytes, checksum) = rewritten(bytes, address, port, off_by);
            prop_assert_ne!(checksum, recomputed(&bytes));
        }

        #[test]
        fn a_sum_equals_a_recomputation(words in proptest::collection::vec(any::<[u8; 4]>(), 1..20)) {
            let sum = words.iter().fold(Sum::default(), |sum, &word| sum.four(word));
            prop_assert_eq!(sum.finish(), recomputed(&words.concat()));
        }
    }

    #[test]
    fn every_checksum_survives_every_kind_of_change() {
        // All 65,536 old checksums, with changes that carry, wrap, cancel out, or do nothing.
        let values = [0_u16, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
        for rest in 1..=u16::MAX {
            for old in values {
                for new in values {
                    let bytes = |word: u16| [word.to_be_bytes(), rest.to_be_bytes()].concat();
                    let mut checksum = recomputed(&bytes(old));
                    Change::default().two(old.to_be_bytes(), new.to_be_bytes()).apply(&mut checksum);
                    assert_eq!(checksum, recomputed(&bytes(new)), "{rest:#x}: {old:#x} -> {new:#x}");
                }
            }
        }
    }

    #[test]
    fn a_checksum_sent_as_all_ones_counts_as_zero() {
        // Some stacks send 0xffff where 0x0000 is meant; receivers take either.
        let mut ones = [0xff, 0xff];
        let mut zero = [0, 0];
        let change = Change::default().four([203, 0, 113, 10], [10, 0, 1, 1]);
        change.apply(&mut ones);
        change.apply(&mut zero);
        assert_eq!(ones, zero);
    }
}
