//! The configurations.

use super::setup::Setup;

/// Those in which every property holds.
pub const HOLD: &[Setup] = &[
    Setup { name: "one connection", keepalive: true, ..Setup::PLAIN },
    Setup { name: "one connection, no room", room: 0, keepalive: true, ..Setup::PLAIN },
    Setup { name: "one connection, late packets", late: true, keepalive: true, ..Setup::PLAIN },
    Setup { name: "one connection, rotations, expiry", rotations: true, expiry: true, keepalive: true, ..Setup::PLAIN },
    Setup { name: "one connection, late, rotations, expiry", late: true, rotations: true, expiry: true, ..Setup::PLAIN },
    Setup { name: "one connection, kills", kills: true, keepalive: true, ..Setup::PLAIN },
    Setup { name: "inner changes", inner: true, ..Setup::PLAIN },
    Setup { name: "canary", canary: true, ..Setup::PLAIN },
    Setup { name: "two connections", connections: 2, ..Setup::PLAIN },
    Setup { name: "a spoofed SYN", spoofs: 1, ..Setup::PLAIN },
    Setup { name: "forged resets", resets: true, expiry: true, ..Setup::PLAIN },
    Setup { name: "competitor", other: true, expiry: true, ..Setup::PLAIN },
    Setup { name: "competitor, room for two", other: true, room: 2, expiry: true, ..Setup::PLAIN },
];
