//! Backends that answer clients themselves, as services of mode dsr and ipip want them: they have the VIPs, take outer
//! packets off, and another router leads from them to the clients. The node sees none of their replies.

use super::namespace::Namespace;
use super::topology::{Backend, FAR_END, Topology, add_address, has_ipv6, namespace};
use anyhow::{Context, Result};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of the service of mode dsr.
pub const DSR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
/// And over IPv6.
pub const DSR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x203, 0, 0, 0, 0, 0x20);
/// The addresses of the service of mode ipip.
pub const IPIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// And over IPv6.
pub const IPIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x203, 0, 0, 0, 0, 0x30);

/// Where a backend or the client has its end of the other way.
const SIDE_DOOR: &str = "eth1";
/// The backends' table of routes for what they say in the name of a VIP.
const TABLE: &str = "100";

/// The program that a backend has in place of a tunnel.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/front"));

/// The other router, and what the backends run in front of their kernels.
pub(super) struct WayBack {
    _router: Namespace,
    _unwrap: Vec<Ebpf>,
}

impl Topology {
    /// Builds it. To be called before servers start, and before anybody else is admitted.
    pub fn let_backends_answer(&mut self) -> Result<()> {
        let router = namespace("router")?;
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            if key.contains("ipv4") || has_ipv6() {
                router.sysctl(key, "1")?;
            }
        }
        join(&router, "c0", 0, &self.client)?;
        let [client, client6] = far_addresses(0);
        for (network, via) in [("198.51.100.0/24", client), ("2001:db8:198::/64", client6)] {
            if via.is_ipv4() || has_ipv6() {
                router.ip(&["route", "add", network, "via", &via.to_string()])?;
            }
        }
        // Replies come in by another door than requests go out.
        for interface in ["all", FAR_END, SIDE_DOOR] {
            self.client.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
        }
        let mut unwrap = Vec::new();
        // A backend has one program at a time: all but the client's that lets everything pass.
        self.passes.truncate(1);
        for (number, backend) in (1..).zip(&self.backends) {
            prepare(&router, number, backend)?;
            unwrap.push(backend.namespace.inside(attach)??);
        }
        self.way_back = Some(WayBack { _router: router, _unwrap: unwrap });
        Ok(())
    }

    /// The VIPs that the backends have themselves.
    pub(super) fn own_vips(&self) -> impl Iterator<Item = IpAddr> {
        own_vips().filter(|_| self.way_back.is_some())
    }
}

fn own_vips() -> impl Iterator<Item = IpAddr> {
    let vips: [IpAddr; 4] = [DSR.into(), DSR6.into(), IPIP.into(), IPIP6.into()];
    vips.into_iter().filter(|vip| vip.is_ipv4() || has_ipv6())
}

fn prepare(router: &Namespace, number: u8, backend: &Backend) -> Result<()> {
    let far = &backend.namespace;
    join(router, &format!("b{number}"), number, far)?;
    // Nobody hears from a backend that it has the VIPs.
    for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2"), ("rp_filter", "0")] {
        far.sysctl(&format!("net/ipv4/conf/all/{key}"), value)?;
    }
    far.sysctl(&format!("net/ipv4/conf/{FAR_END}/rp_filter"), "0")?;
    for vip in own_vips() {
        let (family, length) = if vip.is_ipv4() { ("-4", 32) } else { ("-6", 128) };
        let mut address = vec!["addr".to_owned(), "add".into(), format!("{vip}/{length}")];
        address.extend(["dev".into(), "lo".into()]);
        if vip.is_ipv6() {
            address.push("nodad".into());
        }
        far.ip(&address.iter().map(String::as_str).collect::<Vec<_>>())?;
        far.ip(&[family, "rule", "add", "from", &vip.to_string(), "lookup", TABLE])?;
    }
    for gateway in near_addresses(number).into_iter().filter(|at| at.is_ipv4() || has_ipv6()) {
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        far.ip(&[family, "route", "add", "default", "via", &gateway.to_string(), "table", TABLE])?;
    }
    Ok(())
}

/// The router's addresses towards a backend, or the client, which is number 0.
fn near_addresses(number: u8) -> [IpAddr; 2] {
    addresses(number, 1)
}

fn far_addresses(number: u8) -> [IpAddr; 2] {
    addresses(number, 2)
}

fn addresses(number: u8, host: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd78, 0, 0, number.into(), 0, 0, 0, host.into());
    [Ipv4Addr::new(10, 78, number, host).into(), v6.into()]
}

/// A veth pair from the router to somebody's side door.
fn join(router: &Namespace, port: &str, number: u8, far: &Namespace) -> Result<()> {
    let pair = ["link", "add", port, "type", "veth", "peer", "name", SIDE_DOOR, "netns", far.name()];
    router.ip(&pair)?;
    for (namespace, interface, addresses) in
        [(router, port, near_addresses(number)), (far, SIDE_DOOR, far_addresses(number))]
    {
        for address in addresses.into_iter().filter(|at| at.is_ipv4() || has_ipv6()) {
            add_address(namespace, address, interface)?;
        }
        if has_ipv6() {
            // Routers ask for their neighbours from such an address.
            let host = if interface == port { 1 } else { 2 };
            add_address(namespace, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host).into(), interface)?;
        }
        namespace.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
        namespace.ip(&["link", "set", interface, "up"])?;
    }
    Ok(())
}

/// Attaches the program that unwraps to the interface of the calling thread's namespace.
fn attach() -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(OBJECT).context("load what unwraps packets; are you root?")?;
    let program: &mut Xdp = ebpf.program_mut("unwrap").context("no program `unwrap`")?.try_into()?;
    program.load().context("load `unwrap`")?;
    program.attach(FAR_END, XdpMode::Driver).with_context(|| format!("attach it to {FAR_END}"))?;
    Ok(ebpf)
}
