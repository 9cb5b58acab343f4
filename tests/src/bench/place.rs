//! Who is where: the addresses of clients, services and backends, of both versions of IP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::lab::namespace::Namespace;
use crate::packets::world::{self, BACKENDS, CLIENT};

/// Version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// A group of consecutive addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The first of IPv4.
    v4: [u8; 4],
    /// The network of IPv6; the last four bytes are counted.
    v6: Ipv6Addr,
    /// The port of all of them.
    pub(super) port: u16,
}

const fn network(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0)
}

/// Clients: 65,536 of them.
pub(super) const CLIENTS: Group = Group { v4: [100, 64, 0, 0], v6: network(0xc1), port: 1024 };
/// Services.
pub(super) const VIPS: Group = Group { v4: [198, 18, 0, 0], v6: network(0x51), port: 443 };
/// Backends.
pub(super) const HOSTS: Group = Group { v4: [10, 128, 0, 0], v6: network(0xb1), port: 8080 };
/// Backends on a link of the node, which have the VIPs and listen on their port.
pub(super) const NEIGHBOURS: Group = Group { v4: [10, 144, 0, 0], v6: network(0xb2), port: 443 };
/// Destinations that are none of our business: 65,536 of them.
pub(super) const STRANGERS: Group = Group { v4: [100, 80, 0, 0], v6: network(0xe1), port: 443 };

impl Group {
    /// Member `number`.
    pub(super) fn member(&self, version: Version, number: u32) -> SocketAddr {
        let address = match version {
            Version::V4 => IpAddr::V4(Ipv4Addr::from_bits(self.first(version) + number)),
            Version::V6 => {
                let number = u128::from(self.first(version) + number);
                IpAddr::V6(Ipv6Addr::from_bits(self.v6.to_bits() + number))
            }
        };
        SocketAddr::new(address, self.port)
    }

    /// The last four bytes of the first member.
    pub(super) const fn first(&self, version: Version) -> u32 {
        match version {
            Version::V4 => u32::from_be_bytes(self.v4),
            Version::V6 => 1,
        }
    }

    /// The network that all members are in.
    fn network(&self, version: Version) -> String {
        match version {
            Version::V4 => format!("{}/12", Ipv4Addr::from(self.v4)),
            Version::V6 => format!("{}/96", self.v6),
        }
    }
}

/// Makes the devices, and routes to clients and backends by one router each: as many next hops as a node has
/// whose clients and backends are elsewhere. So many backends are on a link besides, and known there.
pub(super) fn build(namespace: &Namespace, neighbours: u16) -> Result<()> {
    world::build(namespace)?;
    for (group, router, device) in [(CLIENTS, CLIENT.ip(), "wan"), (HOSTS, BACKENDS[0].address.ip(), "lan")] {
        for (version, router) in [(Version::V4, router), (Version::V6, world::v6_ip(router))] {
            let (to, by) = (group.network(version), router.to_string());
            let flag = if version == Version::V4 { "-4" } else { "-6" };
            namespace.ip(&[flag, "route", "add", &to, "via", &by, "dev", device])?;
        }
    }
    namespace.ip(&["route", "add", &NEIGHBOURS.network(Version::V4), "dev", "lan"])?;
    // Of IPv4 alone, as the cases are that need them; what is permanent is not limited in number.
    let known = (0..neighbours.into()).map(|number| {
        let address = NEIGHBOURS.member(Version::V4, number).ip();
        world::neighbour_command(address, BACKENDS[0].mac, "lan")
    });
    namespace.ip_all(&known.collect::<Vec<_>>())
}
