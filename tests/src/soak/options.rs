//! What a soak is asked for, and the times and sizes that follow from it.

use crate::lab::config::Settings;
use crate::lab::topology::has_ipv6;
use serde::Serialize;
use std::time::Duration;

/// How to run it.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line, each on its own")]
pub struct Options {
    /// At least so many flips.
    pub flips: u64,
    /// At least so many connections.
    pub connections: u64,
    /// Room for so many pins; the agent's default if absent.
    pub pins: Option<u32>,
    /// SYN floods from many addresses.
    pub flood: bool,
    /// Forged packets of the clients' own connections.
    pub spoof: bool,
    /// Of a hundred packets, so many are lost at each end and each way.
    pub loss: u8,
    /// Where every choice comes from.
    pub seed: u64,
    /// Wipes the pin table in every drain: to see that a soak can fail.
    pub wipe_pins: bool,
    /// Tells every act on standard error, with its time.
    pub acts: bool,
}

/// A flip with everything around it takes about so long, seconds.
const A_FLIP: f64 = 7.0;
/// More connections a second than this are not opened; the run takes longer then.
const MOST: f64 = 250.0;
/// Room for pins in a flood: what the clients need, and no more than a flood fills.
const PINS_IN_A_FLOOD: u32 = 16_384;

/// How long a silent connection keeps its pin.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

impl Options {
    /// Connections to open in a second.
    pub(super) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (connections, flips) = (self.connections as f64, self.flips.max(1) as f64);
        (1.1 * connections / (flips * A_FLIP)).clamp(5.0, MOST)
    }

    /// How long a SYN is remembered: longer than a client repeats it, and a server its answer, as always.
    pub(super) fn syn_lifetime(&self) -> Duration {
        Duration::from_secs(if self.loss > 0 { 12 } else { 4 })
    }

    /// Nothing is lost and nobody forges: whatever does not come about is somebody's fault.
    pub(super) fn is_clean(&self) -> bool {
        !self.flood && !self.spoof && self.loss == 0
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            plain: true,
            ipv6: has_ipv6(),
            pins: self.pins.or(self.flood.then_some(PINS_IN_A_FLOOD)),
            syn_lifetime: format!("{}s", self.syn_lifetime().as_secs()),
            // All clients send a probe after every second of silence; but not while they repeat what was
            // lost, and the pauses between two repetitions grow.
            idle_horizon: if self.loss > 0 { "12s" } else { "5s" }.into(),
            // Closing pins go when these are over, or after two minutes.
            idle_timeout: Some(format!("{}s", IDLE_TIMEOUT.as_secs())),
            ..Settings::default()
        }
    }
}
