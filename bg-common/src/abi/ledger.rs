//! What the agent finds again after a restart, and what the program tells it of a deployment.

/// Words of an element of `DEPLOYMENTS`: what the program and the agent tell one another.
pub mod live {
    /// When a SYN was last sent into blue, in seconds of the program's clock; green is the next word.
    pub const LAST_SYN: usize = 0;
    /// Which filter of `RECENT` takes new entries: 0 or 1.
    pub const RECENT_ACTIVE: usize = 2;
    /// When an old flow found no room in `CENSUS`, in seconds of the program's clock.
    pub const CENSUS_FULL: usize = 3;
    /// Words in all.
    pub const WORDS: usize = 8;
}

/// Longest name of a deployment, bytes.
pub const NAME: usize = 32;

/// An element of `LEDGER`: what the agent must find again after a restart. The program never reads it.
/// Times are `CLOCK_MONOTONIC` nanoseconds; 0 is "never".
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Ledger {
    /// The deployment's name, zero-padded; all zero is an unused element.
    pub name: [u8; NAME],
    /// First load: the SYN memory is complete one SYN lifetime later.
    pub loaded_at: u64,
    /// Last switch.
    pub switched_at: u64,
    /// When the drain is ended by force.
    pub deadline_at: u64,
    /// Last rotation of `RECENT`.
    pub rotated_at: u64,
    /// Value of the overflow counters at the last switch.
    pub overflow_at_switch: u64,
    /// Epoch of the control word that the last finished clearing belongs to.
    pub cleared_epoch: u32,
    /// Why the deployment left STEADY: one of [`motive`].
    pub motive: u32,
    /// Share of the new connections that goes to the other environment, percent; only with
    /// [`motive::CANARY`].
    pub share: u32,
    /// Padding.
    pub pad: [u8; 44],
}

/// Why a deployment is not steady.
pub mod motive {
    /// It is, or nothing is known.
    pub const NONE: u32 = 0;
    /// A flip.
    pub const FLIP: u32 = 1;
    /// A rollback.
    pub const ROLLBACK: u32 = 2;
    /// A change inside the live environment.
    pub const INNER: u32 = 3;
    /// A share of the new connections for the other environment.
    pub const CANARY: u32 = 4;
}

/// An element of `NAMES`: which service of the configuration a service number stands for.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ServiceName {
    /// The service's name, zero-padded; all zero is an unused element.
    pub name: [u8; NAME],
    /// Its entry in `SERVICES`.
    pub entry: u32,
    /// Index of its deployment.
    pub deployment: u16,
    /// 1: the agent added the VIP to the node and removes it again when it detaches.
    pub vip_added: u8,
    /// Padding.
    pub pad: u8,
    /// It is the preview of the service with this number less 1; 0: it is a service by itself.
    pub preview_of: u16,
    /// Padding.
    pub rest: [u8; 22],
}
