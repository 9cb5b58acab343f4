//! The kernel's side of the twin: the production program in a namespace with the world around it, its maps
//! in memory and its counters at hand.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use bg_common::abi::{
    Address, Backend, BackendCounter, Counter, FragmentKey, Fragmented, NextHop, Node, tester,
};
use bg_ebpf::host::Host;
use bg_userspace::config::Limits;
use bg_userspace::datapath::{Bare, Grace, Maps};

use super::world::Device;
use crate::lab::namespace::Namespace;
use crate::packets::rig::{Received, index, run_once};

/// The loaded program.
pub struct Kernel {
    bare: Bare,
    /// Indices of the devices.
    pub devices: [u32; 3],
    counters: PerCpuArray<MapData, Counter>,
    backends: PerCpuArray<MapData, BackendCounter>,
    /// `FRAGMENTS`.
    pub fragments: HashMap<MapData, FragmentKey, Fragmented>,
    next_hops: PerCpuArray<MapData, [u64; size_of::<NextHop>() / 8]>,
}

impl Kernel {
    /// Loads `object` with the loader's other settings and maps for these limits, and attaches it to the world's devices, because a
    /// test run takes as ingress only a device with XDP on. The calling thread is in their namespace.
    pub fn load(
        loader: &mut EbpfLoader<'_>,
        object: &[u8],
        limits: &Limits,
        namespace: &Namespace,
    ) -> Result<Self> {
        let mut bare = Bare::load(loader, object, limits).context("load the program")?;
        let mut devices = [0; 3];
        for (device, at) in Device::ALL.into_iter().zip(&mut devices) {
            bare.program()
                .attach(device.name(), XdpMode::Driver)
                .with_context(|| format!("attach to {}", device.name()))?;
            *at = index(namespace, device.name())?;
        }
        let mut take = |name| bare.ebpf.take_map(name).with_context(|| format!("no map {name}"));
        Ok(Self {
            counters: take("COUNTERS")?.try_into()?,
            backends: take("BACKEND_COUNTERS")?.try_into()?,
            fragments: take("FRAGMENTS")?.try_into()?,
            next_hops: take("NEXTHOP")?.try_into()?,
            bare,
            devices,
        })
    }

    /// Gives the program the host's tables, all but those that packets fill.
    pub fn fill(&mut self, host: &Host) -> Result<()> {
        let maps = &self.bare.maps;
        for (i, service) in host.services.iter().enumerate() {
            maps.services.put(i, *service);
        }
        for (i, endpoint) in host.endpoints.iter().enumerate() {
            maps.endpoints.put(i, *endpoint);
        }
        for (i, interface) in host.interfaces.iter().enumerate() {
            maps.interfaces.put(i, *interface);
        }
        for (i, backend) in host.tables.backends.iter().enumerate() {
            maps.backends.put(i, copy_of_backend(backend));
        }
        maps.node.put(0, copy_of_node(&host.tables.node));
        for (words, map) in [(&host.tables.control, &maps.control), (&host.tables.rings, &maps.rings)] {
            anyhow::ensure!(words.len() == map.len(), "the host's tables have other sizes");
            for (word, shared) in words.iter().zip(map.iter()) {
                shared.store(word.load(SeqCst), SeqCst);
            }
        }
        let map = self.bare.ebpf.map_mut("TESTERS").context("no map TESTERS")?;
        let mut testers: LpmTrie<_, [u8; tester::KEY], u8> = map.try_into()?;
        for (deployment, prefix, length, what) in &host.tables.testers {
            let key = Key::new(16 + length, tester::key(*deployment, prefix));
            testers.insert(&key, what, 0).context("write TESTERS")?;
        }
        let map = self.bare.ebpf.map_mut("EXCLUDED").context("no map EXCLUDED")?;
        let mut excluded: LpmTrie<_, [u8; 16], u8> = map.try_into()?;
        for (prefix, length) in &host.excluded {
            excluded.insert(&Key::new(*length, prefix.0), 1, 0).context("write EXCLUDED")?;
        }
        Ok(())
    }

    /// Remembers no fragmented packet any more.
    pub(super) fn forget_fragments(&mut self) -> Result<()> {
        let keys: Vec<_> = self.fragments.keys().collect::<Result<_, _>>().context("read FRAGMENTS")?;
        keys.iter().try_for_each(|key| self.fragments.remove(key).context("clear FRAGMENTS"))
    }

    /// Gives back what answers to clients have cost.
    pub(super) fn forgive_answers(&mut self) -> Result<()> {
        let map = self.bare.ebpf.map_mut("ANSWERS").context("no map ANSWERS")?;
        let mut map: PerCpuArray<_, [u32; 2]> = map.try_into()?;
        for kind in 0..2 {
            let spent: Vec<_> = map.get(&kind, 0)?.iter().map(|_| [0; 2]).collect();
            map.set(kind, spent.try_into()?, 0).context("write ANSWERS")?;
        }
        Ok(())
    }

    /// The mapped maps.
    pub const fn maps(&self) -> &Maps {
        &self.bare.maps
    }

    /// The program, the mapped maps and their barrier, for several threads.
    pub fn parts(&mut self) -> (&Xdp, &Maps, &mut Grace) {
        self.bare.parts()
    }

    /// Lets a packet arrive.
    pub fn run(&mut self, interface: u32, packet: &[u8]) -> Received {
        run_once(self.bare.program(), interface, packet)
    }

    /// An element of `COUNTERS`, summed over the processors.
    pub fn counter(&self, index: u32) -> Result<Counter> {
        let mut sum = Counter::default();
        for counter in self.counters.get(&index, 0).context("read COUNTERS")?.iter() {
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
            sum.connections += counter.connections;
            sum.overflow += counter.overflow;
        }
        Ok(sum)
    }

    /// An element of `BACKEND_COUNTERS`, summed over the processors.
    pub fn backend_counter(&self, index: u32) -> Result<BackendCounter> {
        let mut sum = BackendCounter::default();
        for counter in self.backends.get(&index, 0).context("read BACKEND_COUNTERS")?.iter() {
            sum.syns += counter.syns;
            sum.syn_acks += counter.syn_acks;
        }
        Ok(sum)
    }

    /// An entry of `NEXTHOP` of whichever processor has one. Its stamp counts ticks of this kernel's timer,
    /// which the host does not have: `jiffies` is in its place.
    pub fn next_hop(&self, index: u32, jiffies: u32) -> Result<NextHop> {
        let entries = self.next_hops.get(&index, 0).context("read NEXTHOP")?;
        let words = entries.iter().copied().find(|words| *words != [0; 8]).unwrap_or([0; 8]);
        let half = |i: usize| (words[i / 2] >> (i % 2 * 32)) as u32;
        let mut destination = [0; 16];
        destination[..8].copy_from_slice(&words[0].to_ne_bytes());
        destination[8..].copy_from_slice(&words[1].to_ne_bytes());
        Ok(NextHop {
            destination: Address(destination),
            interface: half(4),
            mtu: half(5),
            epoch: half(6),
            jiffies,
            macs: [half(8), half(9), half(10)],
            gateway: half(11),
            pad: [0; 16],
        })
    }
}

pub(super) fn copy_of_node(node: &Node) -> Node {
    Node {
        key: node.key,
        service_mask: node.service_mask,
        endpoint_mask: node.endpoint_mask,
        pin_mask: node.pin_mask,
        recent_mask: node.recent_mask,
        census_mask: node.census_mask,
        no_pins: node.no_pins,
        vip_policy: node.vip_policy,
        pad: node.pad,
        route_epoch: AtomicU64::new(node.route_epoch.load(SeqCst)),
    }
}

fn copy_of_backend(backend: &Backend) -> Backend {
    Backend {
        address: backend.address,
        port: backend.port,
        service: backend.service,
        environment: backend.environment,
        state: backend.state,
        pad: backend.pad,
        dead: AtomicU64::new(backend.dead.load(SeqCst)),
        tunnel: backend.tunnel,
        tunnel_bits: backend.tunnel_bits,
        rest: backend.rest,
    }
}
