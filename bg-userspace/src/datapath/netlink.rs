//! Interfaces, addresses and changes of routes, by rtnetlink.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteVia};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_connection, new_multicast_connection};
use tokio::sync::mpsc;

use super::Error;

/// Changes within this time are told together.
const SETTLE: Duration = Duration::from_millis(200);

/// What the agent needs to know of an interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: [u8; 6],
    /// The XDP program on it, by its id.
    pub(super) program: Option<u32>,
    /// Whether the driver runs it, not the generic path.
    pub(super) native: bool,
    /// The interface that this one stands on, such as a VLAN device on a card.
    pub(super) lower: Option<u32>,
    /// The bridge or bond that this one belongs to.
    pub(super) controller: Option<u32>,
    /// Whether it is a VLAN device.
    pub(super) is_vlan: bool,
    /// Whether it is an end of a veth pair.
    pub(super) is_veth: bool,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self { index: message.header.index, ..Self::default() };
        // What is the other end of a pair, or in another namespace, is not below.
        let mut is_elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(address) => {
                    link.mac = address.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Link(lower) => link.lower = Some(lower),
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
                LinkAttribute::Controller(controller) => link.controller = Some(controller),
                LinkAttribute::LinkInfo(parts) => {
                    for part in parts {
                        if let LinkInfo::Kind(kind) = part {
                            link.is_vlan = kind == InfoKind::Vlan;
                            link.is_veth = kind == InfoKind::Veth;
                            is_elsewhere |= matches!(kind, InfoKind::Veth | InfoKind::Netkit);
                        }
                    }
                }
                LinkAttribute::Xdp(parts) => {
                    for part in parts {
                        match part {
                            LinkXdp::ProgId(id) => link.program = Some(id),
                            LinkXdp::Attached(how) => link.native = how == XdpAttached::Driver,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if is_elsewhere {
            link.lower = None;
        }
        link
    }
}

/// A connection to rtnetlink.
pub(super) struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens it; must be called within a tokio runtime.
    pub(super) fn open() -> Result<Self, Error> {
        let (connection, handle, _) = new_connection().map_err(|e| fail("opening a netlink socket", e))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Every interface.
    pub(super) async fn links(&self) -> Result<Vec<Link>, Error> {
        let messages: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| fail("listing the interfaces", e))?;
        Ok(messages.into_iter().map(Link::from).collect())
    }

    /// The interface of that name.
    pub(super) async fn link(&self, name: &str) -> Result<Link, Error> {
        let links = self.links().await?;
        links.iter().find(|link| link.name == name).cloned().ok_or_else(|| Error::NoInterface {
            name: name.to_owned(),
            found: links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Adds an address to an interface. Returns whether it was not there before.
    pub(super) async fn add_address(&self, interface: &str, address: IpAddr) -> Result<bool, Error> {
        let link = self.link(interface).await?;
        let mut request = self.handle.address().add(link.index, address, full_length(address));
        if address.is_ipv6() {
            keep_to_clients(request.message_mut());
        }
        match request.execute().await {
            Ok(()) => Ok(true),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::EEXIST => Ok(false),
            Err(error) => Err(fail(&format!("adding {address} to {interface}"), error)),
        }
    }

    /// How an address is reached, as the routing table has it; `None` if it is not.
    pub(super) async fn way(&self, to: IpAddr) -> Result<Option<Way>, Error> {
        let prefix = RouteMessageBuilder::<IpAddr>::new().destination_prefix(to, full_length(to));
        let message = prefix.map_err(|e| fail(&format!("asking for the route to {to}"), e))?.build();
        let answers: Result<Vec<_>, _> = self.handle.route().get(message).execute().try_collect().await;
        let answer = match answers {
            Ok(answers) => answers.into_iter().next(),
            Err(rtnetlink::Error::NetlinkError(error))
                if [-libc::ENETUNREACH, -libc::EHOSTUNREACH].contains(&error.raw_code()) =>
            {
                None
            }
            Err(error) => return Err(fail(&format!("asking for the route to {to}"), error)),
        };
        let Some(answer) = answer else { return Ok(None) };
        let mut way = Way { gateway: None, interface: 0 };
        for attribute in answer.attributes {
            match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet(router)) => way.gateway = Some(router.into()),
                RouteAttribute::Gateway(RouteAddress::Inet6(router))
                | RouteAttribute::Via(RouteVia::Inet6(router)) => way.gateway = Some(router.into()),
                RouteAttribute::Oif(interface) => way.interface = interface,
                _ => {}
            }
        }
        Ok(Some(way))
    }

    /// Has a neighbour asked for, if its hardware address is not known.
    pub(super) async fn ask_for(&self, neighbour: IpAddr, interface: u32) -> Result<(), Error> {
        let request = self.handle.neighbours().add(interface, neighbour);
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        request.execute().await.map_err(|e| fail(&format!("asking for the neighbour {neighbour}"), e))
    }

    /// Removes an address from whichever interface has it.
    pub(super) async fn remove_address(&self, address: IpAddr) -> Result<(), Error> {
        let request = self.handle.address().get().set_address_filter(address).execute();
        let messages: Vec<_> =
            request.try_collect().await.map_err(|e| fail(&format!("looking for {address}"), e))?;
        for message in messages {
            self.handle
                .address()
                .del(message)
                .execute()
                .await
                .map_err(|e| fail(&format!("removing {address}"), e))?;
        }
        Ok(())
    }
}

/// How this node reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The router that it is behind; `None` if it is on a link of the node.
    pub(super) gateway: Option<IpAddr>,
    /// The interface.
    pub(super) interface: u32,
}

/// The hardware addresses of all interfaces, by index.
///
/// # Errors
/// When netlink does not answer.
pub async fn hardware_addresses() -> Result<Vec<(u32, [u8; 6])>, Error> {
    let links = Netlink::open()?.links().await?;
    Ok(links.into_iter().map(|link| (link.index, link.mac)).collect())
}

/// Sends a unit whenever a route, rule, neighbour, link or address changes. Changes that come together are
/// told once.
pub fn watch() -> Result<mpsc::Receiver<()>, Error> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv6Rule,
    ];
    let (connection, _, mut messages) =
        new_multicast_connection(&groups).map_err(|e| fail("watching routes and neighbours", e))?;
    tokio::spawn(connection);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while messages.next().await.is_some() {
            // A full channel means that a notice is waiting already, which covers this change too.
            if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                return;
            }
            // Neighbours change state all the time; every notice costs each destination a routing lookup.
            tokio::time::sleep(SETTLE).await;
            while messages.next().now_or_never().flatten().is_some() {}
            // What came meanwhile is told after the pause, not lost.
            if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Makes an IPv6 address one that is there for its clients alone. No duplicate is looked for: every node
/// has it, and until the kernel knew, it would be nobody's. And it counts as deprecated, so that the node
/// does not open connections of its own from it; an IPv4 address on another interface is not used so.
fn keep_to_clients(message: &mut AddressMessage) {
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = u32::MAX; // for ever
    lifetime.ifa_preferred = 0;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
}

fn full_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn fail(act: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Netlink { act: act.to_owned(), source: source.into() }
}
