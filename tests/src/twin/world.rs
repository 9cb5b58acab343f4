//! The world of the twin: three devices, what lies behind each of them, services with a bend in every kind
//! of way out, and clients of every kind; all of it over IPv4, and once more over IPv6. It is built twice
//! from here: of devices, routes and neighbours for the kernel (`devices`), of a table of answers for the
//! host (`node`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bg_common::abi::{Address, BackendId, NO_BACKEND, affinity, mode, tester};

pub use super::devices::{build, silence};
pub use super::ways::{Way, ways};
use crate::packets::craft::Mac;
use crate::packets::world::{v6, v6_ip};

/// A device of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Towards clients.
    Wan,
    /// Towards backends.
    Lan,
    /// A narrow link, with a backend and a client behind it.
    Thin,
}

impl Device {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wan, Self::Lan, Self::Thin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Lan => "lan",
            Self::Thin => "thin",
        }
    }

    /// Its hardware address.
    pub const fn mac(self) -> Mac {
        [2, 0, 0, 0, 0, self as u8 + 1]
    }

    /// The largest packet that it takes, bytes. The narrow one is as narrow as IPv6 allows.
    pub const fn mtu(self) -> u32 {
        match self {
            Self::Wan | Self::Lan => 1500,
            Self::Thin => 1280,
        }
    }

    /// Its addresses, with the length of their prefixes.
    pub fn addresses(self) -> impl Iterator<Item = (IpAddr, u32)> {
        let v4 = match self {
            Self::Wan => ([192, 0, 2, 1], 24),
            Self::Lan => ([10, 0, 0, 1], 16),
            Self::Thin => ([10, 3, 0, 1], 16),
        };
        let v4 = (IpAddr::from(v4.0), v4.1);
        [v4, (v6_ip(v4.0), 96 + v4.1)].into_iter()
    }
}

/// A backend.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Where it listens.
    pub at: SocketAddr,
    /// Its service's number.
    pub service: u16,
    /// 0 blue, 1 green.
    pub environment: u8,
    /// By which device it replies.
    pub device: Device,
}

/// A service.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its VIP and port.
    pub at: SocketAddr,
    /// Its deployment.
    pub deployment: u16,
    /// Slots of its blue ring, then of its green one.
    pub rings: [[BackendId; RING]; 2],
    /// One of [`mode`].
    pub mode: u8,
}

impl Service {
    /// Its backends answer clients themselves.
    pub const fn direct(&self) -> bool {
        self.mode != mode::NAT
    }
}

/// Slots in every ring.
pub const RING: usize = 8;
/// Deployments; the last one is never set up.
pub const DEPLOYMENTS: u16 = 3;

pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

const X: BackendId = NO_BACKEND;

/// The services by their numbers: those of IPv4, and from [`V6_SERVICE`] on those of IPv6, which switch
/// together with them.
pub const SERVICES: [Service; 12] = {
    let mut both = [V4_SERVICES[0]; 12];
    let mut number = 0;
    while number < V4_SERVICES.len() {
        let service = V4_SERVICES[number];
        both[number] = service;
        let rings = [over_v6(service.rings[0]), over_v6(service.rings[1])];
        both[number + V6_SERVICE as usize] = Service { at: v6(service.at), rings, ..service };
        number += 1;
    }
    both
};
/// Services that have a preview each and testers; the numbers of their previews come after all others.
pub const VIEWED: [u16; 4] = [1, 4, 1 + V6_SERVICE, 5 + V6_SERVICE];
/// The port of a preview, at its service's VIP.
pub const PREVIEW_PORT: u16 = 8444;
/// Prefixes of testers, and of clients that were testers, of deployment 0.
pub const TESTERS: [(IpAddr, u32, u8); 4] = {
    let (now, once) = (v4(198, 51, 100, 8), v4(198, 51, 100, 24));
    [
        (now, 29, tester::NOW),
        (once, 29, tester::ONCE),
        (v6_ip(now), 96 + 29, tester::NOW),
        (v6_ip(once), 96 + 29, tester::ONCE),
    ]
};

/// Where the preview of a service is.
pub const fn preview_of(service: u16) -> SocketAddr {
    SocketAddr::new(SERVICES[service as usize].at.ip(), PREVIEW_PORT)
}

/// Services that speak UDP too, from the same backends, and their affinity.
pub const DATAGRAMS: [(u16, u8); 8] = [
    (0, affinity::FLOW),
    (1, 0),
    (4, affinity::FLOW),
    (5, affinity::FLOW),
    (V6_SERVICE, affinity::FLOW),
    (V6_SERVICE + 1, 0),
    (V6_SERVICE + 4, affinity::FLOW),
    (V6_SERVICE + 5, affinity::FLOW),
];
/// The first service of IPv6.
pub const V6_SERVICE: u16 = V4_SERVICES.len() as u16;
/// The first backend of IPv6.
pub const V6_BACKEND: BackendId = V4_BACKENDS.len() as BackendId;

/// A plain one, one whose port is its backends', one whose backends are hard to reach, one that is not set up
/// yet; one of mode dsr and one of mode ipip.
const V4_SERVICES: [Service; 6] = [
    Service {
        at: at(v4(203, 0, 113, 10), 443),
        deployment: 0,
        rings: [[0, 1, 0, 1, 1, 0, 1, 0], [2, 3, 3, 2, 2, 3, 2, 3]],
        mode: mode::NAT,
    },
    Service {
        at: at(v4(203, 0, 113, 10), 8081),
        deployment: 0,
        rings: [[4; RING], [5; RING]],
        mode: mode::NAT,
    },
    Service {
        at: at(v4(203, 0, 113, 11), 443),
        deployment: 1,
        rings: [[6, 7, 6, 7, 11, 6, X, X], [8, X, 9, 8, 10, 8, X, 8]],
        mode: mode::NAT,
    },
    Service { at: at(v4(203, 0, 113, 13), 80), deployment: 2, rings: [[X; RING]; 2], mode: mode::NAT },
    Service {
        at: at(v4(203, 0, 113, 20), 443),
        deployment: 0,
        rings: [[12, 13, 12, 14, 13, 12, 14, 12], [15, 17, 16, 15, 17, 15, 16, X]],
        mode: mode::DSR,
    },
    Service {
        at: at(v4(203, 0, 113, 30), 443),
        deployment: 0,
        rings: [[18, 19, 20, 18, 20, 19, 18, 20], [21, 22, 21, 23, 22, 21, 23, X]],
        mode: mode::IPIP,
    },
];

const fn over_v6(mut ring: [BackendId; RING]) -> [BackendId; RING] {
    let mut slot = 0;
    while slot < RING {
        if ring[slot] != X {
            ring[slot] += V6_BACKEND;
        }
        slot += 1;
    }
    ring
}

const fn backend(address: IpAddr, port: u16, service: u16, environment: u8, device: Device) -> Backend {
    Backend { at: at(address, port), service, environment, device }
}

/// The backends by their numbers: those of IPv4, and from [`V6_BACKEND`] on those of IPv6.
pub const BACKENDS: [Backend; 48] = {
    let mut both = [V4_BACKENDS[0]; 48];
    let mut number = 0;
    while number < V4_BACKENDS.len() {
        let backend = V4_BACKENDS[number];
        both[number] = backend;
        both[number + V6_BACKEND as usize] =
            Backend { at: v6(backend.at), service: backend.service + V6_SERVICE, ..backend };
        number += 1;
    }
    both
};

/// Of service 2: behind the narrow link, silent; on the wan, without route,
/// refused by a route, and taken out of `BACKENDS` though a ring still names it.
/// Of service 4 (dsr): near, behind the narrow link, silent; near, on the wan, behind a router.
/// Of service 5 (ipip): near, behind the narrow link, near but over IPv6; behind a router, silent, refused.
const V4_BACKENDS: [Backend; 24] = [
    backend(v4(10, 0, 1, 1), 8080, 0, 0, Device::Lan),
    backend(v4(10, 0, 1, 2), 8080, 0, 0, Device::Lan),
    backend(v4(10, 0, 2, 1), 8080, 0, 1, Device::Lan),
    backend(v4(10, 0, 2, 2), 8080, 0, 1, Device::Lan),
    backend(v4(10, 0, 1, 1), 8081, 1, 0, Device::Lan),
    backend(v4(10, 0, 2, 1), 8081, 1, 1, Device::Lan),
    backend(v4(10, 3, 0, 2), 8080, 2, 0, Device::Thin),
    backend(SILENT[0], 8080, 2, 0, Device::Lan),
    backend(v4(192, 0, 2, 50), 80, 2, 1, Device::Wan),
    backend(v4(10, 9, 9, 9), 80, 2, 1, Device::Lan),
    backend(v4(100, 64, 9, 9), 80, 2, 1, Device::Lan),
    backend(v4(10, 0, 1, 3), 8080, 2, 0, Device::Lan),
    backend(v4(10, 0, 1, 1), 443, 4, 0, Device::Lan),
    backend(v4(10, 3, 0, 2), 443, 4, 0, Device::Thin),
    backend(SILENT[0], 443, 4, 0, Device::Lan),
    backend(v4(10, 0, 2, 1), 443, 4, 1, Device::Lan),
    backend(v4(192, 0, 2, 50), 443, 4, 1, Device::Wan),
    backend(v4(10, 4, 0, 1), 443, 4, 1, Device::Lan),
    backend(v4(10, 0, 1, 2), 443, 5, 0, Device::Lan),
    backend(v4(10, 3, 0, 2), 443, 5, 0, Device::Thin),
    backend(v6_ip(v4(10, 0, 1, 3)), 443, 5, 0, Device::Lan),
    backend(v4(10, 4, 0, 2), 443, 5, 1, Device::Lan),
    backend(SILENT[0], 443, 5, 1, Device::Lan),
    backend(v4(100, 64, 9, 9), 443, 5, 1, Device::Lan),
];

/// Where packets within which others travel to a backend come from, and how many bits at the end tell flows apart.
pub const fn tunnel(backend: IpAddr) -> (IpAddr, u8) {
    match backend {
        IpAddr::V4(_) => (v4(172, 16, 0, 0), 16),
        IpAddr::V6(_) => (IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), 32),
    }
}

/// The backends that are not in `BACKENDS`.
pub const REMOVED: [BackendId; 2] = [11, 11 + V6_BACKEND];
/// The services whose backends speak directly to [`EXCLUDED`].
pub const EXCLUDING: [u16; 2] = [1, 1 + V6_SERVICE];
/// Clients that speak to backends directly.
pub const EXCLUDED: [(IpAddr, u32); 2] =
    [(v4(198, 51, 100, 192), 26), (v6_ip(v4(198, 51, 100, 192)), 96 + 26)];
/// A backend whose neighbour comes and goes, over both.
pub const SILENT: [IpAddr; 2] = [v4(10, 0, 1, 9), v6_ip(v4(10, 0, 1, 9))];
/// What it is when it is there.
pub const SILENT_MAC: Mac = [2, 0, 0, 0, 1, 9];

/// VIPs, and whether they drop what is sent to a port that is no service.
pub const VIPS: [(IpAddr, bool); 10] = [
    (v4(203, 0, 113, 10), false),
    (v4(203, 0, 113, 11), true),
    (v4(203, 0, 113, 13), false),
    (v4(203, 0, 113, 20), false),
    (v4(203, 0, 113, 30), true),
    (v6_ip(v4(203, 0, 113, 10)), false),
    (v6_ip(v4(203, 0, 113, 11)), true),
    (v6_ip(v4(203, 0, 113, 13)), false),
    (v6_ip(v4(203, 0, 113, 20)), false),
    (v6_ip(v4(203, 0, 113, 30)), true),
];

/// Clients of IPv4, and by [`v6_ip`] of IPv6, by kind: behind the router, on the wan, excluded ones, on the narrow link, silent, refused, and
/// ones to whom there is no route; with how many of them there are.
pub const CLIENTS: [(u32, (IpAddr, u8)); 9] = [
    (60, (v4(198, 51, 100, 1), 40)),
    (10, (v4(192, 0, 2, 7), 1)),
    (18, (v4(198, 51, 100, 193), 5)),
    (16, (v4(10, 3, 0, 7), 1)),
    (5, (v4(192, 0, 2, 90), 5)),
    (2, (v4(100, 64, 9, 1), 3)),
    (1, (v4(100, 64, 10, 1), 3)),
    (1, (v4(100, 64, 11, 1), 3)),
    (4, (v4(10, 9, 0, 1), 3)),
];

/// An address as tables hold it.
pub const fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address(address.octets()),
    }
}

/// The length of a prefix in bits of a mapped address.
pub const fn length(prefix: IpAddr, length: u32) -> u32 {
    match prefix {
        IpAddr::V4(_) => 96 + length,
        IpAddr::V6(_) => length,
    }
}
