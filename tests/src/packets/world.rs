//! The small world of the packet cases: a node with three devices, clients behind `wan`, backends behind
//! `lan`, a backend behind a narrow link, and services that show one thing each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::craft::Mac;
use crate::lab::namespace::Namespace;
use anyhow::Result;

const fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn socket(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::new(ip(a, b, c, d), port)
}

/// The IPv6 address that stands beside an IPv4 address of this world: it has the same neighbour, and whatever
/// has the one has the other.
pub const fn v6(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(v6_ip(address.ip()), address.port())
}

/// As [`v6`], without a port.
pub const fn v6_ip(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let (high, low) = ((a as u16) << 8 | b as u16, (c as u16) << 8 | d as u16);
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, high, 0, 0, 0, 0, low))
        }
        IpAddr::V6(_) => address,
    }
}

/// The node's device towards clients, on which every packet of the cases arrives.
pub const WAN_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The node's device towards backends.
pub const LAN_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// The node's device with the least MTU that IPv6 allows.
pub const THIN_MAC: Mac = [2, 0, 0, 0, 0, 3];
/// The neighbour that every client is.
pub const CLIENT_MAC: Mac = [2, 0, 0, 0, 9, 7];
/// MTU of the narrow link.
pub const THIN_MTU: u16 = 1280;

/// The client.
pub const CLIENT: SocketAddr = socket(192, 0, 2, 7, 40_000);
/// A client that is reached by the narrow link.
pub const THIN_CLIENT: SocketAddr = socket(10, 3, 0, 7, 40_000);
/// A client that is on the wan but has never been heard of.
pub const SILENT_CLIENT: SocketAddr = socket(192, 0, 2, 99, 40_000);
/// A client in the excluded prefix.
pub const EXCLUDED_CLIENT: SocketAddr = socket(192, 0, 2, 130, 40_000);
/// The prefix that speaks to backends directly.
pub const EXCLUDED: ([u8; 4], u32) = ([192, 0, 2, 128], 25);
/// The node's own address on the lan.
pub const NODE: IpAddr = ip(10, 0, 0, 1);

/// A service with a port other than its backends'; deployment 0. Other ports are the kernel's.
pub const WEB: SocketAddr = socket(203, 0, 113, 10, 443);
/// A service with its backends' port, same VIP and deployment.
pub const PLAIN: SocketAddr = socket(203, 0, 113, 10, 8081);
/// Blue's backend was never heard of, green's is behind the narrow link; other ports are dropped;
/// deployment 1.
pub const EDGE: SocketAddr = socket(203, 0, 113, 11, 443);
/// Blue's backend is on the wan, green's has no route; deployment 2.
pub const ODD: SocketAddr = socket(203, 0, 113, 12, 80);
/// The preview of [`WEB`], where a case has it.
pub const PREVIEW: SocketAddr = socket(203, 0, 113, 10, 8443);
/// Its deployment, 3, has not been set up, and its rings are empty.
pub const UNREADY: SocketAddr = socket(203, 0, 113, 13, 80);

/// A backend of the cases.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its hardware address.
    pub mac: Mac,
    /// Which of [`SERVICES`].
    pub service: u16,
    /// 0 blue, 1 green.
    pub environment: u8,
}

const V4_BACKENDS: [Backend; 8] = [
    Backend { address: socket(10, 0, 1, 1, 8080), mac: [2, 0, 0, 0, 1, 1], service: 0, environment: 0 },
    Backend { address: socket(10, 0, 2, 1, 8080), mac: [2, 0, 0, 0, 2, 1], service: 0, environment: 1 },
    Backend { address: socket(10, 0, 1, 1, 8081), mac: [2, 0, 0, 0, 1, 1], service: 1, environment: 0 },
    Backend { address: socket(10, 0, 2, 1, 8081), mac: [2, 0, 0, 0, 2, 1], service: 1, environment: 1 },
    Backend { address: socket(10, 0, 1, 9, 8080), mac: [2, 0, 0, 0, 1, 9], service: 2, environment: 0 },
    Backend { address: socket(10, 3, 0, 2, 8080), mac: [2, 0, 0, 0, 3, 2], service: 2, environment: 1 },
    Backend { address: socket(192, 0, 2, 50, 80), mac: [2, 0, 0, 0, 9, 50], service: 3, environment: 0 },
    Backend { address: socket(10, 9, 9, 9, 80), mac: [0; 6], service: 3, environment: 1 },
];

/// Backends by their number in `BACKENDS`: those of IPv4, and from [`V6_BACKEND`] on those of IPv6.
pub const BACKENDS: [Backend; 16] = {
    let mut both = [V4_BACKENDS[0]; 16];
    let mut number = 0;
    while number < V6_BACKEND {
        let backend = V4_BACKENDS[number];
        both[number] = backend;
        both[number + V6_BACKEND] =
            Backend { address: v6(backend.address), service: backend.service + V6_SERVICE, ..backend };
        number += 1;
    }
    both
};
/// The first backend of IPv6.
pub const V6_BACKEND: usize = 8;
/// The first service of IPv6.
pub const V6_SERVICE: u16 = 5;

/// The backend that was never heard of.
pub const SILENT: usize = 4;

/// Services by number, with their deployments: those of IPv4, and from [`V6_SERVICE`] on those of IPv6, which
/// switch together with them.
pub const SERVICES: [(SocketAddr, u16); 10] = [
    (WEB, 0),
    (PLAIN, 0),
    (EDGE, 1),
    (ODD, 2),
    (UNREADY, 3),
    (v6(WEB), 0),
    (v6(PLAIN), 0),
    (v6(EDGE), 1),
    (v6(ODD), 2),
    (v6(UNREADY), 3),
];
/// VIPs, and whether they drop what is sent to a port that is no service.
pub const VIPS: [(IpAddr, bool); 8] = [
    (ip(203, 0, 113, 10), false),
    (ip(203, 0, 113, 11), true),
    (ip(203, 0, 113, 12), false),
    (ip(203, 0, 113, 13), false),
    (v6_ip(ip(203, 0, 113, 10)), false),
    (v6_ip(ip(203, 0, 113, 11)), true),
    (v6_ip(ip(203, 0, 113, 12)), false),
    (v6_ip(ip(203, 0, 113, 13)), false),
];

/// Makes the devices, with addresses and neighbours. Nothing is sent: the far ends only make the links
/// come up.
pub fn build(namespace: &Namespace) -> Result<()> {
    const DEVICES: [(&str, Mac, &str, &str, u16); 3] = [
        ("wan", WAN_MAC, "192.0.2.1/24", "2001:db8:c000::201/120", 1500),
        ("lan", LAN_MAC, "10.0.0.1/16", "2001:db8:a00::1/112", 1500),
        ("thin", THIN_MAC, "10.3.0.1/16", "2001:db8:a03::1/112", THIN_MTU),
    ];
    // The far ends would introduce themselves by IPv6, and those packets would be counted.
    namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let mut links = vec!["link set lo up".to_owned()];
    for (device, mac, _, _, mtu) in DEVICES {
        let mac = text(mac);
        links.push(format!("link add {device} address {mac} type veth peer name {device}-far"));
        links.push(format!("link set {device} mtu {mtu} up"));
        links.push(format!("link set {device}-far up"));
    }
    namespace.ip_all(&links)?;
    for (device, ..) in DEVICES {
        namespace.sysctl(&format!("net/ipv6/conf/{device}/disable_ipv6"), "0")?;
        for version in ["ipv4", "ipv6"] {
            namespace.sysctl(&format!("net/{version}/conf/{device}/forwarding"), "1")?;
        }
        // A reply that goes to the kernel carries the VIP as its source, which may be a local address.
        namespace.sysctl(&format!("net/ipv4/conf/{device}/accept_local"), "1")?;
        namespace.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    namespace.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    let mut addresses = Vec::new();
    for (device, _, address, v6_address, _) in DEVICES {
        addresses.push(format!("addr add {address} dev {device}"));
        addresses.push(format!("addr add {v6_address} dev {device} nodad"));
    }
    for (address, mac, device) in [
        (CLIENT.ip(), CLIENT_MAC, "wan"),
        (THIN_CLIENT.ip(), CLIENT_MAC, "thin"),
        (BACKENDS[6].address.ip(), BACKENDS[6].mac, "wan"),
        (BACKENDS[0].address.ip(), BACKENDS[0].mac, "lan"),
        (BACKENDS[1].address.ip(), BACKENDS[1].mac, "lan"),
        (BACKENDS[5].address.ip(), BACKENDS[5].mac, "thin"),
        (EXCLUDED_CLIENT.ip(), CLIENT_MAC, "wan"),
    ] {
        addresses.extend([address, v6_ip(address)].map(|address| neighbour_command(address, mac, device)));
    }
    namespace.ip_all(&addresses)
}

/// Makes a neighbour known for good.
pub fn neighbour(namespace: &Namespace, address: IpAddr, mac: Mac, device: &str) -> Result<()> {
    namespace.ip_all(&[neighbour_command(address, mac, device)])
}

/// What [`Namespace::ip_all`] makes a neighbour known for good by.
pub fn neighbour_command(address: IpAddr, mac: Mac, device: &str) -> String {
    format!("neigh replace {address} lladdr {} dev {device} nud permanent", text(mac))
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
