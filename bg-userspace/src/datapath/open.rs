//! Opening the data plane: everything is checked before anything is touched; what is pinned is adopted,
//! what is missing is made; then the program is attached and the VIPs are added. And the way back.

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};
use bg_common::abi::{Ledger, Node, live, motive};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::tables::Tables as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::bpffs::PinDirectory;
use super::counters::Counters;
use super::directory::{Deployment, Directory, address, finds, padded, socket_address};
use super::grace::Grace;
use super::layout::Sizes;
use super::maps::Maps;
use super::netlink::Netlink;
use super::pins::Pins;
use super::{Datapath, Error, attach, clock, program, sysctl};
use crate::config::Config;
use crate::maglev;

/// The opened data plane.
pub struct Opened {
    /// It.
    pub datapath: Datapath,
    /// What it serves.
    pub deployments: Vec<Deployment>,
    /// Whether the maps were there already: traffic has been flowing.
    pub adopted: bool,
}

impl Datapath {
    /// Opens the data plane for a configuration.
    ///
    /// # Errors
    /// When something is wrong or missing; then nothing that was attached before has changed.
    pub async fn open(config: &Config) -> Result<Opened, Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Rights("it runs as another user"));
        }
        let netlink = Netlink::open()?;
        for interface in config.node.interfaces.iter().chain([&config.node.vip_interface]) {
            netlink.link(interface).await?;
        }
        sysctl::require_forwarding()?;
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
        let opened = Self::load(config, pins, &sizes, &netlink, adopted).await;
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
    ) -> Result<Opened, Error> {
        let mut ebpf = program::load(sizes, pins.path())?;
        let maps = Maps::new(&ebpf, sizes)?;
        let mut grace = Grace::new(&mut ebpf)?;
        if adopted {
            adopt(&maps, config)?;
            Pins::new(&maps).exhume(&mut grace)?;
        } else {
            initialise(&maps, sizes)?;
            exclude(&mut ebpf, config)?;
        }
        install_new(&maps, config)?;
        // The neighbours and routes of another day.
        maps.node().route_epoch.fetch_add(1, SeqCst);
        for interface in &config.node.interfaces {
            attach::attach(&mut ebpf, &pins, &maps, netlink, interface, config.node.xdp_mode).await?;
        }
        for interface in pins.links()? {
            if !config.node.interfaces.contains(&interface) {
                attach::detach(&pins, &interface)?;
            }
        }
        let deployments = Directory::new(&maps).installed();
        attach::add_vips(&maps, netlink, &config.node.vip_interface, vips(&maps, &deployments)).await?;
        let counters = Counters::new(&mut ebpf)?;
        let datapath = Self { maps, grace, counters, _pins: pins, _ebpf: ebpf };
        Ok(Opened { datapath, deployments, adopted })
    }
}

fn vips(maps: &Maps, deployments: &[Deployment]) -> impl Iterator<Item = (u16, IpAddr)> {
    deployments.iter().flat_map(|deployment| &deployment.services).filter_map(|service| {
        let entry = maps.services.read(service.entry as usize)?;
        Some((service.id, socket_address(&entry.vip, entry.port).ip()))
    })
}

/// Compares what is installed with what is configured. Deployments may have been added, nothing else may
/// differ: a change of backends is a switch, and a restart is none.
fn adopt(maps: &Maps, config: &Config) -> Result<(), Error> {
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

fn initialise(maps: &Maps, sizes: &Sizes) -> Result<(), Error> {
    let mut key = [0; 4];
    for word in &mut key {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|e| {
            Error::File { act: "drawing the hash key from", path: "/dev/urandom".into(), source: e.into() }
        })?;
        *word = u64::from_ne_bytes(bytes);
    }
    let node = Node {
        key,
        service_mask: sizes.service_entries - 1,
        endpoint_mask: sizes.endpoint_entries - 1,
        pin_mask: sizes.pin_buckets - 1,
        recent_mask: sizes.recent_words - 1,
        census_mask: sizes.census_buckets - 1,
        route_epoch: AtomicU64::new(1),
        no_pins: u8::from(sizes.no_pins),
        vip_policy: 0,
        pad: [0; 2],
    };
    maps.node.put(0, node);
    Ok(())
}

/// Clients that speak to backends directly through this node.
fn exclude(ebpf: &mut Ebpf, config: &Config) -> Result<(), Error> {
    let fail =
        |act, source: Box<dyn std::error::Error + Send + Sync>| Error::Map { name: "EXCLUDED", act, source };
    let map = ebpf.take_map("EXCLUDED").ok_or_else(|| fail("looking it up", "it is not there".into()))?;
    let mut trie: LpmTrie<MapData, [u8; 16], u8> = match map {
        Map::LpmTrie(_) => map.try_into().map_err(|e: aya::maps::MapError| fail("opening", e.into()))?,
        _ => return Err(fail("looking it up", "it is no prefix table".into())),
    };
    for prefix in &config.node.exclude {
        let mapped = if prefix.address.is_ipv4() { 96 } else { 0 };
        let key = Key::new(u32::from(prefix.length) + mapped, address(prefix.address).0);
        trie.insert(&key, 1, 0).map_err(|e| fail("adding a prefix", e.into()))?;
    }
    Ok(())
}

/// Installs the deployments that are configured but not there yet: tables and rings first, the control
/// word last.
fn install_new(maps: &Maps, config: &Config) -> Result<(), Error> {
    let directory = Directory::new(maps);
    let installed = directory.installed();
    for (name, wanted) in &config.deployments {
        if installed.iter().any(|deployment| deployment.name == *name) {
            continue;
        }
        let index = maps.ledger.iter().position(|ledger| ledger.name[0] == 0).ok_or_else(|| Error::Full {
            table: "LEDGER",
            what: name.clone(),
            limit: "deployments",
        })? as u16;
        directory.install(index, wanted, !config.node.exclude.is_empty())?;
        let now = clock::monotonic();
        maps.ledger.put(
            index.into(),
            Ledger {
                name: padded(name),
                loaded_at: now,
                switched_at: now,
                deadline_at: 0,
                rotated_at: now,
                overflow_at_switch: 0,
                cleared_epoch: 1,
                motive: motive::NONE,
                pad: [0; 48],
            },
        );
        if let Some(line) = maps.deployments.get(index.into()) {
            line.iter().take(live::WORDS).for_each(|word| word.store(0, SeqCst));
        }
        fill_rings(maps, &directory, index);
        let blue = Ring { slot: 0, environment: Environment::Blue };
        let control = Control::new(Phase::Steady, blue, blue, 0, 1);
        if let Some(word) = maps.control.get(index.into()) {
            word.store(control.0, SeqCst);
        }
        for service in wanted.services.values() {
            if !finds(maps, &service.vip) {
                return Err(Error::Full {
                    table: "SERVICES",
                    what: service.vip.to_string(),
                    limit: "services",
                });
            }
        }
    }
    if config
        .deployments
        .values()
        .flat_map(|d| d.services.values())
        .any(|s| s.other_ports == crate::config::OtherPorts::Drop)
    {
        set_vip_policy(maps);
    }
    Ok(())
}

fn set_vip_policy(maps: &Maps) {
    let old = maps.node();
    if old.vip_policy == 0 {
        let node = Node {
            key: old.key,
            route_epoch: AtomicU64::new(old.route_epoch.load(SeqCst)),
            vip_policy: 1,
            ..*old
        };
        maps.node.put(0, node);
    }
}

/// The first rings: all blue backends, in slot 0.
fn fill_rings(maps: &Maps, directory: &Directory<'_>, index: u16) {
    for deployment in directory.installed().iter().filter(|deployment| deployment.index == index) {
        for service in &deployment.services {
            let Some(entry) = maps.services.read(service.entry as usize) else { continue };
            let blue: Vec<_> = service
                .backends
                .iter()
                .filter(|backend| backend.environment == Environment::Blue)
                .copied()
                .collect();
            let ring = maglev::ring(entry.ring_size, &blue);
            for (i, element) in bg_common::ring::pack(&ring).enumerate() {
                if let Some(word) = maps.rings.get(entry.ring_base as usize + i) {
                    word.store(element, SeqCst);
                }
            }
        }
    }
}

/// Ends the node's duty: VIPs away, program off the interfaces, pins removed. Traffic stops.
///
/// # Errors
/// When an agent is running, or something could not be removed.
pub async fn detach(config: &Config) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Rights("it runs as another user"));
    }
    let pins = PinDirectory::open(&config.node.pin_dir)?;
    let interfaces = pins.links()?;
    let netlink = Netlink::open()?;
    if !interfaces.is_empty() {
        let sizes = Sizes::new(&config.limits);
        // With maps of another shape the VIPs are not known; the program goes all the same.
        if sizes.check(pins.path()).is_ok() {
            let ebpf = program::load(&sizes, pins.path())?;
            let maps = Maps::new(&ebpf, &sizes)?;
            for (service, vip) in vips(&maps, &Directory::new(&maps).installed()) {
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
    pins.remove()
}
