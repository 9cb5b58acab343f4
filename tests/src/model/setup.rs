//! What a run of the model includes. All of it at once would have more states than anybody can wait for;
//! each configuration has a part in full.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use bg_common::abi::{self, Backend, BackendId, Endpoint, Node, Other, Service, views};
use bg_common::control::RING_SLOTS;
use bg_common::decide::views::View;
use bg_common::mutant::Mutant;

use super::state::BACKENDS;

/// A configuration.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each of them is a thing that happens or does not")]
pub struct Setup {
    /// Its name.
    pub name: &'static str,
    /// The line of difference, for a refutation.
    pub mutant: Option<Mutant>,
    /// What the client is: anybody, a tester, or a client of a preview.
    pub view: View,
    /// Pins that the table has room for.
    pub room: usize,
    /// Connections that the client opens, one after the other.
    pub connections: u8,
    /// SYNs that somebody forges.
    pub spoofs: u8,
    /// Another client competes for the room.
    pub other: bool,
    /// Changes inside an environment.
    pub inner: bool,
    /// Current rings that lead to both environments.
    pub canary: bool,
    /// Packets that are in the program while the agent and others go on.
    pub late: bool,
    /// Keepalive probes.
    pub keepalive: bool,
    /// Forged RSTs.
    pub resets: bool,
    /// Rotations of the SYN memory.
    pub rotations: bool,
    /// Pins expire.
    pub expiry: bool,
    /// A seal's time may be over, and the agent may be killed.
    pub kills: bool,
    /// A packet may come between any two accesses of another one or of the agent to shared words.
    pub meetings: bool,
}

impl Setup {
    /// One connection and unlimited switches; nothing else.
    pub const PLAIN: Self = Self {
        name: "plain",
        mutant: None,
        view: View::ORDINARY,
        room: 1,
        connections: 1,
        spoofs: 0,
        other: false,
        inner: false,
        canary: false,
        late: false,
        keepalive: false,
        resets: false,
        rotations: false,
        expiry: false,
        kills: false,
        meetings: false,
    };
}

/// The node's secret: none of the isns hides another one in the SYN memory.
pub const KEY: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
/// The tag of places that are taken for good.
pub const TAKEN: u64 = 1 << 63;
/// The VIP.
pub const VIP: ([u8; 4], u16) = ([203, 0, 113, 10], 443);

/// The clock stands still; stamps grow old by events.
pub const NOW: u64 = 1 << 50;
/// A stamp of now, seconds.
pub const FRESH: u64 = NOW >> 30;
/// The clock, in the ticks of a seal.
#[must_use]
pub const fn now_ticks() -> u32 {
    bg_common::tables::ticks(NOW)
}

/// How long ago an old stamp is: more than a SYN and a closing pin live.
pub const OLD: u64 = 200;
/// How long ago a dead stamp is: more than anything lives.
pub const DEAD: u64 = 10_000;
/// How long a SYN lives, seconds.
pub const SYN_LIFETIME: u32 = 128;
/// How long a silent connection counts as alive, seconds.
pub const HORIZON: u32 = 600;
/// How long an idle pin lives, seconds.
pub const IDLE: u32 = 7200;

/// `NODE`: one bucket of pins, one word a filter, one bucket of the census.
#[must_use]
pub fn node(room: usize) -> Node {
    Node {
        key: KEY,
        service_mask: 63,
        endpoint_mask: 63,
        pin_mask: 0,
        recent_mask: 0,
        census_mask: 0,
        no_pins: u8::from(room == 0),
        vip_policy: 0,
        pad: [0; 2],
        route_epoch: AtomicU64::new(0),
    }
}

/// The service: rings of one slot.
#[must_use]
pub fn service() -> Service {
    Service {
        vip: abi::Address::v4(VIP.0),
        port: VIP.1.to_be_bytes(),
        protocol: 6,
        state: abi::entry::USED,
        id: 0,
        deployment: 0,
        ring_base: 0,
        ring_stride: 1,
        ring_size: 1,
        other_ports: abi::other_ports::KERNEL,
        affinity: 0,
        mode: 0,
        views: 0,
        pad: [0; 20],
        idle_base: 0,
    }
}

/// The service as the client of a configuration sees it. Its rings that lead to the environment that is not live
/// come after the others.
#[must_use]
pub fn service_for(view: View) -> Service {
    let idle = u32::from(RING_SLOTS);
    match view {
        View::PINNED => Service { ring_base: idle, views: views::PINNED, ..service() },
        View::TESTER | View::FORMER => Service { idle_base: idle, views: views::TESTERS, ..service() },
        _ => service(),
    }
}

/// The endpoint of a backend, which the live service has and its preview, the client's, shares.
#[must_use]
pub fn shared_endpoint(backend: BackendId) -> Endpoint {
    let service = service();
    Endpoint {
        address: ALL[usize::from(backend)].address,
        vip: service.vip,
        port: ALL[usize::from(backend)].port,
        vip_port: service.port,
        protocol: service.protocol,
        state: abi::entry::USED,
        backend,
        service: LIVE,
        deployment: 0,
        environment: ALL[usize::from(backend)].environment,
        excludes: 0,
        views: views::SHARED,
        pad: [0; 5],
        others: [Other { service: 1, backend }, Other::default(), Other::default()],
    }
}

/// The number of the live service beside a preview, which is the client's.
pub const LIVE: u16 = 7;

/// The backends.
pub static ALL: LazyLock<[Backend; BACKENDS]> = LazyLock::new(|| std::array::from_fn(backend));

/// A backend by its number.
#[must_use]
pub fn backend(id: usize) -> Backend {
    Backend {
        address: abi::Address::v4([10, 0, 1, 1 + id as u8]),
        port: 8080_u16.to_be_bytes(),
        service: 0,
        environment: (id / 2) as u8,
        state: abi::entry::USED,
        pad: [0; 2],
        dead: AtomicU64::new(0),
        tunnel: abi::Address::default(),
        tunnel_bits: 0,
        rest: [0; 15],
    }
}
