//! What an agent does between packets, as far as it needs no more than the tables that a host has.

use std::sync::atomic::Ordering::SeqCst;

use bg_common::control::{Control, Environment, Phase, Ring, SEAL_TICKS};
use bg_common::host::Host;
use bg_common::recent;
use bg_common::tables::{Tables as _, ticks};

use crate::case::take;

/// An act. Rings 0 and 2 lead to blue, ring 1 to green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A control word with these parts, of which only the lowest bits count: two of the phase, one of each ring.
    Switch {
        /// Deployment 0 or 1.
        deployment: u8,
        /// Number of the phase; a seal begins now.
        phase: u8,
        /// Number of the base ring.
        base: u8,
        /// Number of the current ring.
        current: u8,
    },
    /// Any control word, as no agent would store it.
    Word {
        /// Deployment 0 or 1.
        deployment: u8,
        /// The word.
        word: u64,
    },
    /// A backend with this number, if there is one, is dead; or alive again.
    Dead(u8),
    /// There is no room for pins; or there is again.
    NoPins,
    /// Every next hop is looked up anew.
    Routes,
    /// The other filter of a deployment's `RECENT` is filled from now on.
    Rotate(u8),
}

impl Act {
    /// From its number, of five bits, and what follows.
    pub(crate) fn read(number: u8, bytes: &mut &[u8]) -> Self {
        match number {
            0 | 1 => {
                let [parts] = take(bytes);
                Self::Switch {
                    deployment: number,
                    phase: parts & 3,
                    base: parts >> 2 & 1,
                    current: parts >> 3 & 1,
                }
            }
            2 | 3 => Self::Word { deployment: number & 1, word: u64::from_le_bytes(take(bytes)) },
            4 | 5 => Self::Rotate(number & 1),
            6 => Self::NoPins,
            7 => Self::Routes,
            _ => Self::Dead(take::<1>(bytes)[0]),
        }
    }

    /// Its number, and what follows.
    pub(crate) fn write(self) -> (u8, Vec<u8>) {
        match self {
            Self::Switch { deployment, phase, base, current } => {
                (deployment & 1, vec![phase & 3 | (base & 1) << 2 | (current & 1) << 3])
            }
            Self::Word { deployment, word } => (2 | deployment & 1, word.to_le_bytes().to_vec()),
            Self::Rotate(deployment) => (4 | deployment & 1, Vec::new()),
            Self::NoPins => (6, Vec::new()),
            Self::Routes => (7, Vec::new()),
            Self::Dead(backend) => (8, vec![backend]),
        }
    }

    /// Does it to a host's tables.
    pub fn apply(self, host: &mut Host) {
        match self {
            Self::Switch { deployment, phase, base, current } => {
                let ring = |number| Ring { slot: number, environment: Environment::from_bit(number) };
                let phase = [Phase::Off, Phase::Steady, Phase::Drain, Phase::Seal][usize::from(phase & 3)];
                let at = &host.control[usize::from(deployment)];
                let epoch = Control(at.load(SeqCst)).epoch().wrapping_add(1);
                let expiry = ticks(host.nanoseconds()).wrapping_add(SEAL_TICKS);
                let word = Control::new(phase, ring(base & 1), ring(current & 1), expiry, epoch);
                at.store(word.0, SeqCst);
            }
            Self::Word { deployment, word } => host.control[usize::from(deployment)].store(word, SeqCst),
            Self::Dead(backend) => {
                if let Some(backend) = host.backends.get(usize::from(backend)) {
                    backend.dead.fetch_xor(1, SeqCst);
                }
            }
            Self::NoPins => host.node.no_pins ^= 1,
            Self::Routes => drop(host.node.route_epoch.fetch_add(1, SeqCst)),
            Self::Rotate(deployment) => recent::rotate(host, deployment.into()),
        }
    }
}
