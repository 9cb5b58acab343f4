//! The configurations.

use super::setup::Setup;

/// Those in which every property holds.
pub const HOLD: &[Setup] = &[Setup { name: "one connection", keepalive: true, ..Setup::PLAIN }];
