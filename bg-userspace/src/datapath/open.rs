//! Opening the data plane: everything is checked before anything is touched; what is pinned is adopted,
//! what is missing is made; then the program is attached and the VIPs are added. And the way back.

use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;

use bg_common::tables::Tables as _;
use tracing::warn;

use super::bpffs::PinDirectory;
use super::counters::Counters;
use super::directory::{Deployment, Directory};
use super::grace::Grace;
use super::idle::Testers;
use super::layout::Sizes;
use super::maps::Maps;
use super::netlink::Netlink;
use super::pins::Pins;
use super::restore::Past;
use super::tunnels::Tunnels;
use super::{Datapath, Error, attach, exclude, install, onlink, program, stages, sysctl};
use crate::boundary;
use crate::config::Config;
use crate::journal::{self, Journal, Record};

/// The opened data plane.
pub struct Opened {
    /// It.
    pub datapath: Datapath,
    /// What it serves.
    pub deployments: Vec<Deployment>,
    /// Whether the maps were there already: traffic has been flowing.
    pub adopted: bool,
    /// Whether they were made anew from the journal, after a reboot or `bgd detach`: pins are lost.
    pub restored: bool,
}

impl Datapath {
    /// Opens the data plane for a configuration. Where nothing is pinned, what the journal knows is restored.
    ///
    /// # Errors
    /// When something is wrong or missing; then nothing that was attached before has changed.
    pub async fn open(config: &Config, journal: &Journal, record: Option<&Record>) -> Result<Opened, Error> {
        require_rights()?;
        let netlink = Netlink::open()?;
        for interface in config.node.interfaces.iter().chain([&config.node.vip_interface]) {
            netlink.link(interface).await?;
        }
        if config.has_ipv4() {
            sysctl::require_ipv4(&config.node.interfaces)?;
        }
        if config.has_ipv6() {
            sysctl::require_ipv6(config)?;
        }
        for interface in &config.node.interfaces {
            if sysctl::filters_strictly(interface)? {
                warn!(
                    interface,
                    "rp_filter is strict here: packets whose neighbour is not known yet may be lost; `sysctl -w net.ipv4.conf.{interface}.rp_filter=2` mends it"
                );
            }
        }
        onlink::require(&netlink, config).await?;
        let pins = PinDirectory::open(&config.node.pin_dir)?;
        let sizes = Sizes::new(&config.limits);
        let adopted = !pins.links()?.is_empty();
        if adopted {
            sizes.check(pins.path())?;
        } else {
            // Without a link nothing is attached: what is pinned is left from a first load that did not
            // get to its end.
            pins.clear()?;
        }
        let past = Past::new(journal, record);
        let opened = Self::load(config, pins, &sizes, &netlink, adopted, &past).await;
        if opened.is_err() && !adopted {
            // A first load that failed leaves nothing behind; its own error is the one to tell.
            if let Err(error) = detach(config).await {
                tracing::error!(%error, "taking back what was attached");
            }
        }
        opened
    }

    async fn load(
        config: &Config,
        pins: PinDirectory,
        sizes: &Sizes,
        netlink: &Netlink,
        adopted: bool,
        past: &Past<'_>,
    ) -> Result<Opened, Error> {
        let mut ebpf = program::open(sizes, pins.path())?;
        let interfaces = &config.node.interfaces;
        let carried = attach::carried(&pins, netlink, interfaces).await?;
        // What is there already goes on, and the kernel need not verify it again.
        let stages = carried.and_then(|program| stages::Pinned::of(&pins, program));
        if stages.is_none() {
            program::load(&mut ebpf)?;
        }
        let maps = Maps::new(&ebpf, sizes)?;
        let mut grace = Grace::new(&mut ebpf)?;
        if adopted {
            adopt(&maps, config, past)?;
            Pins::new(&maps).exhume(&mut grace)?;
        } else {
            let key = past.key().map_or_else(install::draw_key, Ok)?;
            install::initialise(&maps, sizes, key);
        }
        install::install_new(&maps, config, past)?;
        exclude::exclude(&mut ebpf, &maps, config)?;
        let tunnels = Tunnels::new(&config.node);
        (0..maps.backends.len()).for_each(|id| tunnels.set(&maps, id));
        boundary::pass("installed");
        // The neighbours and routes of another day.
        maps.node().route_epoch.fetch_add(1, SeqCst);
        let stages = stages.map_or_else(|| stages::pin(&mut ebpf, &pins), Ok)?;
        boundary::pass("stages pinned");
        let program = (&mut ebpf, stages.program);
        let attachments = attach::attach(program, &pins, &maps, netlink, &config.node).await?;
        for interface in pins.links()? {
            if !interfaces.contains(&interface) {
                attach::detach(&pins, &interface)?;
            }
        }
        // Packets that the old program took are still in its stages.
        grace.wait()?;
        stages.remove_others(&pins)?;
        boundary::pass("old stages removed");
        let mut deployments = Directory::new(&maps).installed();
        for deployment in &mut deployments {
            if let Some(wanted) = config.deployments.get(&deployment.name) {
                deployment.follow(wanted);
            }
        }
        attach::add_vips(&maps, netlink, &config.node.vip_interface, vips(&deployments)).await?;
        boundary::pass("VIPs added");
        let counters = Counters::new(&mut ebpf)?;
        let testers = Testers::new(&mut ebpf)?;
        let datapath =
            Self { maps, grace, counters, tunnels, testers, attachments, _pins: pins, _ebpf: ebpf };
        Ok(Opened { datapath, deployments, adopted, restored: !adopted && past.key().is_some() })
    }
}

fn vips(deployments: &[Deployment]) -> impl Iterator<Item = (u16, IpAddr)> {
    let services = deployments.iter().flat_map(|deployment| &deployment.services);
    services.flat_map(|service| {
        let preview = service.preview.map(|preview| (preview.id, preview.vip.ip()));
        [Some((service.id, service.vip.ip())), preview].into_iter().flatten()
    })
}

/// Compares what is installed with what is configured and with the journal. Deployments may have been
/// added and backends may be others, which the agent makes a switch of; nothing else may differ.
fn adopt(maps: &Maps, config: &Config, past: &Past<'_>) -> Result<(), Error> {
    if past.key().is_some_and(|key| key != maps.node().key) {
        return Err(Error::Mismatch {
            what: "the journal is of another first load of the program".to_owned(),
            help: format!(
                "move {} away, and bgd goes by what the kernel holds",
                config.node.state_dir.join(journal::FILE).display()
            ),
        });
    }
    let directory = Directory::new(maps);
    for installed in directory.installed() {
        let name = &installed.name;
        let help =
            "put the old configuration back; or `bgd detach` (traffic stops) and start anew".to_owned();
        let Some(wanted) = config.deployments.get(name) else {
            return Err(Error::Mismatch { what: format!("deployment `{name}` is gone"), help });
        };
        if let Some(what) = directory.difference(&installed, wanted) {
            return Err(Error::Mismatch { what: format!("in deployment `{name}`, {what}"), help });
        }
    }
    Ok(())
}

/// Whether this process may do what the data plane takes.
///
/// # Errors
/// When it may not.
pub fn require_rights() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::Rights("it runs as another user")) }
}

/// Ends the node's duty: VIPs away, program off the interfaces, pins removed. Traffic stops. Returns whether
/// the program was on any interface.
///
/// # Errors
/// When an agent is running, or something could not be removed.
pub async fn detach(config: &Config) -> Result<bool, Error> {
    require_rights()?;
    let pins = PinDirectory::open(&config.node.pin_dir)?;
    let interfaces = pins.links()?;
    let netlink = Netlink::open()?;
    if !interfaces.is_empty() {
        let sizes = Sizes::new(&config.limits);
        // With maps of another shape the VIPs are not known; the program goes all the same.
        if sizes.check(pins.path()).is_ok() {
            let ebpf = program::open(&sizes, pins.path())?;
            let maps = Maps::new(&ebpf, &sizes)?;
            for (service, vip) in vips(&Directory::new(&maps).installed()) {
                if maps.names.read(service.into()).is_some_and(|name| name.vip_added != 0) {
                    netlink.remove_address(vip).await?;
                }
            }
            for link in netlink.links().await? {
                if interfaces.contains(&link.name) && attach::accept_local_is_ours(&maps, link.index) {
                    sysctl::restore_accept_local(&link.name)?;
                }
            }
        }
        for interface in &interfaces {
            attach::detach(&pins, interface)?;
        }
    }
    pins.remove()?;
    Ok(!interfaces.is_empty())
}
