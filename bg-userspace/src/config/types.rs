//! The configuration as the agent uses it: plain values, every one of them checked. How they are
//! written in a file is the business of the modules beside this one.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// How many rings the data plane holds room for, per service: base, current and spare.
pub const RINGS_PER_SERVICE: u64 = 3;

/// The weight of a backend that has none in the file.
pub const DEFAULT_WEIGHT: u16 = 100;

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What belongs to this host.
    pub node: Node,
    /// Sizes of the kernel's tables.
    pub limits: Limits,
    /// Groups of services that switch together, by name.
    pub deployments: BTreeMap<String, Deployment>,
}

/// What belongs to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Interfaces that the program is attached to; at least one, no duplicates.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// Where maps and links are pinned; an absolute path, which must lie on a bpffs.
    pub pin_dir: PathBuf,
    /// Where the journal is kept; an absolute path, on a file system that survives a reboot.
    pub state_dir: PathBuf,
    /// The control socket; an absolute path.
    pub socket: PathBuf,
    /// The interface that the VIPs are added to.
    pub vip_interface: String,
    /// Clients that speak to backends directly through this node.
    pub exclude: Vec<Prefix>,
    /// How long a SYN is remembered at least.
    pub syn_lifetime: Duration,
    /// Where packets within which others travel to an IPv4 backend seem to come from (mode ipip).
    pub tunnel_source: Prefix,
    /// The same for an IPv6 backend.
    pub tunnel_source6: Prefix,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver if every interface's has it, else in the generic path on all of them.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// After the driver, in the kernel's generic path: slow, and possible everywhere.
    Generic,
}

/// A prefix of addresses, with no bit set behind its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub length: u8,
}

/// Sizes of the kernel's tables. They are fixed when the program is loaded for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deployments.
    pub deployments: u32,
    /// Services, over all deployments.
    pub services: u32,
    /// Backends, over all services and both environments.
    pub backends: u32,
    /// Ring entries, over all services and their three rings.
    pub ring_entries: u32,
    /// Pins; 0 is allowed, and then connections opened during a drain go to base.
    pub pins: u32,
    /// Flows that the census can see.
    pub census: u32,
    /// Bytes of one filter of the SYN memory, of which a deployment has two; a power of two.
    pub syn_memory: u64,
}

/// A named group of services that switch together.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// How an environment that is left drains.
    pub drain: Drain,
    /// What must hold before a flip.
    pub gate: Gate,
    /// Clients that reach the environment that is not live, at the VIPs of its services.
    pub testers: Vec<Prefix>,
    /// Its services, by name; at least one.
    pub services: BTreeMap<String, Service>,
}

/// How an environment that is left drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// An old flow that was not seen for so long is presumed gone.
    pub idle_horizon: Duration,
    /// When what is still open is closed; without it the drain waits for emptiness for ever.
    pub deadline: Option<Duration>,
}

/// What must hold before a flip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Share of the idle environment's backends that must be healthy, 0 to 1.
    pub min_healthy: f64,
}

/// One VIP and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where clients connect to.
    pub vip: SocketAddr,
    /// Where clients reach the environment that is not live; of the VIP's address family.
    pub preview: Option<SocketAddr>,
    /// Its backends may serve another service from the same endpoint; every flow is pinned then.
    pub shared_endpoints: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// What stays together; always a flow with TCP.
    pub affinity: Affinity,
    /// How packets reach a backend.
    pub mode: Mode,
    /// Slots of a ring; a prime, and at least a hundred times the backends of an environment.
    pub ring_size: u32,
    /// How long a pin of an established connection, or of a UDP flow, outlives its last packet.
    pub idle_timeout: Duration,
    /// What happens to packets for the VIP's address on a port that is no service.
    pub other_ports: OtherPorts,
    /// Backends of the environment blue; of the VIP's address family, or with mode ipip of IPv6.
    pub blue: Vec<Backend>,
    /// Backends of the environment green; likewise.
    pub green: Vec<Backend>,
    /// How its backends are checked.
    pub health: Health,
}

/// One address:port that serves a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of new connections, relative to the others' of its environment: 0 to 1000. With 0 it
    /// takes none, and keeps those that it has.
    pub weight: u16,
}

/// Protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Which packets of a client stay together, also through a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Those of a flow.
    Flow,
    /// Those of a flow, and all flows of a client's address have one backend as long as the rings stay.
    Source,
    /// None: each datagram goes to the live environment.
    None,
}

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The destination is rewritten, and the source of the reply is rewritten back.
    Nat,
    /// The packet goes to the backend as it is; the backend has the VIP, and answers the client itself.
    Dsr,
    /// The packet travels within another one; the backend has the VIP, and answers the client itself.
    Ipip,
}

/// What happens to packets for a VIP's address on a port that is no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherPorts {
    /// The node's kernel gets them.
    Kernel,
    /// They are dropped, and counted.
    Drop,
}

/// How a service's backends are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub kind: HealthKind,
    /// The port to ask; the backend's own if absent.
    pub port: Option<u16>,
    /// Time from the start of one probe to the start of the next.
    pub interval: Duration,
    /// How long a whole probe may take; not more than the interval.
    pub timeout: Duration,
    /// Successes in a row that make a backend healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthKind {
    /// That a connection is accepted.
    Tcp,
    /// That every path answers as expected.
    Http {
        /// The paths; at least one.
        paths: Vec<String>,
        /// The status to expect; any 2xx if absent.
        expect: Option<u16>,
        /// The Host header; the backend's address if absent.
        host: Option<String>,
    },
}

impl Config {
    /// Whether some VIP or backend is an IPv4 address.
    pub fn has_ipv4(&self) -> bool {
        self.addresses().any(SocketAddr::is_ipv4)
    }

    /// Whether some VIP or backend is an IPv6 address.
    pub fn has_ipv6(&self) -> bool {
        self.addresses().any(SocketAddr::is_ipv6)
    }

    fn addresses(&self) -> impl Iterator<Item = &SocketAddr> {
        let services = self.deployments.values().flat_map(|deployment| deployment.services.values());
        services.flat_map(|service| {
            let backends = service.blue.iter().chain(&service.green).map(|backend| &backend.address);
            backends.chain([&service.vip]).chain(&service.preview)
        })
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            kind: HealthKind::Tcp,
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 3,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
        })
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}
