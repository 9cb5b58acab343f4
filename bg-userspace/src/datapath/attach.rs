//! Attaching: the program on every interface, held by pinned links; the VIPs on the node; and the way
//! back. A link that is pinned already gets the new program in one exchange, without a lost packet.

use std::net::IpAddr;
use std::path::Path;

use aya::Ebpf;
use aya::programs::XdpMode;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use bg_common::abi::{INTERFACE_PROBES, INTERFACES, Interface};

use super::bpffs::PinDirectory;
use super::maps::Maps;
use super::netlink::{Link, Netlink};
use super::{Error, program, sysctl};
use crate::config;

/// The number of the one program that all these interfaces carry by their pinned links.
pub(super) async fn carried(
    pins: &PinDirectory,
    netlink: &Netlink,
    interfaces: &[String],
) -> Result<Option<u32>, Error> {
    let mut carried = None;
    for interface in interfaces {
        let link = netlink.link(interface).await?;
        if held(&pins.link(interface), &link)?.is_none() || carried.is_some_and(|id| Some(id) != link.program)
        {
            return Ok(None);
        }
        carried = link.program;
    }
    Ok(carried)
}

/// Puts the program with this number on an interface.
pub(super) async fn attach(
    (ebpf, number): (&mut Ebpf, u32),
    pins: &PinDirectory,
    maps: &Maps,
    netlink: &Netlink,
    interface: &str,
    mode: config::XdpMode,
) -> Result<(), Error> {
    let link = netlink.link(interface).await?;
    let path = pins.link(interface);
    let accept_local_set = register(maps, &link, &netlink.links().await?)?;
    if let Some(pinned) = held(&path, &link)? {
        if link.native != (mode == config::XdpMode::Native) {
            return Err(Error::Mismatch {
                what: format!(
                    "`xdp_mode` is {mode}, but `{interface}` carries the program in the other mode"
                ),
                help: "put the old mode back; or `bgd detach` (traffic stops) and start anew".to_owned(),
            });
        }
        if link.program != Some(number) {
            replace(ebpf, pinned).map_err(|e| attach_error(interface, mode, e))?;
        }
    } else {
        if let Some(program) = link.program {
            return Err(Error::Busy { name: interface.to_owned(), program });
        }
        let fail = |source| attach_error(interface, mode, source);
        let flags = match mode {
            config::XdpMode::Native => XdpMode::Driver,
            config::XdpMode::Generic => XdpMode::Skb,
        };
        let program = program::program(ebpf).map_err(Error::Program)?;
        let id = program.attach_to_if_index(link.index, flags).map_err(|e| fail(e.into()))?;
        let link = program.take_link(id).map_err(|e| fail(e.into()))?;
        let link: FdLink = link.try_into().map_err(|e: aya::programs::links::LinkError| fail(e.into()))?;
        link.pin(&path).map_err(|e| fail(e.into()))?;
    }
    if !accept_local_set && sysctl::accept_local(interface)? {
        set_accept_local(maps, link.index, 1);
    }
    Ok(())
}

/// Gives a pinned link the new program.
fn replace(ebpf: &mut Ebpf, pinned: PinnedLink) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let program = program::program(ebpf)?;
    let link: XdpLink = FdLink::from(pinned).try_into()?;
    let id = program.attach_to_link(link)?;
    // The pin holds the link; this handle to it is not needed any more.
    drop(program.take_link(id)?);
    Ok(())
}

/// Whether the pinned link still holds this interface. One whose interface is gone, or was made anew
/// under the same name, is removed.
fn held(path: &Path, link: &Link) -> Result<Option<PinnedLink>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Map {
        name: "link",
        act: "opening the pinned link",
        source,
    };
    let pinned = PinnedLink::from_pin(path).map_err(|e| fail(e.into()))?;
    let inner = FdLink::from(pinned);
    let program = inner.info().map_err(|e| fail(e.into()))?.program_id();
    if link.program == Some(program) {
        return Ok(Some(PinnedLink::from_pin(path).map_err(|e| fail(e.into()))?));
    }
    std::fs::remove_file(path).map_err(|source| Error::File {
        act: "removing the pin of a vanished interface,",
        path: path.into(),
        source,
    })?;
    Ok(None)
}

/// Takes a pinned link away: the program leaves the interface.
pub(super) fn detach(pins: &PinDirectory, interface: &str) -> Result<(), Error> {
    let path = pins.link(interface);
    std::fs::remove_file(&path).map_err(|source| Error::File { act: "removing pin", path, source })
}

/// Adds the VIPs that are not on the node yet. Until an address is there the kernel would not accept
/// packets for it; once it is, the program must be in front of it, or the kernel would answer live
/// connections with RST. Hence: after attaching, and away before detaching.
pub(super) async fn add_vips(
    maps: &Maps,
    netlink: &Netlink,
    interface: &str,
    vips: impl Iterator<Item = (u16, IpAddr)>,
) -> Result<(), Error> {
    for (service, vip) in vips {
        if netlink.add_address(interface, vip).await?
            && let Some(name) = maps.names.read(service.into())
        {
            maps.names.put(service.into(), bg_common::abi::ServiceName { vip_added: 1, ..name });
        }
    }
    Ok(())
}

/// Tells the program about an interface, by its index. An entry of an interface that is gone is used
/// again. Returns whether `accept_local` is ours already.
fn register(maps: &Maps, link: &Link, links: &[Link]) -> Result<bool, Error> {
    let places =
        (0..INTERFACE_PROBES).map(|probe| (link.index.wrapping_add(probe) & (INTERFACES - 1)) as usize);
    let entries: Vec<(usize, Interface)> =
        places.filter_map(|at| Some((at, maps.interfaces.read(at)?))).collect();
    if let Some((at, old)) = entries.iter().find(|(_, entry)| entry.index == link.index) {
        maps.interfaces.put(*at, Interface { mac: link.mac, ..*old });
        return Ok(old.accept_local_set != 0);
    }
    let unused = |entry: &Interface| entry.index == 0 || links.iter().all(|link| link.index != entry.index);
    let Some((at, _)) = entries.iter().find(|(_, entry)| unused(entry)) else {
        let limit = "nothing: 64 interfaces with well-spread indices are the most";
        return Err(Error::Full { table: "INTERFACES", what: link.name.clone(), limit });
    };
    let entry = Interface { index: link.index, mac: link.mac, accept_local_set: 0, pad: [0; 5] };
    maps.interfaces.put(*at, entry);
    Ok(false)
}

fn set_accept_local(maps: &Maps, index: u32, value: u8) {
    for at in 0..maps.interfaces.len() {
        if let Some(old) = maps.interfaces.read(at).filter(|old| old.index == index) {
            maps.interfaces.put(at, Interface { accept_local_set: value, ..old });
        }
    }
}

/// Whether the agent set `accept_local` on the interface with that index.
pub(super) fn accept_local_is_ours(maps: &Maps, index: u32) -> bool {
    maps.interfaces.iter().any(|entry| entry.index == index && entry.accept_local_set != 0)
}

fn attach_error(
    interface: &str,
    mode: config::XdpMode,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    let (mode, help) = match mode {
        config::XdpMode::Native => (
            "native",
            "does the driver support XDP, are its rx queues at least the peer's tx queues, its MTU at most 3506? \
             `xdp_mode = \"generic\"` under [node] works everywhere, slower",
        ),
        config::XdpMode::Generic => ("generic", "`dmesg | tail` may say more"),
    };
    Error::Attach { name: interface.to_owned(), mode, help, source }
}
