//! Attaching: the program on every interface, held by pinned links; the VIPs on the node; and the way
//! back. A link that is pinned already gets the new program in one exchange, without a lost packet.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::XdpMode;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use bg_common::abi::{INTERFACE_PROBES, INTERFACES, Interface};
use tracing::warn;

use super::bpffs::PinDirectory;
use super::maps::Maps;
use super::netlink::{Link, Netlink};
use super::offloads::{self, Surroundings};
use super::refused::{Refused, Source, attach_error, fallen_back, number, word};
use super::{Error, program, sysctl};
use crate::{boundary, config};

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

/// An interface that carries the program.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// Whether the driver runs the program.
    pub native: bool,
    /// What an operator should know about it, in sentences.
    pub warnings: Vec<String>,
}

impl Attachment {
    /// `native` or `generic`.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        word(self.native)
    }
}

/// An interface that is to carry the program.
struct Port {
    link: Link,
    surroundings: Surroundings,
    /// Where its link is pinned.
    path: PathBuf,
    /// The pinned link, if it carries the program already.
    held: Option<PinnedLink>,
    accept_local_set: bool,
}

/// Puts the program with this number on the interfaces, all of them in one mode: what a driver runs can be sent
/// on only by an interface whose driver knows of XDP too, or it is lost.
pub(super) async fn attach(
    (ebpf, number): (&mut Ebpf, u32),
    pins: &PinDirectory,
    maps: &Maps,
    netlink: &Netlink,
    node: &config::Node,
) -> Result<Vec<Attachment>, Error> {
    let links = netlink.links().await?;
    let mut ports = Vec::new();
    for interface in &node.interfaces {
        ports.push(Port::new(netlink.link(interface).await?, &links, pins, maps).await?);
    }
    let carried = carried_mode(&ports, node.xdp_mode)?;
    let native = carried.unwrap_or(node.xdp_mode != config::XdpMode::Generic);
    let mut why = None;
    let (native, mut fresh) = match attach_new(ebpf, &ports, native) {
        Ok(fresh) => (native, fresh),
        Err(refused)
            if node.xdp_mode == config::XdpMode::Auto && carried.is_none() && refused.falls_back() =>
        {
            why = Some(refused.to_string());
            (false, attach_new(ebpf, &ports, false).map_err(|refused| refused.error(false))?)
        }
        Err(refused) => return Err(refused.error(carried.is_some())),
    };
    let mut attachments = Vec::new();
    for port in &mut ports {
        let Port { link, surroundings, path, held, accept_local_set } = port;
        let interface = &link.name;
        let fail = |source| attach_error(interface, native, source);
        let mut warnings = Vec::new();
        if let Some(pinned) = held.take() {
            // What broke while it was attached is not mended by an agent that does not start.
            match surroundings.judge(native) {
                Ok(warning) => warnings.extend(warning),
                Err(error) => warnings.push(error.to_string().replace("\n  help: ", "; ")),
            }
            if link.program != Some(number) {
                replace(ebpf, pinned).map_err(fail)?;
            }
        } else {
            warnings.extend(surroundings.judge(native)?);
            fresh.remove(0).pin(&*path).map_err(|e| fail(e.into()))?;
        }
        if !*accept_local_set && sysctl::accept_local(interface)? {
            set_accept_local(maps, link.index, 1);
        }
        for warning in &warnings {
            warn!(interface, "{warning}");
        }
        attachments.push(Attachment { interface: interface.clone(), native, warnings });
        boundary::pass("attached");
    }
    if !native && node.xdp_mode == config::XdpMode::Auto {
        let warning = fallen_back(why.as_deref());
        warn!("{warning}");
        attachments.first_mut().into_iter().for_each(|first| first.warnings.push(warning.clone()));
    }
    Ok(attachments)
}

impl Port {
    async fn new(link: Link, links: &[Link], pins: &PinDirectory, maps: &Maps) -> Result<Self, Error> {
        let path = pins.link(&link.name);
        let accept_local_set = register(maps, &link, links)?;
        let held = held(&path, &link)?;
        if let (None, Some(program)) = (&held, link.program) {
            return Err(Error::Busy { name: link.name, program });
        }
        let surroundings = offloads::surroundings(&link, links).await?;
        Ok(Self { link, surroundings, path, held, accept_local_set })
    }
}

/// Whether the interfaces that carry the program already do so in native mode; `None` if none does. It is not
/// changed: that would lose packets.
fn carried_mode(ports: &[Port], wanted: config::XdpMode) -> Result<Option<bool>, Error> {
    let Some(port) = ports.iter().find(|port| port.held.is_some()) else { return Ok(None) };
    let native = port.link.native;
    if wanted == config::XdpMode::Auto || native == (wanted == config::XdpMode::Native) {
        return Ok(Some(native));
    }
    Err(Error::Mismatch {
        what: format!(
            "`xdp_mode` is {wanted}, but `{}` carries the program in {} mode",
            port.link.name,
            word(native)
        ),
        help: "put the old mode back; or `bgd detach` (traffic stops) and start anew".to_owned(),
    })
}

/// Attaches to all interfaces that do not carry the program yet, or to none. Nothing stays that is not pinned,
/// so that an agent that dies in here leaves no node that is half in one mode.
fn attach_new(ebpf: &mut Ebpf, ports: &[Port], native: bool) -> Result<Vec<FdLink>, Refused> {
    let flags = if native { XdpMode::Driver } else { XdpMode::Skb };
    let attach_one = |port: &Port| {
        port.surroundings.judge(native).map_err(|error| Refused::Offload(Box::new(error)))?;
        let refused = |source: Source, number| Refused::Driver {
            interface: port.link.name.clone(),
            native,
            source,
            number,
        };
        let program = program::program(ebpf).map_err(|e| refused(e, None))?;
        let id = program.attach_to_if_index(port.link.index, flags).map_err(|error| {
            let number = number(&error);
            refused(error.into(), number)
        })?;
        let link = program.take_link(id).map_err(|e| refused(e.into(), None))?;
        link.try_into().map_err(|e: aya::programs::links::LinkError| refused(e.into(), None))
    };
    ports.iter().filter(|port| port.held.is_none()).map(attach_one).collect()
}

/// Gives a pinned link the new program.
fn replace(ebpf: &mut Ebpf, pinned: PinnedLink) -> Result<(), Source> {
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
    let fail = |source: Source| Error::Map { name: "link", act: "opening the pinned link", source };
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
