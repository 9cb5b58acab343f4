//! The word that says when a flow was last seen and how far its end has come; pins and the census both
//! keep one.
//!
//! ```text
//! bit 63     48 47      32 31   24 23        0
//!    | place   | service  | flags | last seen |
//! ```

use crate::decide::Segment;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Forward,
    /// From the backend.
    Return,
}

const STAMP: u64 = 0x00ff_ffff;
const FIN_FORWARD: u64 = 1 << 24;
const FIN_RETURN: u64 = 1 << 25;
const RST: u64 = 1 << 26;
const GIVEN_UP: u64 = 1 << 27;
const ONE_WAY: u64 = 1 << 28;
const KEPT: u64 = 1 << 29;

/// A closing flow is over after so many seconds of silence both ways.
const LINGER: u32 = 120;
/// Of which only the client's side is seen: its backend may have more to say for a while.
const LINGER_ONE_WAY: u32 = 300;

/// A meta word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta(pub u64);

impl Meta {
    /// Seen now for the first time. `place` is the ring slot of a pin, the environment in the census.
    #[must_use]
    #[inline(always)]
    pub const fn new(seconds: u32, service: u16, place: u16) -> Self {
        Self(seconds as u64 & STAMP | (service as u64) << 32 | (place as u64) << 48)
    }

    /// The same, of a flow whose replies do not come this way if `direct`.
    #[must_use]
    #[inline(always)]
    pub const fn one_way(self, direct: bool) -> Self {
        if direct { Self(self.0 | ONE_WAY) } else { self }
    }

    /// Its replies do not come this way.
    #[must_use]
    pub const fn is_one_way(self) -> bool {
        self.0 & ONE_WAY != 0
    }

    /// When it is closing: the seconds of silence after which it is over.
    #[must_use]
    pub const fn linger(self) -> u32 {
        if self.is_one_way() { LINGER_ONE_WAY } else { LINGER }
    }

    /// Number of the service.
    #[must_use]
    pub const fn service(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Ring slot or environment.
    #[must_use]
    #[inline(always)]
    pub const fn place(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Seconds since the flow was last seen.
    #[must_use]
    pub const fn age(self, seconds: u32) -> u32 {
        let age = (seconds as u64).wrapping_sub(self.0) & STAMP;
        // A stamp from just after `seconds` was read is new, not 194 days old.
        if age > STAMP / 2 { 0 } else { age as u32 }
    }

    /// The word after one more packet. RST closes, any later packet that is none clears that; a FIN
    /// counts for its direction until that direction sends data again, so that the bare
    /// acknowledgements at the end of a connection leave it closed.
    #[must_use]
    #[inline(always)]
    pub const fn seen(self, seconds: u32, direction: Direction, segment: &Segment) -> Self {
        let fin = match direction {
            Direction::Forward => FIN_FORWARD,
            Direction::Return => FIN_RETURN,
        };
        let mut word = self.0 & !STAMP | seconds as u64 & STAMP;
        if segment.rst {
            word |= RST;
        } else {
            word &= !RST;
            if segment.fin {
                word |= fin;
            } else if segment.payload || segment.syn {
                word &= !fin;
            }
        }
        Self(word)
    }

    /// Both sides have sent a FIN, as far as they are seen.
    #[must_use]
    pub const fn finished(self) -> bool {
        self.0 & FIN_FORWARD != 0 && self.0 & (FIN_RETURN | ONE_WAY) != 0
    }

    /// The word of a pin that is freed: from then on nobody may use it. No packet takes that back.
    #[must_use]
    #[inline(always)]
    pub const fn give_up(self) -> Self {
        Self(self.0 | GIVEN_UP)
    }

    /// The word of a pin that counts in every phase, and that clearing leaves alone, if the last bit is 1.
    #[must_use]
    #[inline(always)]
    pub const fn kept_by(self, bit: u32) -> Self {
        Self(self.0 | ((bit as u64 & 1) * KEPT))
    }

    /// The pin counts in every phase.
    #[must_use]
    pub const fn kept(self) -> bool {
        self.0 & KEPT != 0
    }

    /// The agent has given the pin up.
    #[must_use]
    #[inline(always)]
    pub const fn given_up(self) -> bool {
        self.0 & GIVEN_UP != 0
    }

    /// FIN both ways, or RST.
    #[must_use]
    pub const fn closing(self) -> bool {
        self.finished() || self.0 & RST != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Segment = Segment { payload: true, ..Segment::ACK };
    const FIN: Segment = Segment { fin: true, ..Segment::ACK };
    const RESET: Segment = Segment { rst: true, ..Segment::ACK };

    #[test]
    fn fin_both_ways_closes_and_the_last_acknowledgement_leaves_it_closed() {
        let meta = Meta::new(5, 1, 2).seen(6, Direction::Forward, &FIN);
        assert!(!meta.closing());
        let meta = meta.seen(6, Direction::Return, &FIN).seen(7, Direction::Forward, &Segment::ACK);
        assert!(meta.closing() && meta.finished());
        assert_eq!((meta.service(), meta.place(), meta.age(9)), (1, 2, 2));
    }

    #[test]
    fn data_after_a_forged_fin_reopens_that_direction() {
        let meta = Meta::new(5, 1, 2).seen(6, Direction::Forward, &FIN).seen(6, Direction::Return, &FIN);
        assert!(!meta.seen(7, Direction::Forward, &DATA).closing());
    }

    #[test]
    fn any_packet_that_is_no_rst_clears_a_rst() {
        let meta = Meta::new(5, 1, 2).seen(6, Direction::Forward, &RESET);
        assert!(meta.closing() && !meta.finished());
        assert!(!meta.seen(6, Direction::Return, &Segment::ACK).closing());
    }

    #[test]
    fn no_packet_takes_back_that_a_pin_is_given_up() {
        let meta = Meta::new(5, 1, 2).give_up();
        assert!(!Meta::new(5, 1, 2).given_up() && meta.given_up());
        let segments = [DATA, FIN, RESET, Segment { syn: true, ack: false, ..DATA }];
        assert!(segments.iter().all(|segment| meta.seen(9, Direction::Forward, segment).given_up()));
    }

    #[test]
    fn age_survives_the_wrap_of_the_stamp() {
        assert_eq!(Meta::new(0x00ff_fffe, 0, 0).age(0x0100_0003), 5);
        assert_eq!(Meta::new(10, 0, 0).age(9), 0);
    }
}
