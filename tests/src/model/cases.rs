//! The configurations, and for every mutant the one that refutes it.

use bg_common::decide::views::View;
use bg_common::mutant::Mutant;

use super::setup::Setup;

const PLAIN: Setup = Setup::PLAIN;

/// Those in which every property holds, searched to their end by the tests.
pub const HOLD: &[Setup] = &[
    Setup { name: "one connection", keepalive: true, ..PLAIN },
    Setup { name: "no room for a pin", room: 0, keepalive: true, ..PLAIN },
    Setup { name: "late packets", late: true, keepalive: true, ..PLAIN },
    Setup { name: "late packets, no room", room: 0, late: true, ..PLAIN },
    Setup { name: "rotations, expiry", rotations: true, expiry: true, keepalive: true, ..PLAIN },
    Setup { name: "kills, seals that run out", kills: true, keepalive: true, ..PLAIN },
    Setup { name: "changes inside an environment", inner: true, ..PLAIN },
    Setup { name: "canary steps", canary: true, ..PLAIN },
    Setup { name: "canary steps, late packets", canary: true, late: true, ..PLAIN },
    Setup { name: "two connections", connections: 2, ..PLAIN },
    Setup { name: "a forged SYN", spoofs: 1, ..PLAIN },
    Setup { name: "forged RSTs", resets: true, expiry: true, ..PLAIN },
    Setup { name: "another client for the one pin", other: true, expiry: true, ..PLAIN },
    Setup { name: "a tester", view: View::TESTER, keepalive: true, ..PLAIN },
    Setup { name: "a tester, no room", view: View::TESTER, room: 0, ..PLAIN },
    Setup { name: "a tester, late packets", view: View::TESTER, late: true, ..PLAIN },
    Setup { name: "a preview", view: View::PINNED, keepalive: true, ..PLAIN },
    Setup { name: "a preview, no room", view: View::PINNED, room: 0, ..PLAIN },
    Setup { name: "a preview, late packets", view: View::PINNED, late: true, ..PLAIN },
    Setup { name: "a preview, kills", view: View::PINNED, kills: true, ..PLAIN },
    Setup { name: "another client, two pins", other: true, room: 2, expiry: true, ..PLAIN },
];

/// Those that take longer: `cargo xtask model` searches them as deep as it is asked to, the tests to 16
/// steps.
pub const DEEP: &[Setup] = &[
    Setup { name: "late packets, rotations, expiry", late: true, rotations: true, expiry: true, ..PLAIN },
    Setup { name: "two connections, late packets", connections: 2, late: true, ..PLAIN },
    Setup { name: "a forged SYN, late packets", spoofs: 1, late: true, expiry: true, ..PLAIN },
    Setup { name: "two forged SYNs", spoofs: 2, expiry: true, ..PLAIN },
    Setup { name: "two connections, two forged SYNs", connections: 2, spoofs: 2, keepalive: true, ..PLAIN },
    Setup {
        name: "everything, two pins",
        room: 2,
        connections: 2,
        spoofs: 2,
        other: true,
        inner: true,
        canary: true,
        late: true,
        keepalive: true,
        resets: true,
        rotations: true,
        expiry: true,
        kills: true,
        ..PLAIN
    },
];

/// Packets that meet at a word: any two of them, and any of them with the agent, at every access.
pub const MEET: &[Setup] = &[
    Setup { name: "packets meet", meetings: true, spoofs: 1, ..PLAIN },
    Setup { name: "packets of two clients meet", meetings: true, other: true, room: 2, ..PLAIN },
    Setup { name: "packets meet the agent", meetings: true, rotations: true, expiry: true, ..PLAIN },
];

/// The configuration that refutes a mutant.
#[must_use]
pub const fn refuting(mutant: Mutant) -> Setup {
    let setup = match mutant {
        Mutant::RingWithoutGrace => Setup { late: true, inner: true, ..PLAIN },
        Mutant::NoGrace | Mutant::NoSeal | Mutant::TwoWords => Setup { late: true, ..PLAIN },
        Mutant::NewerHalfReplaces | Mutant::NoWindow | Mutant::SynOverwrites | Mutant::SecondHalfToBase => {
            Setup { connections: 2, spoofs: 1, ..PLAIN }
        }
        Mutant::PromotionByAny => Setup { spoofs: 2, ..PLAIN },
        Mutant::WindowWithoutIsn => Setup { keepalive: true, ..PLAIN },
        Mutant::ForgedResetFrees => Setup { resets: true, expiry: true, ..PLAIN },
        Mutant::MatchedHalfExpires => Setup { expiry: true, ..PLAIN },
        Mutant::ShortMemory => Setup { rotations: true, ..PLAIN },
        Mutant::MemoryWithoutIsn => Setup { connections: 2, ..PLAIN },
        Mutant::OverflowToCurrent => Setup { room: 0, ..PLAIN },
        Mutant::InsertionOverwrites => Setup { meetings: true, spoofs: 1, ..PLAIN },
        Mutant::PlainFilterWrite => Setup { meetings: true, other: true, room: 2, ..PLAIN },
        _ => PLAIN,
    };
    Setup { name: mutant.name(), mutant: Some(mutant), ..setup }
}
