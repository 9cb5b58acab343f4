//! What the first load writes: the node's parameters, then deployment by deployment its tables, its first
//! rings, and last its control word.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bg_common::abi::{Ledger, Node, live, motive};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::tables::Tables as _;

use super::directory::{Directory, finds, padded};
use super::layout::Sizes;
use super::maps::Maps;
use super::{Error, clock};
use crate::config::Config;
use crate::maglev;

/// The node's parameters, with a hash key of its own.
pub(super) fn initialise(maps: &Maps, sizes: &Sizes) -> Result<(), Error> {
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

/// Installs the deployments that are configured but not there yet: tables and rings first, the control
/// word last.
pub(super) fn install_new(maps: &Maps, config: &Config) -> Result<(), Error> {
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
        directory.install(index, wanted)?;
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
