//! The control word: all that a switch changes, in one aligned 64-bit word.
//!
//! ```text
//! bit 63        32 31        8  7      6      5    4  3   2  1   0
//!    | epoch      | expiry    | cur. | base | current | base | phase |
//!    |            | of SEAL   | env  | env  | slot    | slot |       |
//! ```

/// One of the two environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Environment {
    /// The first of the two.
    Blue = 0,
    /// The second of the two.
    Green = 1,
}

impl Environment {
    /// The other one.
    #[must_use]
    #[inline(always)]
    pub const fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// Its name, as operators write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// From its number; only the lowest bit counts.
    #[must_use]
    #[inline(always)]
    pub const fn from_bit(bit: u8) -> Self {
        if bit & 1 == 0 { Self::Blue } else { Self::Green }
    }
}

/// How packets are routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The deployment has not been set up; its packets are the kernel's.
    Off = 0,
    /// base = current and there are no pins: every packet goes by base.
    Steady = 1,
    /// Packets look for a pin, new connections go to current and are pinned, the rest goes by base.
    Drain = 2,
    /// As `Drain`, but nothing new enters the environment that is being left.
    Seal = 3,
}

/// One of a service's rings, and the environment that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Ring slot, 0 to 2.
    pub slot: u8,
    /// Where it leads.
    pub environment: Environment,
}

/// A control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Control(pub u64);

/// Ring slots of a service.
pub const RING_SLOTS: u8 = 3;
/// Longest SEAL, in ticks of 2^26 ns (about 2 s).
pub const SEAL_TICKS: u32 = 30;
const EXPIRY_MASK: u32 = 0x00ff_ffff;

impl Control {
    /// The word for these parts. `expiry` is in ticks and counts in SEAL only; its low 24 bits are kept.
    #[must_use]
    pub const fn new(phase: Phase, base: Ring, current: Ring, expiry: u32, epoch: u32) -> Self {
        Self(
            phase as u64
                | (base.slot as u64 & 3) << 2
                | (current.slot as u64 & 3) << 4
                | (base.environment as u64) << 6
                | (current.environment as u64) << 7
                | ((expiry & EXPIRY_MASK) as u64) << 8
                | (epoch as u64) << 32,
        )
    }

    /// The phase.
    #[must_use]
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match self.0 & 3 {
            0 => Phase::Off,
            1 => Phase::Steady,
            2 => Phase::Drain,
            _ => Phase::Seal,
        }
    }

    /// The base ring.
    #[must_use]
    #[inline(always)]
    pub const fn base(self) -> Ring {
        Ring { slot: (self.0 >> 2) as u8 & 3, environment: Environment::from_bit((self.0 >> 6) as u8) }
    }

    /// The current ring.
    #[must_use]
    #[inline(always)]
    pub const fn current(self) -> Ring {
        Ring { slot: (self.0 >> 4) as u8 & 3, environment: Environment::from_bit((self.0 >> 7) as u8) }
    }

    /// Grows by one with every word stored; wraps.
    #[must_use]
    #[inline(always)]
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The environment that is being left while the phase is not steady: after a flip the base's, after
    /// a rollback the one that was tried. Never the one new connections go to.
    #[must_use]
    #[inline(always)]
    pub const fn leaving(self) -> Environment {
        self.current().environment.other()
    }

    /// Whether an environment is being left now, so that what is in it counts.
    #[must_use]
    #[inline(always)]
    pub const fn leaves(self, environment: Environment) -> bool {
        matches!(self.phase(), Phase::Drain | Phase::Seal) && environment as u8 == self.leaving() as u8
    }

    /// Whether SEAL holds at `ticks`. A seal whose time is over, or that claims to last longer than a
    /// seal may, is DRAIN: an agent that stopped in it harms nobody.
    #[must_use]
    #[inline(always)]
    pub const fn sealed(self, ticks: u32) -> bool {
        let left = ((self.0 >> 8) as u32 & EXPIRY_MASK).wrapping_sub(ticks) & EXPIRY_MASK;
        matches!(self.phase(), Phase::Seal) && left != 0 && left <= SEAL_TICKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> impl Strategy<Value = Ring> {
        (0..RING_SLOTS, any::<bool>())
            .prop_map(|(slot, g)| Ring { slot, environment: Environment::from_bit(g.into()) })
    }

    proptest! {
        #[test]
        fn parts_survive_packing(base in ring(), current in ring(), expiry: u32, epoch: u32, phase in 0..4u8) {
            let phase = [Phase::Off, Phase::Steady, Phase::Drain, Phase::Seal][usize::from(phase)];
            let word = Control::new(phase, base, current, expiry, epoch);
            prop_assert_eq!(word.phase(), phase);
            prop_assert_eq!(word.base(), base);
            prop_assert_eq!(word.current(), current);
            prop_assert_eq!(word.epoch(), epoch);
            prop_assert_ne!(word.leaving(), current.environment);
        }

        #[test]
        fn seal_ends_by_itself(now: u32, length in 1..=SEAL_TICKS) {
            let ring = Ring { slot: 0, environment: Environment::Blue };
            let word = Control::new(Phase::Seal, ring, ring, now.wrapping_add(length), 1);
            prop_assert!(word.sealed(now));
            prop_assert!(!word.sealed(now.wrapping_add(length)));
            prop_assert!(!word.sealed(now.wrapping_add(length + 1)));
            prop_assert!(!word.sealed(now.wrapping_add(0x00f0_0000)));
        }
    }

    #[test]
    fn a_seal_that_claims_to_last_for_ever_does_not_hold() {
        let ring = Ring { slot: 0, environment: Environment::Blue };
        assert!(!Control::new(Phase::Seal, ring, ring, 1000 + SEAL_TICKS + 1, 1).sealed(1000));
    }

    #[test]
    fn only_seal_seals() {
        let ring = Ring { slot: 0, environment: Environment::Blue };
        for phase in [Phase::Off, Phase::Steady, Phase::Drain] {
            assert!(!Control::new(phase, ring, ring, 1001, 1).sealed(1000));
        }
    }
}
