//! The world of the twin for the kernel: devices, addresses, routes and neighbours in a namespace.

use anyhow::Result;

use super::world::{Device, SILENT, SILENT_MAC, Way, ways};
use crate::lab::namespace::Namespace;
use crate::packets::craft::Mac;

/// Makes the devices, with addresses, routes and neighbours. Nothing is ever sent: the far ends only make
/// the links come up.
pub fn build(namespace: &Namespace) -> Result<()> {
    // The far ends would introduce themselves by IPv6, and those packets would be counted.
    namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    namespace.ip(&["link", "set", "lo", "up"])?;
    for device in Device::ALL {
        let (name, mtu) = (device.name(), device.mtu().to_string());
        let far = format!("{name}-far");
        let mac = text(device.mac());
        namespace.ip(&["link", "add", name, "address", &mac, "type", "veth", "peer", "name", &far])?;
        namespace.ip(&["link", "set", name, "mtu", &mtu, "up"])?;
        namespace.ip(&["link", "set", &far, "up"])?;
        namespace.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
        for (address, length) in device.addresses() {
            // At once: nobody looks for duplicates.
            let how = if address.is_ipv6() { &["nodad"][..] } else { &[] };
            let address = format!("{address}/{length}");
            namespace.ip(&[&["addr", "add", &address, "dev", name], how].concat())?;
        }
        for version in ["ipv4", "ipv6"] {
            namespace.sysctl(&format!("net/{version}/conf/{name}/forwarding"), "1")?;
        }
    }
    for (prefix, length, way) in ways() {
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
    SILENT.iter().map(ToString::to_string).try_for_each(|at| {
        if known {
            neighbour(namespace, &at, SILENT_MAC, Device::Lan)
        } else {
            namespace.ip(&["neigh", "del", &at, "dev", Device::Lan.name()]).map(drop)
        }
    })
}

fn neighbour(namespace: &Namespace, address: &str, mac: Mac, device: Device) -> Result<()> {
    let mac = text(mac);
    let known = ["lladdr", &mac, "dev", device.name(), "nud", "permanent"];
    namespace.ip(&[&["neigh", "replace", address], &known[..]].concat()).map(drop)
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
