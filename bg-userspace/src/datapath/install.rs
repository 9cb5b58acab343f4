//! What the first load writes: the node's parameters, then deployment by deployment its tables, its rings
//! (the first ones, or those of before a reboot), and last its control word.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bg_common::abi::{BackendId, Ledger, Node, Service, live, motive};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::tables::Tables as _;

use super::directory::{Directory, finds, padded, protocol_number};
use super::entries::{Entries, Numbers, Unnumbered};
use super::layout::Sizes;
use super::maps::Maps;
use super::restore::Past;
use super::{Error, clock};
use crate::config::{self, Config};
use crate::maglev;

/// A hash key of this node's own.
pub(super) fn draw_key() -> Result<[u64; 4], Error> {
    let mut key = [0; 4];
    for word in &mut key {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|e| {
            Error::File { act: "drawing the hash key from", path: "/dev/urandom".into(), source: e.into() }
        })?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(key)
}

/// The node's parameters.
pub(super) fn initialise(maps: &Maps, sizes: &Sizes, key: [u64; 4]) {
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
}

/// Installs the deployments that are configured but not there yet: tables and rings first, the control
/// word last. One that was served before a reboot is restored as it was.
pub(super) fn install_new(maps: &Maps, config: &Config, past: &Past<'_>) -> Result<(), Error> {
    let directory = Directory::new(maps);
    // Those that have numbers first, or another might take them.
    for (name, wanted) in &config.deployments {
        if let Some(before) = past.of(name, wanted)
            && !directory.has(name)
        {
            directory_entry(maps, before.index(), name, wanted, &before)?;
            let control = before.restore_rings(maps, &directory)?;
            before.restore_ledger(maps, control);
            enable(maps, before.index(), control);
        }
    }
    for (name, wanted) in &config.deployments {
        if directory.has(name) {
            continue;
        }
        let index = maps.ledger.iter().position(|ledger| ledger.name[0] == 0).ok_or_else(|| Error::Full {
            table: "LEDGER",
            what: name.clone(),
            limit: "deployments",
        })? as u16;
        directory_entry(maps, index, name, wanted, &Unnumbered)?;
        let live = past.live(name);
        fill_rings(maps, &directory, index, live, wanted);
        let ring = Ring { slot: 0, environment: live };
        enable(maps, index, Control::new(Phase::Steady, ring, ring, 0, 1));
    }
    let mut services = config.deployments.values().flat_map(|deployment| deployment.services.values());
    if services.any(|service| service.other_ports == crate::config::OtherPorts::Drop) {
        set_vip_policy(maps);
    }
    Ok(())
}

/// Tables and ledger of a deployment.
fn directory_entry(
    maps: &Maps,
    index: u16,
    name: &str,
    wanted: &config::Deployment,
    numbers: &impl Numbers,
) -> Result<(), Error> {
    Entries::new(maps).install(index, wanted, numbers)?;
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
            share: 0,
            pad: [0; 44],
        },
    );
    if let Some(line) = maps.deployments.get(index.into()) {
        line.iter().take(live::WORDS).for_each(|word| word.store(0, SeqCst));
    }
    for service in wanted.services.values() {
        if !finds(maps, &service.vip, protocol_number(service.protocol)) {
            return Err(Error::Full { table: "SERVICES", what: service.vip.to_string(), limit: "services" });
        }
    }
    Ok(())
}

/// From here on the deployment is served.
fn enable(maps: &Maps, index: u16, control: Control) {
    if let Some(word) = maps.control.get(index.into()) {
        word.store(control.0, SeqCst);
    }
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

/// The first rings: all backends of the environment that is to be live, in slot 0.
fn fill_rings(
    maps: &Maps,
    directory: &Directory<'_>,
    index: u16,
    live: Environment,
    wanted: &config::Deployment,
) {
    for mut deployment in directory.installed().into_iter().filter(|deployment| deployment.index == index) {
        deployment.follow(wanted);
        for service in &deployment.services {
            let Some(entry) = maps.services.read(service.entry as usize) else { continue };
            let backends: Vec<_> =
                service.backends.iter().filter(|backend| backend.environment == live).copied().collect();
            write_ring(maps, &entry, 0, &maglev::ring(entry.ring_size, &backends));
        }
    }
}

/// Writes a service's ring into one of its ring slots. Every element is one store, so that packets see
/// each slot before or after, never in between.
pub(super) fn write_ring(maps: &Maps, service: &Service, slot: u8, backends: &[BackendId]) {
    let start = service.ring_base + u32::from(slot) * service.ring_stride;
    for (i, element) in bg_common::ring::pack(backends).enumerate() {
        if let Some(word) = maps.rings.get(start as usize + i) {
            word.store(element, SeqCst);
        }
    }
}
