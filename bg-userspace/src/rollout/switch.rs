//! Control words: from the one that holds to the next.

use bg_common::abi::motive;
#[cfg(test)]
use bg_common::control::Environment;
use bg_common::control::{Control, Phase, RING_SLOTS, Ring, SEAL_TICKS};

/// Why a deployment is not steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motive {
    /// It is.
    None,
    /// A flip: base is being left.
    Flip,
    /// A rollback: the environment that was tried is being left.
    Rollback,
    /// A change inside the live environment: nothing is being left.
    Inner,
    /// A share of the new connections goes to the other environment.
    Canary,
}

impl Motive {
    /// As the ledger holds it. A number of another version counts as a flip, the most careful of them.
    #[must_use]
    pub fn from_ledger(number: u32) -> Self {
        match number {
            motive::NONE => Self::None,
            motive::ROLLBACK => Self::Rollback,
            motive::INNER => Self::Inner,
            motive::CANARY => Self::Canary,
            _ => Self::Flip,
        }
    }

    /// For the ledger.
    #[must_use]
    pub fn to_ledger(self) -> u32 {
        match self {
            Self::None => motive::NONE,
            Self::Flip => motive::FLIP,
            Self::Rollback => motive::ROLLBACK,
            Self::Inner => motive::INNER,
            Self::Canary => motive::CANARY,
        }
    }
}

/// What the operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One environment is live, nothing is being left.
    Idle,
    /// A share of the new connections goes to the other environment, the rest where it went.
    Shifting,
    /// After a flip: the old environment finishes its connections.
    Draining,
    /// After a rollback: the environment that was tried finishes its connections.
    RollingBack,
}

/// The state of a deployment. The control word is the truth; the motive only tells apart a rollback, a
/// canary step and a change inside the live environment, which look alike in the word.
#[must_use]
pub fn state(control: Control, motive: Motive) -> State {
    match control.phase() {
        Phase::Off | Phase::Steady => State::Idle,
        _ if control.base().environment != control.current().environment => State::Draining,
        _ => match motive {
            Motive::Inner => State::Idle,
            Motive::Canary => State::Shifting,
            Motive::None | Motive::Flip | Motive::Rollback => State::RollingBack,
        },
    }
}

/// A ring slot that the word does not name. It may be written once no processor can hold an older word.
#[must_use]
pub fn spare(control: Control) -> u8 {
    let named = [control.base().slot, control.current().slot];
    // Of three slots a word names two at most, so this always finds one.
    (0..RING_SLOTS).find(|slot| !named.contains(slot)).unwrap_or(RING_SLOTS - 1)
}

/// New connections go to `current` from now on.
#[must_use]
pub fn switch_to(control: Control, current: Ring) -> Control {
    Control::new(Phase::Drain, control.base(), current, 0, control.epoch().wrapping_add(1))
}

/// Nothing new enters the environment that is being left, for at most two seconds from `ticks`.
#[must_use]
pub fn seal(control: Control, ticks: u32) -> Control {
    let expiry = ticks.wrapping_add(SEAL_TICKS);
    Control::new(Phase::Seal, control.base(), control.current(), expiry, control.epoch().wrapping_add(1))
}

/// Back from SEAL.
#[must_use]
pub fn unseal(control: Control) -> Control {
    switch_to(control, control.current())
}

/// base := current. With pins that disagree the phase stays DRAIN.
#[must_use]
pub fn conclude(control: Control, disagreeing: bool) -> Control {
    let phase = if disagreeing { Phase::Drain } else { Phase::Steady };
    Control::new(phase, control.current(), control.current(), 0, control.epoch().wrapping_add(1))
}

/// The environment that was tried is empty, but a change inside the live one goes on.
#[must_use]
pub fn settle(control: Control) -> Control {
    unseal(control)
}

/// A ring, in short.
#[cfg(test)]
pub(super) fn ring(slot: u8, environment: Environment) -> Ring {
    Ring { slot, environment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Switch(bool),
        Back,
        Seal,
        Unseal,
        Conclude(bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            any::<bool>().prop_map(Act::Switch),
            Just(Act::Back),
            Just(Act::Seal),
            Just(Act::Unseal),
            any::<bool>().prop_map(Act::Conclude),
        ]
    }

    proptest! {
        #[test]
        fn no_history_of_words_writes_a_ring_that_is_in_use(acts in proptest::collection::vec(act(), 1..60)) {
            let blue = ring(0, Environment::Blue);
            let mut word = Control::new(Phase::Steady, blue, blue, 0, 1);
            for act in acts {
                let before = word;
                let free = spare(word);
                prop_assert!(free != word.base().slot && free != word.current().slot && free < RING_SLOTS);
                word = match act {
                    Act::Switch(green) => switch_to(word, ring(free, Environment::from_bit(green.into()))),
                    Act::Back => switch_to(word, word.base()),
                    Act::Seal => seal(word, 77),
                    Act::Unseal => unseal(word),
                    Act::Conclude(disagreeing) => conclude(word, disagreeing),
                };
                prop_assert_eq!(word.epoch(), before.epoch() + 1);
                if let Act::Conclude(disagreeing) = act {
                    prop_assert_eq!((word.base(), word.current()), (before.current(), before.current()));
                    prop_assert_eq!(word.phase() == Phase::Steady, !disagreeing);
                } else {
                    // Only a conclusion moves base: whatever has no pin stays where it is.
                    prop_assert_eq!(word.base(), before.base());
                }
                prop_assert!(state(word, Motive::Inner) != State::RollingBack);
            }
        }
    }
}
