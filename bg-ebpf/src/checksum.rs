//! The Internet checksum: computed for what the program writes itself, updated for what it changes.

use crate::packet::Field as _;

/// The effect of changes on a checksum that covers the changed words (RFC 1624, equation 3). A wrong
/// checksum stays wrong by as much: it is not ours to repair.
///
/// Words are numbers of the machine whose bytes lie as on the wire; a one's complement sum does not care (RFC 1071, 2.B).
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// Two bytes at an even offset change.
    #[must_use]
    #[inline(always)]
    pub const fn two(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Four bytes at an even offset change.
    #[must_use]
    #[inline(always)]
    pub const fn four(self, old: u32, new: u32) -> Self {
        let sum = !old as u64 + new as u64;
        Self(self.0 + (sum & 0xffff) + (sum >> 16))
    }

    /// This change and that one.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The first of two bytes at an even offset becomes one less, `times` times.
    #[must_use]
    #[inline(always)]
    pub const fn decrement(self, times: u8) -> Self {
        // The word as a whole becomes less by this, whatever it is: `~old + new` does not depend on it.
        Self(self.0 + !u16::from_ne_bytes([1, 0]) as u64 * times as u64)
    }

    /// Updates a checksum.
    #[inline(always)]
    pub fn apply(self, checksum: &mut [u8; 2]) {
        checksum.put(!fold(u64::from(!checksum.fetch()) + self.0));
    }
}

/// A sum of words that the program has written itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds four bytes at an even offset.
    #[must_use]
    #[inline(always)]
    pub const fn four(self, word: u32) -> Self {
        Self(self.0 + (word as u64 & 0xffff) + (word as u64 >> 16))
    }

    /// Adds sixteen bytes at an even offset.
    #[must_use]
    #[inline(always)]
    pub const fn sixteen(self, [high, low]: [u64; 2]) -> Self {
        let sum = self.four(high as u32).four((high >> 32) as u32);
        sum.four(low as u32).four((low >> 32) as u32)
    }

    /// The checksum.
    #[must_use]
    #[inline(always)]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// Folds a sum of less than 2^32 to 16 bits: the first step leaves at most 0x1fffe, the second at most 0xffff.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::recomputed;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A segment with its checksum at 0 and 1, an address of either version at 2, a port behind it.
    fn rewritten(mut bytes: Vec<u8>, address: &[u8], port: [u8; 2], off_by: u16) -> (Vec<u8>, [u8; 2]) {
        bytes[..2].fill(0);
        let right = u16::from_be_bytes(recomputed(&bytes));
        let mut checksum = right.wrapping_add(off_by).to_be_bytes();
        let (old, rest) = bytes[2..].split_at(address.len());
        let (words, of_old) = (address.as_chunks::<4>().0, old.as_chunks::<4>().0);
        let change = of_old
            .iter()
            .zip(words)
            .fold(Change::default(), |change, (old, new)| change.four(old.fetch(), new.fetch()));
        change.two(u16::from_ne_bytes([rest[0], rest[1]]), u16::from_ne_bytes(port)).apply(&mut checksum);
        bytes.splice(2..address.len() + 4, [address, &port].concat());
        (bytes, checksum)
    }

    /// An address of either version.
    fn address() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |count| proptest::collection::vec(any::<u8>(), count);
        prop_oneof![bytes(4), bytes(16)]
    }

    proptest! {
        #[test]
        fn an_update_equals_a_recomputation_for_odd_lengths_too(
            bytes in proptest::collection::vec(any::<u8>(), 21..80), address in address(), port: [u8; 2]
        ) {
            // All zero words but for the checksum exist in no packet: the pseudo-header has a length.
            prop_assume!(bytes[20..].iter().any(|&b| b != 0));
            let (bytes, checksum) = rewritten(bytes, &address, port, 0);
            prop_assert_eq!(checksum, recomputed(&bytes));
        }

        #[test]
        fn a_checksum_that_is_wrong_stays_wrong(
            bytes in proptest::collection::vec(any::<u8>(), 21..80), address in address(), port: [u8; 2],
            off_by in 1..0xffff_u16
        ) {
            prop_assume!(bytes[20..].iter().any(|&b| b != 0));
            let (bytes, checksum) = rewritten(bytes, &address, port, off_by);
            prop_assert_ne!(checksum, recomputed(&bytes));
        }

        #[test]
        fn a_sum_equals_a_recomputation(words in proptest::collection::vec(any::<[u8; 4]>(), 1..20)) {
            let sum = words.iter().fold(Sum::default(), |sum, &word| sum.four(u32::from_ne_bytes(word)));
            prop_assert_eq!(sum.finish().to_ne_bytes(), recomputed(&words.concat()));
        }

        #[test]
        fn a_sum_of_sixteen_bytes_each_equals_a_recomputation(
            pieces in proptest::collection::vec(any::<[u8; 16]>(), 1..80)
        ) {
            let sum = pieces.iter().fold(Sum::default(), |sum, piece| sum.sixteen(piece.fetch()));
            prop_assert_eq!(sum.finish().to_ne_bytes(), recomputed(&pieces.concat()));
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
                    Change::default().two(old.to_be(), new.to_be()).apply(&mut checksum);
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
        let change =
            Change::default().four(u32::from_ne_bytes([203, 0, 113, 10]), u32::from_ne_bytes([10, 0, 1, 1]));
        change.apply(&mut ones);
        change.apply(&mut zero);
        assert_eq!(ones, zero);
    }
}
