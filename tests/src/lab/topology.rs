//! The network of the laboratory: one client, one node, and backends of both environments, each in
//! a namespace of its own, every one of them one veth pair away from the node.

use super::direct::WayBack;
use super::namespace::{self, Namespace};
use super::workdir::{self, Workdir};
use super::{Environment, pass, process, word};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The virtual address of every service.
pub const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The client's addresses: several, so that ephemeral ports do not run out.
pub const CLIENTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 51, 100, 10),
    Ipv4Addr::new(198, 51, 100, 11),
    Ipv4Addr::new(198, 51, 100, 12),
    Ipv4Addr::new(198, 51, 100, 13),
];
/// The addresses that a stranger pretends to have, when there is one.
pub const STRANGERS: (Ipv4Addr, u8) = (Ipv4Addr::new(100, 64, 0, 0), 10);
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const STRANGER_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The virtual address of every service over IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x203, 0, 0, 0, 0, 0x10);
/// The client's addresses over IPv6.
pub const CLIENTS6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0, 0, 0, 0, 0x10),
    Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0, 0, 0, 0, 0x11),
    Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0, 0, 0, 0, 0x12),
    Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0, 0, 0, 0, 0x13),
];
const CLIENT_GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0, 0, 0, 0, 1);
const CLIENT_GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The only interface of a client or backend.
pub const FAR_END: &str = "eth0";

/// One laboratory at a time in a process: names and addresses are fixed.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whether an address is one of the client's.
pub fn is_client(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => CLIENTS.contains(&address),
        IpAddr::V6(address) => CLIENTS6.contains(&address),
    }
}

/// A backend: a namespace with one address of each family, in one environment.
pub struct Backend {
    /// `blue-1`, `green-2`: how its servers call themselves.
    pub name: String,
    /// Which of the two.
    pub environment: Environment,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its address over IPv6.
    pub address6: Ipv6Addr,
    /// Where its servers run.
    pub namespace: Namespace,
    /// The node's interface that leads to it.
    pub port: String,
}

/// The whole network, and the directory of the run. Dropping it removes everything.
pub struct Topology {
    /// The load's namespace.
    pub client: Namespace,
    /// The load balancer's namespace.
    pub node: Namespace,
    /// Blue first, in order.
    pub backends: Vec<Backend>,
    /// Where floods and forged packets come from, if [`Topology::admit_stranger`] was called.
    pub stranger: Option<Namespace>,
    /// The backends' other way to the clients, if [`Topology::let_backends_answer`] was called.
    pub(super) way_back: Option<WayBack>,
    /// Configuration, logs and pins.
    pub workdir: Workdir,
    pub(super) passes: Vec<OwnedFd>,
    _turn: MutexGuard<'static, ()>,
}

impl Topology {
    /// Builds the network with so many backends in each environment. Needs root.
    pub fn new(blue: u8, green: u8) -> Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        namespace::reap().context("clear the namespaces of a killed run")?;
        workdir::reap().context("clear the files of a killed run")?;
        let workdir = Workdir::create()?;
        let node = namespace("node")?;
        node.sysctl("net/ipv4/ip_forward", "1")?;
        if has_ipv6() {
            node.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        let mut passes = Vec::new();

        let client = namespace("client")?;
        let gateways = [CLIENT_GATEWAY.into(), CLIENT_GATEWAY6.into()];
        let addresses = [CLIENTS.map(IpAddr::from), CLIENTS6.map(IpAddr::from)].concat();
        passes.push(join(&node, "c0", &gateways, &client, &addresses)?);
        // Many short connections: more ports than the default range.
        client.sysctl("net/ipv4/ip_local_port_range", "10240 65000")?;

        let mut backends = Vec::new();
        for (environment, count) in [(Environment::Blue, blue), (Environment::Green, green)] {
            for number in 1..=count {
                let (backend, pass) = backend(&node, environment, number)?;
                backends.push(backend);
                passes.push(pass);
            }
        }
        Ok(Self { client, node, backends, stranger: None, way_back: None, workdir, passes, _turn: turn })
    }

    /// Joins one more namespace to the node, for packets that no client sends. What is sent to
    /// [`STRANGERS`] arrives there and is not answered.
    pub fn admit_stranger(&mut self) -> Result<()> {
        let stranger = namespace("stranger")?;
        self.passes.push(join(&self.node, "x0", &[STRANGER_GATEWAY.into()], &stranger, &[STRANGER.into()])?);
        let (network, bits) = STRANGERS;
        self.node.ip(&["route", "add", &format!("{network}/{bits}"), "via", &STRANGER.to_string()])?;
        self.stranger = Some(stranger);
        Ok(())
    }

    /// Puts an interface without XDP in its driver in the place of the client's: a macvlan over what was there, which
    /// is called `under` from then on.
    pub fn cover_client_port(&self) -> Result<()> {
        let set = |arguments: &[&str]| self.node.ip(arguments).map(drop);
        set(&["link", "set", "c0", "down"])?;
        set(&["addr", "flush", "dev", "c0"])?;
        set(&["link", "set", "c0", "name", "under"])?;
        // It would answer for the address of the other, with its own.
        self.node.sysctl("net/ipv4/conf/under/arp_ignore", "1")?;
        set(&["link", "set", "under", "up"])?;
        set(&["link", "add", "link", "under", "name", "c0", "type", "macvlan", "mode", "bridge"])?;
        add_address(&self.node, CLIENT_GATEWAY.into(), "c0")?;
        set(&["link", "set", "c0", "up"])
    }

    /// Sets the MTU of every link, at both of its ends.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        for port in self.interfaces() {
            self.node.ip(&["link", "set", &port, "mtu", &mtu.to_string()])?;
        }
        for end in self.ends() {
            end.ip(&["link", "set", FAR_END, "mtu", &mtu.to_string()])?;
        }
        Ok(())
    }

    /// The backends of one environment.
    pub fn environment(&self, environment: Environment) -> impl Iterator<Item = &Backend> {
        self.backends.iter().filter(move |backend| backend.environment == environment)
    }

    /// The node's interfaces, the client's first.
    pub fn interfaces(&self) -> Vec<String> {
        let ports = self.backends.iter().map(|backend| backend.port.clone());
        let stranger = self.stranger.iter().map(|_| "x0".to_owned());
        std::iter::once("c0".to_owned()).chain(stranger).chain(ports).collect()
    }

    /// The node's interfaces that carry an XDP program.
    pub fn attached(&self) -> Result<Vec<String>> {
        let links = self.node.ip(&["-json", "link", "show"])?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&links).context("read ip's JSON")?;
        let with_program = links.iter().filter(|link| link.get("xdp").is_some());
        Ok(with_program.filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect())
    }

    /// The XDP program on each of the node's interfaces that carries one, by its number in the kernel.
    pub fn programs(&self) -> Result<Vec<u64>> {
        let links = self.node.ip(&["-json", "link", "show"])?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&links).context("read ip's JSON")?;
        Ok(links.iter().filter_map(|link| link["xdp"]["prog"]["id"].as_u64()).collect())
    }

    /// Makes the program that is on the interfaces one of another build: an agent keeps its own.
    pub fn disown_program(&self) -> Result<()> {
        let pins = self.workdir.bpffs().join("bluegreen");
        for version in std::fs::read_dir(pins)? {
            for pin in std::fs::read_dir(version?.path())? {
                let path = pin?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("stages-") {
                    std::fs::rename(&path, path.with_file_name(format!("{name}-not")))?;
                }
            }
        }
        Ok(())
    }

    /// Where connections end: the client's namespace and every backend's.
    pub fn ends(&self) -> impl Iterator<Item = &Namespace> {
        let backends = self.backends.iter().map(|backend| &backend.namespace);
        std::iter::once(&self.client).chain(backends)
    }
}

fn backend(node: &Namespace, environment: Environment, number: u8) -> Result<(Backend, OwnedFd)> {
    let word = word(environment);
    let subnet = match environment {
        Environment::Blue => number,
        Environment::Green => 100 + number,
    };
    let address = Ipv4Addr::new(10, 77, subnet, 10);
    let address6 = |host| Ipv6Addr::new(0x2001, 0xdb8, 0x77, subnet.into(), 0, 0, 0, host);
    let namespace = namespace(&format!("{word}{number}"))?;
    let port = format!("{}{number}", &word[..1]);
    let gateways = [Ipv4Addr::new(10, 77, subnet, 1).into(), address6(1).into()];
    let address6 = address6(0x10);
    let pass = join(node, &port, &gateways, &namespace, &[address.into(), address6.into()])?;
    let backend =
        Backend { name: format!("{word}-{number}"), environment, address, address6, namespace, port };
    Ok((backend, pass))
}

/// Whether this kernel has IPv6; without it the laboratory has none either.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// A namespace with loopback, where nobody looks for routers, and no interface gives itself an address.
pub(super) fn namespace(role: &str) -> Result<Namespace> {
    let namespace = Namespace::create(role)?;
    if has_ipv6() {
        namespace.sysctl("net/ipv6/conf/default/addr_gen_mode", "1")?;
        namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0")?;
    }
    namespace.ip(&["link", "set", "lo", "up"])?;
    Ok(namespace)
}

/// One veth pair from the node to `far`, with addresses, routes, and a passing XDP program there.
fn join(
    node: &Namespace,
    port: &str,
    gateways: &[IpAddr],
    far: &Namespace,
    addresses: &[IpAddr],
) -> Result<OwnedFd> {
    // One queue each way. A native program needs as many receive queues on its end as the other end
    // has transmit queues; and a veth spreads redirected frames over its receive queues by processor,
    // not by flow: with two, an ACK and the FIN after it may change places, the server answers that
    // with a second ACK, and the client answers this with a RST. A real NIC keeps a flow in a queue.
    let queues = ["numtxqueues", "1", "numrxqueues", "1"];
    let near = [&["link", "add", port][..], &queues, &["type", "veth"]].concat();
    let peer = [&["peer", "name", FAR_END][..], &queues, &["netns", far.name()]].concat();
    node.ip(&[near, peer].concat())?;
    let usable = |address: &&IpAddr| address.is_ipv4() || has_ipv6();
    for gateway in gateways.iter().filter(usable) {
        add_address(node, *gateway, port)?;
    }
    node.ip(&["link", "set", port, "up"])?;
    for address in addresses.iter().filter(usable) {
        add_address(far, *address, FAR_END)?;
    }
    far.ip(&["link", "set", FAR_END, "up"])?;
    if has_ipv6() {
        // A router asks for its neighbours from such an address.
        add_address(node, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), port)?;
        add_address(far, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into(), FAR_END)?;
    }
    for gateway in gateways.iter().filter(usable) {
        far.ip(&["route", "add", "default", "via", &gateway.to_string()])?;
    }
    // A veth hands over frames whose checksums are not filled in yet, because no wire will damage
    // them; a rewrite in XDP would carry that half-made checksum on. A real NIC fills it in.
    process::run("ethtool", &["-K", FAR_END, "tx", "off"], Some(far))?;
    // The same goes for VLAN tags, which travel beside the frame.
    process::run("ethtool", &["-K", FAR_END, "txvlan", "off"], Some(far))?;
    process::run("ethtool", &["-K", port, "rxvlan", "off", "rx-vlan-stag-hw-parse", "off"], Some(node))?;
    // What the node's program redirects arrives only where frames are taken in XDP's way.
    process::run("ethtool", &["-K", FAR_END, "gro", "on"], Some(far))?;
    far.inside(|| pass::attach(FAR_END))?.with_context(|| format!("prepare {FAR_END} in {}", far.name()))
}

/// Adds an address with its subnet. One of IPv6 can be used at once: nobody looks for duplicates.
pub(super) fn add_address(namespace: &Namespace, address: IpAddr, interface: &str) -> Result<()> {
    let (length, how) = if address.is_ipv4() { (24, None) } else { (64, Some("nodad")) };
    let subnet = format!("{address}/{length}");
    let mut arguments = vec!["addr", "add", &subnet, "dev", interface];
    arguments.extend(how);
    namespace.ip(&arguments).map(drop)
}
