//! The agent's configuration for a laboratory.

use super::direct::{DSR, DSR6, IPIP, IPIP6};
use super::fleet::{DIRECT_ECHO_PORT, ECHO_PORT, HEALTH_PORT, LOOSE_PORT, PLAIN_PORT, STREAM_PORT};
use super::nginx::HTTP_PORT;
use super::topology::{Topology, VIP, VIP6, has_ipv6};
use super::{Environment, word};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The deployment's name.
pub const DEPLOYMENT: &str = "shop";

/// The virtual address of the service `web`.
pub const WEB: SocketAddrV4 = SocketAddrV4::new(VIP, 80);
/// The virtual address of the service `stream`.
pub const STREAM: SocketAddrV4 = SocketAddrV4::new(VIP, 7000);
/// The virtual address of the service `plain`.
pub const PLAIN: SocketAddrV4 = SocketAddrV4::new(VIP, 7001);
/// The virtual address of the service `stream6`: the same servers, over IPv6.
pub const STREAM6: SocketAddrV6 = SocketAddrV6::new(VIP6, 7000, 0, 0);

/// The preview of `stream`, where it has one: an address of its own.
pub const STREAM_PREVIEW: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 11), 7000);
/// The preview of `stream6`: the same address as the service.
pub const STREAM6_PREVIEW: SocketAddrV6 = SocketAddrV6::new(VIP6, 7999, 0, 0);

/// The virtual address of the service `echo`: UDP, and its flows stay together.
pub const ECHO: SocketAddrV4 = SocketAddrV4::new(VIP, 7002);
/// The virtual address of the service `loose`: UDP, and every datagram stands for itself.
pub const LOOSE: SocketAddrV4 = SocketAddrV4::new(VIP, 7003);
/// The virtual address of the service `echo6`: the same as `echo`, over IPv6.
pub const ECHO6: SocketAddrV6 = SocketAddrV6::new(VIP6, 7002, 0, 0);

/// What a laboratory may want otherwise.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "services do not exclude each other")]
pub struct Settings {
    /// Whether the service `web` (nginx) is there beside `stream`.
    pub web: bool,
    /// Whether the service `stream6` is there beside `stream`.
    pub ipv6: bool,
    /// Whether the services over UDP are there: `echo` and `loose`, and with IPv6 `echo6`.
    pub udp: bool,
    /// Whether the services are there whose backends answer clients themselves: [`super::direct`].
    pub direct: bool,
    /// Whether `stream` is probed by plain TCP on its own port, as if it had no health page.
    pub plain_probes: bool,
    /// Whether the service `plain` is there too: `stream` once more, probed by plain TCP.
    pub plain: bool,
    /// Whether all of a client's connections to `stream` go to one backend.
    pub by_source: bool,
    /// Whether `stream` has a preview, and `stream6`, if it is there.
    pub preview: bool,
    /// Prefixes of testers, as they are written in the file.
    pub testers: String,
    /// How many pins there is room for; the agent's default if absent.
    pub pins: Option<u32>,
    /// Whether all tables are small, for a machine that is slow to look through them, and health checks patient.
    pub slow_machine: bool,
    /// How long a silent connection keeps its pin; the agent's default if absent.
    pub idle_timeout: Option<String>,
    /// How long a SYN is remembered.
    pub syn_lifetime: String,
    /// After how long without a packet an old flow is presumed gone.
    pub idle_horizon: String,
    /// How long a drain may take.
    pub deadline: Option<String>,
    /// How the program is attached.
    pub xdp_mode: String,
    /// Sockets and pins get names of their own with this, for a second agent on one node.
    pub suffix: String,
}

impl Default for Settings {
    /// Short times, so that a whole drain fits into a test.
    fn default() -> Self {
        Self {
            web: false,
            ipv6: false,
            udp: false,
            direct: false,
            plain_probes: false,
            plain: false,
            by_source: false,
            preview: false,
            testers: String::new(),
            pins: None,
            slow_machine: false,
            idle_timeout: None,
            syn_lifetime: "2s".into(),
            idle_horizon: "5s".into(),
            deadline: None,
            xdp_mode: "native".into(),
            suffix: String::new(),
        }
    }
}

/// The text of the file for this topology.
pub fn text(topology: &Topology, settings: &Settings) -> String {
    let mut out = node(topology, settings);
    let deadline = settings.deadline.as_ref();
    let deadline = deadline.map_or(String::new(), |time| format!("deadline = \"{time}\"\n"));
    let horizon = &settings.idle_horizon;
    let testers = &settings.testers;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "[deployments.{DEPLOYMENT}]
testers = [{testers}]
[deployments.{DEPLOYMENT}.drain]
# A production file says minutes here. This one lets a whole drain happen while someone watches; it
# is safe, because the silent clients send a keepalive probe every 2 s and are seen by that.
idle_horizon = \"{horizon}\"
{deadline}"
    );
    if settings.web {
        let probes = Probes::Http { port: HTTP_PORT, paths: "[\"/health\", \"/ready\"]" };
        out += &service(topology, settings, "web", WEB.into(), HTTP_PORT, probes);
    }
    let probes = if settings.plain_probes {
        Probes::Tcp
    } else {
        Probes::Http { port: HEALTH_PORT, paths: "[\"/health\"]" }
    };
    let stream = service(topology, settings, "stream", STREAM.into(), STREAM_PORT, probes);
    let by_source = if settings.by_source { "affinity = \"source\"\nring_size" } else { "ring_size" };
    out += &with_preview(settings, &stream.replace("ring_size", by_source), STREAM_PREVIEW.into());
    if settings.plain {
        out += &service(topology, settings, "plain", PLAIN.into(), PLAIN_PORT, Probes::Tcp);
    }
    if settings.ipv6 {
        let stream6 = service(topology, settings, "stream6", STREAM6.into(), STREAM_PORT, probes);
        out += &with_preview(settings, &stream6, STREAM6_PREVIEW.into());
    }
    if settings.direct {
        out += &direct(topology, settings);
    }
    if settings.udp {
        let probes = Probes::Http { port: HEALTH_PORT, paths: "[\"/health\"]" };
        let mut udp = |name, vip, port, affinity| {
            let text = service(topology, settings, name, vip, port, probes);
            out += &text
                .replace("ring_size", &format!("protocol = \"udp\"\naffinity = \"{affinity}\"\nring_size"));
        };
        udp("echo", ECHO.into(), ECHO_PORT, "flow");
        udp("loose", LOOSE.into(), LOOSE_PORT, "none");
        if settings.ipv6 {
            udp("echo6", ECHO6.into(), ECHO_PORT, "flow");
        }
    }
    out
}

/// The services whose backends answer clients themselves: ports stay as they are.
fn direct(topology: &Topology, settings: &Settings) -> String {
    let probes = Probes::Http { port: HEALTH_PORT, paths: "[\"/health\"]" };
    let mut services = vec![("dsr", DSR.into(), "dsr"), ("ipip", IPIP.into(), "ipip")];
    if has_ipv6() {
        services.extend([("dsr6", IpAddr::from(DSR6), "dsr"), ("ipip6", IPIP6.into(), "ipip")]);
    }
    let mut out = String::new();
    for (name, vip, mode) in services {
        for (name, port, udp) in [
            (name.to_owned(), STREAM_PORT, ""),
            (format!("{name}-udp"), DIRECT_ECHO_PORT, "protocol = \"udp\"\n"),
        ] {
            let section = service(topology, settings, &name, SocketAddr::new(vip, port), port, probes);
            out += &section.replace("ring_size", &format!("mode = \"{mode}\"\n{udp}ring_size"));
        }
    }
    out
}

/// A service's section with a preview, if there are any.
fn with_preview(settings: &Settings, section: &str, at: SocketAddr) -> String {
    let preview =
        if settings.preview { format!("preview = \"{at}\"\nring_size") } else { "ring_size".into() };
    section.replace("ring_size", &preview)
}

fn node(topology: &Topology, settings: &Settings) -> String {
    let suffix = &settings.suffix;
    format!(
        "[node]
interfaces = {interfaces:?}
xdp_mode = \"{mode}\"
pin_dir = \"{pins}/bluegreen{suffix}\"
state_dir = \"{state}\"
socket = \"{socket}\"
vip_interface = \"lo\"
# How long a SYN may still arrive after it was sent. Nothing here is slower than a millisecond; out in
# the world the default, 128s, is the time after which the last retransmission has happened.
syn_lifetime = \"{lifetime}\"

[limits]
ring_entries = 65536
{room}
",
        interfaces = topology.interfaces(),
        mode = settings.xdp_mode,
        pins = topology.workdir.bpffs().display(),
        state = topology.workdir.join(format!("state{suffix}")).display(),
        socket = topology.workdir.join(format!("bgd{suffix}.sock")).display(),
        lifetime = settings.syn_lifetime,
        room = room(settings),
    )
}

fn room(settings: &Settings) -> String {
    if settings.slow_machine {
        return "pins = 4096\ncensus = 4096\nsyn_memory = \"64KiB\"\n".to_owned();
    }
    settings.pins.map_or(String::new(), |pins| format!("pins = {pins}\n"))
}

/// How the backends of a service are probed.
#[derive(Clone, Copy)]
enum Probes {
    Tcp,
    Http { port: u16, paths: &'static str },
}

fn service(
    topology: &Topology,
    settings: &Settings,
    name: &str,
    vip: SocketAddr,
    port: u16,
    probes: Probes,
) -> String {
    let idle = settings.idle_timeout.as_ref();
    let idle = idle.map_or(String::new(), |time| format!("idle_timeout = \"{time}\"\n"));
    let side = |environment: Environment| {
        let backends = topology.environment(environment);
        let addresses = backends.map(|backend| match vip {
            SocketAddr::V4(_) => SocketAddr::from((backend.address, port)).to_string(),
            SocketAddr::V6(_) => SocketAddr::from((backend.address6, port)).to_string(),
        });
        format!("{} = {:?}", word(environment), addresses.collect::<Vec<_>>())
    };
    let (interval, timeout) = if settings.slow_machine { ("2s", "1900ms") } else { ("300ms", "250ms") };
    let kind = match probes {
        Probes::Tcp => "kind = \"tcp\"".to_owned(),
        Probes::Http { port, paths } => format!("kind = \"http\"\npaths = {paths}\nport = {port}"),
    };
    format!(
        "
[deployments.{DEPLOYMENT}.services.{name}]
vip = \"{vip}\"
ring_size = 1021
{idle}{blue}
{green}
[deployments.{DEPLOYMENT}.services.{name}.health]
{kind}
interval = \"{interval}\"
timeout = \"{timeout}\"
rise = 1
fall = 2
",
        blue = side(Environment::Blue),
        green = side(Environment::Green),
    )
}
