//! The ways out of the twin's world.

use std::net::{IpAddr, Ipv6Addr};

use super::world::{Device, v4};
use crate::packets::craft::Mac;
use crate::packets::world::v6_ip;

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

/// The router to most clients.
const ROUTER: (IpAddr, Mac) = (v4(192, 0, 2, 254), [2, 0, 0, 0, 9, 254]);

/// The router to some backends.
const INNER: (IpAddr, Mac) = (v4(10, 0, 0, 254), [2, 0, 0, 0, 0, 254]);

/// All ways out; the longest prefix counts.
pub fn ways() -> impl Iterator<Item = (IpAddr, u32, Way)> {
    let over_v6 = WAYS.into_iter().map(|(prefix, length, way)| {
        let way = match way {
            Way::By(device, router, mac) => Way::By(device, v6_ip(router), mac),
            other => other,
        };
        (v6_ip(prefix), if length == 0 { 0 } else { 96 + length }, way)
    });
    WAYS.into_iter().chain(over_v6).chain(OWN)
}

/// Ways that both have.
const WAYS: [(IpAddr, u32, Way); 23] = [
    (v4(0, 0, 0, 0), 0, Way::Local),
    (v4(192, 0, 2, 0), 24, Way::Silent),
    (v4(192, 0, 2, 1), 32, Way::Local),
    (v4(192, 0, 2, 7), 32, Way::To(Device::Wan, [2, 0, 0, 0, 9, 7])),
    (v4(192, 0, 2, 50), 32, Way::To(Device::Wan, [2, 0, 0, 0, 9, 50])),
    (ROUTER.0, 32, Way::To(Device::Wan, ROUTER.1)),
    (v4(198, 51, 100, 0), 24, Way::By(Device::Wan, ROUTER.0, ROUTER.1)),
    (v4(10, 0, 0, 0), 16, Way::Silent),
    (v4(10, 0, 0, 1), 32, Way::Local),
    (v4(10, 0, 1, 1), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 1])),
    (v4(10, 0, 1, 2), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 2])),
    (v4(10, 0, 1, 3), 32, Way::To(Device::Lan, [2, 0, 0, 0, 1, 3])),
    (v4(10, 0, 2, 1), 32, Way::To(Device::Lan, [2, 0, 0, 0, 2, 1])),
    (v4(10, 0, 2, 2), 32, Way::To(Device::Lan, [2, 0, 0, 0, 2, 2])),
    (INNER.0, 32, Way::To(Device::Lan, INNER.1)),
    (v4(10, 4, 0, 0), 16, Way::By(Device::Lan, INNER.0, INNER.1)),
    (v4(10, 3, 0, 0), 16, Way::Silent),
    (v4(10, 3, 0, 1), 32, Way::Local),
    (v4(10, 3, 0, 2), 32, Way::To(Device::Thin, [2, 0, 0, 0, 3, 2])),
    (v4(10, 3, 0, 7), 32, Way::To(Device::Thin, [2, 0, 0, 0, 3, 7])),
    (v4(100, 64, 9, 0), 24, Way::Refused("unreachable")),
    (v4(100, 64, 10, 0), 24, Way::Refused("blackhole")),
    (v4(100, 64, 11, 0), 24, Way::Refused("prohibit")),
];

/// Ways that only one has: the subnets' broadcast addresses, those of any router in a subnet (RFC 4291,
/// 2.6.1), and multicast, which only over IPv6 can be the destination of a reply.
const OWN: [(IpAddr, u32, Way); 7] = [
    (v4(192, 0, 2, 255), 32, Way::Local),
    (v4(10, 0, 255, 255), 32, Way::Local),
    (v4(10, 3, 255, 255), 32, Way::Local),
    (v6_ip(v4(192, 0, 2, 0)), 128, Way::Local),
    (v6_ip(v4(10, 0, 0, 0)), 128, Way::Local),
    (v6_ip(v4(10, 3, 0, 0)), 128, Way::Local),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8, Way::Local),
];
