//! What only the program has that the tests build: a [`Mutant`] of the rule, a clock that stands still, and
//! places at which a test may stop a packet for a moment, to let something else happen meanwhile.
//!
//! What is chosen is read-only data that is set before the program is loaded, so that the verifier, which
//! knows it, leaves nothing of the rest.

use core::arch::asm;
use core::ptr::{read_volatile, write_volatile};

use bg_common::mutant::gate::{LEFT, LOOKS, OPEN, STANDS};
use bg_common::mutant::{Mutant, Stop};

use crate::maps::gate;

/// The mutant, by its number; 0 is the rule as it is.
#[unsafe(no_mangle)]
static MUTANT: u8 = 0;
/// What the clock shows; 0 is the kernel's clock.
#[unsafe(no_mangle)]
static CLOCK: u64 = 0;
/// The [`Stop`] at which packets may be stopped; 0 is nowhere.
#[unsafe(no_mangle)]
static STOP_AT: u8 = 0;

#[inline(always)]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    // SAFETY: a static; `volatile` because the loader has changed it since it was compiled.
    unsafe { read_volatile(&raw const MUTANT) == mutant as u8 }
}

#[inline(always)]
pub(crate) fn clock() -> Option<u64> {
    // SAFETY: as above.
    let now = unsafe { read_volatile(&raw const CLOCK) };
    (now != 0).then_some(now)
}

/// A packet comes to a place, and may be stopped there, for at most a quarter of a second.
#[inline(always)]
pub(crate) fn pass(place: Stop) {
    if place == Stop::Word {
        count();
    }
    // SAFETY: as above.
    if unsafe { read_volatile(&raw const STOP_AT) } != place as u8 {
        return;
    }
    let (Some(left), Some(stands), Some(open)) = (gate(LEFT), gate(STANDS), gate(OPEN)) else { return };
    // SAFETY: live, aligned words, each read and written in one piece. The test lets in one packet at a
    // time until one stands at the gate.
    unsafe {
        let before = read_volatile(left);
        if before == 0 {
            return;
        }
        write_volatile(left, before - 1);
        if before != 1 {
            return;
        }
        write_volatile(stands, 1);
        // The verifier follows a loop that `may_goto` leads out of; the kernel leaves it after some time.
        asm!(
            "1:",
            "{value} = *(u64 *)({open} + 0)",
            "if {value} != 0 goto 2f",
            "may_goto 2f",
            "goto 1b",
            "2:",
            open = in(reg) open,
            value = out(reg) _,
        );
        write_volatile(stands, 0);
    }
}

#[inline(always)]
fn count() {
    if let Some(looks) = gate(LOOKS) {
        // SAFETY: as above.
        unsafe { write_volatile(looks, read_volatile(looks) + 1) };
    }
}
