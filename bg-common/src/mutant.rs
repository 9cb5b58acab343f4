//! Mutants: the rule with one line left out or changed, each of which breaks a promise. The model has to
//! refute every one of them, and so has the program in the kernel; that shows that the checks can see.
//!
//! [`crate::tables::Tables::mutated`] is how the rule asks. It is `false` for good everywhere but in the
//! model and in a program that was built for this, so that the compiler leaves nothing of it.

use crate::catalogue::catalogue;

catalogue! {
    /// One line of difference.
    Mutant {
        NoGrace = 1, "no-grace", "The agent does not wait for a grace period after a store.";
        NoSeal = 2, "no-seal", "The agent concludes without SEAL.";
        HalfOnlyRemembered = 3, "half-only-remembered", "Clearing remembers the isns of half pins only.";
        NothingRemembered = 4, "nothing-remembered", "Clearing remembers no isn.";
        NewerHalfReplaces = 5, "newer-half-replaces", "A newer half pin replaces an older one.";
        SecondHalfToBase = 6, "second-half-to-base", "A SYN that finds a half pin of another isn goes to base.";
        WindowWithoutIsn = 7, "window-without-isn", "A half pin's window begins after the isn.";
        NoWindow = 8, "no-window", "A half pin takes every sequence number.";
        ForgedResetFrees = 9, "forged-reset-frees", "A closing pin is freed without silence.";
        MatchedHalfExpires = 10, "matched-half-expires", "A half pin expires although packets matched it.";
        ShortMemory = 11, "short-memory", "A rotation forgets all SYNs, the youngest too.";
        MemoryWithoutIsn = 12, "memory-without-isn", "The SYN memory knows tuples, not isns.";
        AcceptedOnly = 13, "accepted-only", "The old environment counts as empty while connections are half open.";
        MissToCurrent = 14, "miss-to-current", "A packet without a pin goes to current.";
        OverflowToCurrent = 15, "overflow-to-current", "A SYN that finds no room for its pin goes to current.";
        SynOverwrites = 16, "syn-overwrites", "A SYN overwrites the established pin of its flow.";
        PromotionForgetsIsn = 17, "promotion-forgets-isn", "A promoted pin does not know its isn any more.";
        PromotionByAny = 18, "promotion-by-any", "Another backend's reply promotes a half pin.";
        InsertionOverwrites = 19, "insertion-overwrites", "An insertion overwrites a concurrent one.";
        TwoWords = 20, "two-words", "A packet reads the control word twice.";
        PinHoldsRing = 21, "pin-holds-ring", "A pin holds the current ring instead of a backend.";
        PlainFilterWrite = 22, "plain-filter-write", "Bits of the SYN memory are set by a plain write.";
        RingWithoutGrace = 23, "ring-without-grace", "A ring slot is reused without a grace period.";
    }
}

/// A place in the program at which tests may stop a packet, to let something else happen meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// It has read its control word, and nothing else.
    Word = 1,
    /// It asks for the lock of its flow's pin.
    PinLock = 2,
    /// It looks up a word of the SYN memory.
    Recent = 3,
}

/// What a test and a stopped packet tell one another: elements of the program's map `GATE`.
pub mod gate {
    /// The packet that comes for the n-th time to the place stops there; 0: none does.
    pub const LEFT: u32 = 0;
    /// A packet stands there.
    pub const STANDS: u32 = 1;
    /// It may go on.
    pub const OPEN: u32 = 2;
    /// How often the control word was looked at.
    pub const LOOKS: u32 = 3;
    /// Elements.
    pub const ELEMENTS: u32 = 4;
}
