//! What a pin holds of one connection, in one word.

use crate::abi::BackendId;

/// How far behind the first sequence number a half pin's packets may be: 2^17.
pub const WINDOW: u32 = 1 << 17;

/// How far ahead of the highest sequence number that was seen the next one of a connection may be whose replies do
/// not come this way: more than what hosts let each other send unacknowledged (Linux: 32 MiB), all of which may have
/// been lost before it came here.
pub const AHEAD: u32 = 1 << 25;
/// How far behind it may be: the largest window that TCP has (RFC 7323, 2.3).
pub const BEHIND: u32 = 1 << 30;
/// How far ahead it must be for the window to move: most packets write nothing.
const STEP: u32 = 1 << 16;

/// What a pin holds of one connection: its first sequence number, its backend, and when its SYN last came.
///
/// ```text
/// bit  63      62      61       48 47     32 31   0
///    | valid | matched | SYN seen | backend | isn |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(pub u64);

const VALID: u64 = 1 << 63;
const MATCHED: u64 = 1 << 62;
/// The stamp: 14 bits of seconds, four and a half hours.
const STAMP: u32 = (1 << 14) - 1;
const STAMP_SHIFT: u32 = 48;

impl Hold {
    /// Holds `backend` for the connection that begins with `isn`, now.
    #[must_use]
    #[inline(always)]
    pub const fn new(isn: u32, backend: BackendId, seconds: u32) -> Self {
        Self(VALID | (backend as u64) << 32 | isn as u64).stamped(seconds)
    }

    /// The same, its SYN seen now.
    #[must_use]
    #[inline(always)]
    pub const fn stamped(self, seconds: u32) -> Self {
        Self(self.0 & !((STAMP as u64) << STAMP_SHIFT) | ((seconds & STAMP) as u64) << STAMP_SHIFT)
    }

    /// Seconds since its SYN was last seen, within two hours: what is older than that may look younger.
    #[must_use]
    pub const fn age(self, seconds: u32) -> u32 {
        let age = seconds.wrapping_sub((self.0 >> STAMP_SHIFT) as u32) & STAMP;
        // A stamp from just after `seconds` was read is new.
        if age > STAMP / 2 { 0 } else { age }
    }

    /// From a word of a pin.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word & VALID == 0 { None } else { Some(Self(word)) }
    }

    /// The connection's first sequence number.
    #[must_use]
    #[inline(always)]
    pub const fn isn(self) -> u32 {
        self.0 as u32
    }

    /// Its backend.
    #[must_use]
    #[inline(always)]
    pub const fn backend(self) -> BackendId {
        (self.0 >> 32) as BackendId
    }

    /// A packet of the connection was seen after its SYN: the half pin must not expire as unused.
    #[must_use]
    #[inline(always)]
    pub const fn matched(self) -> bool {
        self.0 & MATCHED != 0
    }

    /// The same, matched.
    #[must_use]
    #[inline(always)]
    pub const fn with_match(self) -> Self {
        Self(self.0 | MATCHED)
    }

    /// Whether a sequence number is the connection's own where this is not its first one but the highest that was
    /// seen: a window that follows the client.
    #[must_use]
    #[inline(always)]
    pub const fn follows(self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.isn()).wrapping_add(BEHIND) < BEHIND + AHEAD
    }

    /// Whether that window is to move for this number.
    #[must_use]
    #[inline(always)]
    pub const fn lags(self, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.isn());
        STEP <= ahead && ahead < AHEAD
    }

    /// The same with another number.
    #[must_use]
    #[inline(always)]
    pub const fn at(self, sequence: u32) -> Self {
        Self(self.0 & !(u32::MAX as u64) | sequence as u64)
    }

    /// Whether a sequence number is the connection's own: from its first one, which a keepalive probe of
    /// a silent client carries, to 2^17 beyond.
    #[must_use]
    #[inline(always)]
    pub const fn covers(self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.isn()) < WINDOW
    }
}
