//! Chance that can be repeated: everything that a soak chooses comes from its seed.

use crate::streamer::frame::mix;
use std::ops::Range;
use std::time::Duration;

/// A generator. Two with the same seed choose alike.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A generator of its own for the `number`th of something.
    pub(super) fn nth(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ mix(number)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = mix(self.0);
        self.0
    }

    /// 0 to `end - 1`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Heads, in so many of a hundred throws.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }

    /// Puts `cards` into a random order.
    pub(super) fn shuffle<T>(&mut self, cards: &mut [T]) {
        for last in (1..cards.len()).rev() {
            let other = self.below(last as u64 + 1);
            cards.swap(last, usize::try_from(other).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_alike_and_another_does_not() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            let mut cards: Vec<u8> = (0..20).collect();
            dice.shuffle(&mut cards);
            (cards, dice.next())
        };
        assert_eq!(throw(7), throw(7));
        assert_ne!(throw(7), throw(8));
        let (mut cards, _) = throw(9);
        cards.sort_unstable();
        assert!(cards.into_iter().eq(0..20));
    }
}
