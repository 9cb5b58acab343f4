//! Backends of mode dsr are on a link of this node: a packet to the VIP that went to a router would come back, and one
//! for which no hardware address is known is lost, because the kernel would take it for itself.

use std::net::IpAddr;

use super::Error;
use super::netlink::Netlink;
use crate::config::{Config, Mode};

/// Makes sure of it.
pub(super) async fn require(netlink: &Netlink, config: &Config) -> Result<(), Error> {
    for backend in backends(config) {
        if let Some(gateway) = netlink.way(backend).await?.and_then(|way| way.gateway) {
            return Err(Error::BehindRouter { backend, gateway });
        }
    }
    Ok(())
}

/// The same, for who cannot wait otherwise. To be called within a tokio runtime, where a thread may block.
///
/// # Errors
/// When a backend is behind a router, or netlink does not answer.
pub fn require_on_link(config: &Config) -> Result<(), Error> {
    tokio::runtime::Handle::current().block_on(async { require(&Netlink::open()?, config).await })
}

/// Has the kernel ask for the hardware addresses that it does not know.
///
/// # Errors
/// When netlink does not answer.
pub fn resolve_neighbours(config: &Config) -> Result<(), Error> {
    tokio::runtime::Handle::current().block_on(async {
        let netlink = Netlink::open()?;
        for backend in backends(config) {
            if let Some(way) = netlink.way(backend).await? {
                netlink.ask_for(backend, way.interface).await?;
            }
        }
        Ok(())
    })
}

fn backends(config: &Config) -> impl Iterator<Item = IpAddr> + '_ {
    let services = config.deployments.values().flat_map(|deployment| deployment.services.values());
    let direct = services.filter(|service| service.mode == Mode::Dsr);
    direct.flat_map(|service| service.blue.iter().chain(&service.green)).map(|backend| backend.address.ip())
}
