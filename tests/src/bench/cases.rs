//! The cases: what arrives, in which phase, and how it must end. A new one is one more entry of [`CASES`].

use bg_common::reason::Reason;

use super::frames::Packet;
use super::kind::Kind;
use super::place::{Group, STRANGERS, VIPS};

/// Flows of the budget.
const FLOWS: &[u32] = &[1, 1 << 16, 1 << 20];
/// The same, without the one flow that could not open a connection twice.
const MANY: &[u32] = &[1 << 16, 1 << 20];

/// Services, to see how the cost grows.
const MORE: &[u16] = &[10, 100, 1000];

/// A case.
#[derive(Debug)]
pub struct Case {
    /// Its name in the report.
    pub name: &'static str,
    /// What the services are.
    pub(super) kind: Kind,
    /// The front's program that makes its packets.
    pub(super) front: &'static str,
    /// What arrives.
    pub(super) packet: Packet,
    /// What the deployment is in.
    pub(super) phase: Stage,
    /// Where it must end.
    pub(super) way: Way,
    /// Numbers of flows that it is measured with.
    pub flows: &'static [u32],
    /// Numbers of services that the most flows are spread over besides, to see how the cost grows.
    pub(super) grows: &'static [u16],
    /// What it may cost with so many flows, as a ratio to the floor.
    pub(super) budget: &'static [(u32, f64)],
}

/// How many flows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// All of them.
    pub(super) flows: u32,
    /// The services that they are spread over.
    pub(super) services: u16,
}

/// What the deployment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// STEADY on blue.
    Steady,
    /// DRAIN from blue to green; every flow has a pin on green.
    Pinned,
    /// DRAIN from blue to green; no flow has a pin.
    Unpinned,
}

/// How a packet must end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The reason that it is counted under.
    pub(super) reason: Reason,
    /// The environment of a service that it is counted for: 0 blue, 1 green.
    pub(super) environment: Option<u8>,
    /// It is counted as a new connection.
    pub(super) opens: bool,
}

const TO_BLUE: Way = Way { reason: Reason::Forwarded, environment: Some(0), opens: false };
const TO_GREEN: Way = Way { environment: Some(1), ..TO_BLUE };

/// All of them, those of one kind of services together.
pub static CASES: &[Case] = &[
    Case {
        name: "steady_tcp4",
        kind: Kind::TCP4,
        front: "forth4",
        packet: Packet::Data,
        phase: Stage::Steady,
        way: TO_BLUE,
        flows: FLOWS,
        grows: MORE,
        budget: &[(1, 2.2), (1 << 16, 3.0), (1 << 20, 3.0)],
    },
    Case {
        name: "drain_tcp4_pinned",
        kind: Kind::TCP4,
        front: "forth4",
        packet: Packet::Data,
        phase: Stage::Pinned,
        way: TO_GREEN,
        flows: FLOWS,
        grows: MORE,
        budget: &[(1, 2.6), (1 << 20, 6.0)],
    },
    Case {
        name: "drain_tcp4_base",
        kind: Kind::TCP4,
        front: "forth4",
        packet: Packet::Data,
        phase: Stage::Unpinned,
        way: TO_BLUE,
        flows: FLOWS,
        grows: &[],
        budget: &[],
    },
    Case {
        name: "syn_steady",
        kind: Kind::TCP4,
        front: "open4",
        packet: Packet::Syn,
        phase: Stage::Steady,
        way: Way { opens: true, ..TO_BLUE },
        flows: FLOWS,
        grows: &[],
        budget: &[(1, 4.5), (1 << 16, 4.5), (1 << 20, 4.5)],
    },
    Case {
        name: "syn_drain",
        kind: Kind::TCP4,
        front: "open4",
        packet: Packet::Syn,
        phase: Stage::Unpinned,
        way: Way { opens: true, ..TO_GREEN },
        flows: MANY,
        grows: &[],
        budget: &[(1 << 16, 9.0), (1 << 20, 9.0)],
    },
    Case {
        name: "return_tcp4",
        kind: Kind::TCP4,
        front: "back4",
        packet: Packet::Reply,
        phase: Stage::Steady,
        way: Way { reason: Reason::Returned, environment: None, opens: false },
        flows: FLOWS,
        grows: &[],
        budget: &[],
    },
    Case {
        name: "pass",
        kind: Kind::TCP4,
        front: "forth4",
        packet: Packet::Stray,
        phase: Stage::Steady,
        way: Way { reason: Reason::NotService, environment: None, opens: false },
        flows: FLOWS,
        grows: &[],
        budget: &[(1, 1.6), (1 << 16, 2.4), (1 << 20, 2.4)],
    },
    Case {
        name: "icmp_error4",
        kind: Kind::TCP4,
        front: "error4",
        packet: Packet::Error,
        phase: Stage::Steady,
        way: Way { reason: Reason::ErrorForwarded, environment: None, opens: false },
        flows: FLOWS,
        grows: &[],
        budget: &[],
    },
    Case {
        name: "steady_udp4",
        kind: Kind::UDP4,
        front: "forth4",
        packet: Packet::Datagram,
        phase: Stage::Steady,
        way: TO_BLUE,
        flows: FLOWS,
        grows: &[],
        budget: &[(1 << 20, 4.5)],
    },
    Case {
        name: "dsr_tcp4",
        kind: Kind::DSR4,
        front: "forth4",
        packet: Packet::Data,
        phase: Stage::Steady,
        way: TO_BLUE,
        flows: FLOWS,
        grows: &[],
        budget: &[],
    },
    Case {
        name: "ipip_tcp4",
        kind: Kind::IPIP4,
        front: "forth4",
        packet: Packet::Data,
        phase: Stage::Steady,
        way: Way { reason: Reason::Encapsulated, ..TO_BLUE },
        flows: FLOWS,
        grows: &[],
        budget: &[],
    },
    Case {
        name: "steady_tcp6",
        kind: Kind::TCP6,
        front: "forth6",
        packet: Packet::Data,
        phase: Stage::Steady,
        way: TO_BLUE,
        flows: FLOWS,
        grows: &[],
        budget: &[(1 << 20, 3.5)],
    },
];

/// In a table at half load one of a hundred thousand flows finds no room; it may be ten times as many.
pub(super) const fn strays(flows: u32) -> u32 {
    flows / 10_000
}

impl Case {
    /// What it may cost under a load, if the budget says; it speaks of one busy service.
    pub(super) fn budget(&self, load: Load) -> Option<f64> {
        let Load { flows, services: 1 } = load else { return None };
        self.budget.iter().find(|(of, _)| *of == flows).map(|(_, ratio)| *ratio)
    }

    /// The group that the other end is one of, beside the clients.
    pub(super) const fn group(&self) -> Group {
        match self.packet {
            Packet::Data | Packet::Datagram | Packet::Error | Packet::Syn => VIPS,
            Packet::Reply => self.kind.hosts(),
            Packet::Stray => STRANGERS,
        }
    }

    /// Its packets open connections.
    pub(super) fn opens(&self) -> bool {
        self.packet == Packet::Syn
    }

    /// How many of so many packets may go by base because their flows found no room for a pin.
    pub(super) fn strays(&self, packets: u32) -> u32 {
        if self.phase == Stage::Pinned || self.fresh() { strays(packets) } else { 0 }
    }

    /// Every packet needs a flow that has not been there before.
    pub(super) fn fresh(&self) -> bool {
        self.opens() && self.phase == Stage::Unpinned
    }
}
