//! What the services of a node are: cases that differ in it need nodes of their own.

use bg_common::abi::mode;

use super::place::{Group, HOSTS, NEIGHBOURS, Version};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What all services of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) version: Version,
    /// IP protocol number.
    pub(super) protocol: u8,
    /// One of [`mode`].
    pub(super) mode: u8,
}

impl Kind {
    pub(super) const TCP4: Self = Self { version: Version::V4, protocol: TCP, mode: mode::NAT };
    pub(super) const TCP6: Self = Self { version: Version::V6, ..Self::TCP4 };
    /// With flow affinity.
    pub(super) const UDP4: Self = Self { protocol: UDP, ..Self::TCP4 };
    pub(super) const DSR4: Self = Self { mode: mode::DSR, ..Self::TCP4 };
    /// The outer packets are of IPv4 too.
    pub(super) const IPIP4: Self = Self { mode: mode::IPIP, ..Self::TCP4 };

    pub(super) const fn udp(self) -> bool {
        self.protocol == UDP
    }

    /// Its backends.
    pub(super) const fn hosts(self) -> Group {
        if self.mode == mode::DSR { NEIGHBOURS } else { HOSTS }
    }
}
