//! The world of the twin: three devices, what lies behind each of them, services with a bend in every kind
//! of way out, and clients of every kind. It is built twice from here: of devices, routes and neighbours for
//! the kernel, of a table of answers for the host (`node`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use bg_common::abi::{Address, BackendId, NO_BACKEND};

use crate::lab::namespace::Namespace;
use crate::packets::craft::Mac;

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
        [(IpAddr::from(v4.0), v4.1)].into_iter()
    }
}

/// How packets to a prefix leave.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// To this neighbour.
    To(Device, Mac),
    /// By this router.
    By(Device, IpAddr, Mac),
    /// To a neighbour that was never heard of.
    Silent,
    /// By a route that refuses them, of this type.
    Refused(&'static str),
    /// The node's own, or no route at all.
    Local,
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
}

/// Slots in every ring.
pub const RING: usize = 8;
/// Deployments; the last one is never set up.
pub const DEPLOYMENTS: u16 = 3;

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

const X: BackendId = NO_BACKEND;

/// The services by their numbers: a plain one, one whose port is its backends', one whose backends are
/// hard to reach, one that is not set up yet.
pub const SERVICES: [Service; 4] = [
    Service {
        at: at(v4(203, 0, 113, 10), 443),
        deployment: 0,
        rings: [[0, 1, 0, 1, 1, 0, 1, 0], [2, 3, 3, 2, 2, 3, 2, 3]],
    },
    Service { at: at(v4(203, 0, 113, 10), 8081), deployment: 0, rings: [[4; RING], [5; RING]] },
    Service {
        at: at(v4(203, 0, 113, 11), 443),
        deployment: 1,
        rings: [[6, 7, 6, 7, 11, 6, 6, X], [8, 8, 9, 8, 10, 8, X, 8]],
    },
    Service { at: at(v4(203, 0, 113, 13), 80), deployment: 2, rings: [[X; RING]; 2] },
];

const fn backend(address: IpAddr, port: u16, service: u16, environment: u8, device: Device) -> Backend {
    Backend { at: at(address, port), service, environment, device }
}

/// The backends by their numbers. Of service 2: behind the narrow link, silent; on the wan, without route,
/// refused by a route, and taken out of `BACKENDS` though a ring still names it.
pub const BACKENDS: [Backend; 12] = [
    backend(v4(10, 0, 1, 1), 8080, 0, 0, Device::Lan),
    backend(v4(10, 0, 1, 2), 8080, 0, 0, Device::Lan),
    backend(v4(10, 0, 2, 1), 8080, 0, 1, Device::Lan),
    backend(v4(10, 0, 2, 2), 8080, 0, 1, Device::Lan),
    backend(v4(10, 0, 1, 1), 8081, 1, 0, Device::Lan),
    backend(v4(10, 0, 2, 1), 8081, 1, 1, Device::Lan),
    backend(v4(10, 3, 0, 2), 8080, 2, 0, Device::Thin),
    backend(SILENT, 8080, 2, 0, Device::Lan),
    backend(v4(192, 0, 2, 50), 80, 2, 1, Device::Wan),
    backend(v4(10, 9, 9, 9), 80, 2, 1, Device::Lan),
    backend(v4(100, 64, 9, 9), 80, 2, 1, Device::Lan),
    backend(v4(10, 0, 1, 3), 8080, 2, 0, Device::Lan),
];

/// The backend that is not in `BACKENDS`.
pub const REMOVED: BackendId = 11;
/// The service whose backends speak directly to [`EXCLUDED`].
pub const EXCLUDING: u16 = 1;
/// Clients that speak to backends directly.
pub const EXCLUDED: (IpAddr, u32) = (v4(198, 51, 100, 192), 26);
/// A backend whose neighbour comes and goes.
pub const SILENT: IpAddr = v4(10, 0, 1, 9);
/// What it is when it is there.
pub const SILENT_MAC: Mac = [2, 0, 0, 0, 1, 9];

/// VIPs, and whether they drop what is sent to a port that is no service.
pub const VIPS: [(IpAddr, bool); 3] =
    [(v4(203, 0, 113, 10), false), (v4(203, 0, 113, 11), true), (v4(203, 0, 113, 13), false)];

/// The router to most clients.
const ROUTER: (IpAddr, Mac) = (v4(192, 0, 2, 254), [2, 0, 0, 0, 9, 254]);

/// All ways out; the longest prefix counts.
pub const WAYS: [(IpAddr, u32, Way); 24] = [
    (v4(0, 0, 0, 0), 0, Way::Local),
    (v4(192, 0, 2, 0), 24, Way::Silent),
    (v4(192, 0, 2, 1), 32, Way::Local),
    (v4(192, 0, 2, 255), 32, Way::Local),
    (v4(192, 0, 2, 7), 32, Way::To(Device::Wan, [2, 0, 0, 0, 9, 7])),
    (v4(192, 0, 2, 50), 32, Way::To(Device::Wan, [2, 0, 0, 0, 9, 50])),
    (ROUTER.0, 32, Way::To(Device::Wan, ROUTER.1)),
    (v4(198, 51, 100, 0), 24, Way::By(Device::Wan, ROUTER.0, ROUTER.1)),
    (v4(10, 0, 0, 0), 16, Way::Silent),
    (v4(10, 0, 0, 1), 32, Way::Local),
    (v4(10, 0, 255, 255), 32, Way::Local),
    (v4(10, 0, 1, 1), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 1])),
    (v4(10, 0, 1, 2), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 2])),
    (v4(10, 0, 1, 3), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 3])),
    (v4(10, 0, 2, 1), 32, Way::To(Device::Lan, [2, 0, 0, 0, 2, 1])),
    (v4(10, 0, 2, 2), 32, Way::To(Device::Lan, [2, 0, 0, 0, 2, 2])),
    (v4(10, 3, 0, 0), 16, Way::Silent),
    (v4(10, 3, 0, 1), 32, Way::Local),
    (v4(10, 3, 255, 255), 32, Way::Local),
    (v4(10, 3, 0, 2), 32, Way::To(Device::Thin, [2, 0, 0, 0, 3, 2])),
    (v4(10, 3, 0, 7), 32, Way::To(Device::Thin, [2, 0, 0, 0, 3, 7])),
    (v4(100, 64, 9, 0), 24, Way::Refused("unreachable")),
    (v4(100, 64, 10, 0), 24, Way::Refused("blackhole")),
    (v4(100, 64, 11, 0), 24, Way::Refused("prohibit")),
];

/// Clients, by kind: behind the router, on the wan, excluded ones, on the narrow link, silent, refused, and
/// ones to whom there is no route; with how many of them there are.
pub const CLIENTS: [(u32, (IpAddr, u8)); 9] = [
    (60, (v4(198, 51, 100, 1), 40)),
    (10, (v4(192, 0, 2, 7), 1)),
    (18, (v4(198, 51, 100, 193), 5)),
    (16, (v4(10, 3, 0, 7), 1)),
    (4, (v4(192, 0, 2, 90), 5)),
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

/// Makes the devices, with addresses, routes and neighbours. Nothing is ever sent: the far ends only make
/// the links come up.
pub fn build(namespace: &Namespace) -> Result<()> {
    // The far ends would introduce themselves by IPv6, and those packets would be counted.
    for scope in ["all", "default"] {
        namespace.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
    }
    for device in Device::ALL {
        let (name, mtu) = (device.name(), device.mtu().to_string());
        let far = format!("{name}-far");
        let mac = text(device.mac());
        namespace.ip(&["link", "add", name, "address", &mac, "type", "veth", "peer", "name", &far])?;
        namespace.ip(&["link", "set", name, "mtu", &mtu, "up"])?;
        namespace.ip(&["link", "set", &far, "up"])?;
        for (address, length) in device.addresses() {
            namespace.ip(&["addr", "add", &format!("{address}/{length}"), "dev", name])?;
        }
        namespace.sysctl(&format!("net/ipv4/conf/{name}/forwarding"), "1")?;
    }
    for (prefix, length, way) in WAYS {
        let prefix = prefix.to_string();
        let network = format!("{prefix}/{length}");
        match way {
            Way::To(device, mac) => {
                neighbour(namespace, &prefix, mac, device)?;
            }
            Way::By(device, router, mac) => {
                let router = router.to_string();
                neighbour(namespace, &router, mac, device)?;
                namespace.ip(&["route", "add", &network, "via", &router, "dev", device.name()])?;
            }
            Way::Refused(kind) => {
                namespace.ip(&["route", "add", kind, &network])?;
            }
            Way::Silent | Way::Local => (),
        }
    }
    Ok(())
}

/// Lets the silent backend be known, or forgotten again.
pub fn silence(namespace: &Namespace, known: bool) -> Result<()> {
    let at = SILENT.to_string();
    if known {
        neighbour(namespace, &at, SILENT_MAC, Device::Lan)
    } else {
        namespace.ip(&["neigh", "del", &at, "dev", Device::Lan.name()]).map(drop)
    }
}

fn neighbour(namespace: &Namespace, address: &str, mac: Mac, device: Device) -> Result<()> {
    let mac = text(mac);
    let known = ["lladdr", &mac, "dev", device.name(), "nud", "permanent"];
    namespace.ip(&[&["neigh", "replace", address], &known[..]].concat()).map(drop)
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
