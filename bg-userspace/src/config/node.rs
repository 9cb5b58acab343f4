//! The sections `[node]` and `[limits]`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use toml::de::DeValue;

use super::{
    address,
    section::{At, Complaint, Section},
    types::{Limits, Node, Prefix, XdpMode},
    value,
};

/// The kernel's bound on the path of a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// Private addresses (RFC 1918).
const TUNNEL_V4: Prefix = Prefix { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), length: 16 };
/// Addresses to which nothing is sent (RFC 6666): they only tell flows apart.
const TUNNEL_V6: Prefix =
    Prefix { address: IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), length: 64 };

/// For sizes of tables.
const M: u32 = 1 << 20;

const INTERFACES_HELP: &str = "name the interfaces that carry traffic, such as interfaces = [\"eth0\"]";

/// Reads `[node]`.
pub(super) fn node(root: &mut Section<'_>) -> Node {
    let mut section = root.section("node");
    let node = Node {
        interfaces: interfaces(&mut section),
        xdp_mode: section
            .take("xdp_mode")
            .and_then(|entry| entry.read(xdp_mode))
            .map_or(XdpMode::Auto, |mode| mode.value),
        pin_dir: path(&mut section, "pin_dir", "/sys/fs/bpf/bluegreen", usize::MAX),
        state_dir: path(&mut section, "state_dir", "/var/lib/bluegreen", usize::MAX),
        socket: path(&mut section, "socket", "/run/bluegreen/bgd.sock", SOCKET_PATH_MAX),
        vip_interface: section
            .take("vip_interface")
            .and_then(|entry| entry.read(value::interface))
            .map_or_else(|| "lo".to_owned(), |name| name.value),
        exclude: prefixes(&mut section, "exclude", "a list of prefixes, such as exclude = [\"10.9.0.0/16\"]"),
        tunnel_source: tunnel_source(&mut section, "tunnel_source", TUNNEL_V4),
        tunnel_source6: tunnel_source(&mut section, "tunnel_source6", TUNNEL_V6),
        syn_lifetime: seconds_or(
            &mut section,
            "syn_lifetime",
            Duration::from_secs(128),
            Duration::from_hours(1),
        ),
    };
    section.finish();
    node
}

fn interfaces(section: &mut Section<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let Some(entry) = section.require("interfaces", INTERFACES_HELP) else {
        return names;
    };
    let Some(elements) = entry.list(INTERFACES_HELP) else {
        return names;
    };
    if elements.is_empty() {
        entry.complain("is empty", INTERFACES_HELP);
    }
    for element in elements {
        let Some(At { value: name, .. }) = element.read(value::interface) else {
            continue;
        };
        if names.contains(&name) {
            element.complain(&format!("is \"{name}\" again"), "name each interface once");
        } else {
            names.push(name);
        }
    }
    names
}

/// A list of prefixes; none if it is absent.
pub(super) fn prefixes(section: &mut Section<'_>, key: &'static str, help: &str) -> Vec<Prefix> {
    let elements = section.take(key).and_then(|entry| entry.list(help));
    let elements = elements.unwrap_or_default().into_iter();
    elements.filter_map(|element| element.read(address::prefix)).map(|at| at.value).collect()
}

/// A prefix of the version of IP that the default has, from which hosts may send.
fn tunnel_source(section: &mut Section<'_>, key: &'static str, default: Prefix) -> Prefix {
    let read = |value: &DeValue<'_>| {
        let prefix = address::prefix(value)?;
        let help = || format!("a prefix that nobody else uses, such as \"{default}\"");
        if prefix.address.is_ipv4() != default.address.is_ipv4() {
            let version = if default.address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Complaint::new(format!("is {prefix}, which is no prefix of {version}"), help()));
        }
        let first = prefix.address;
        let this_network = matches!(first, IpAddr::V4(v4) if v4.octets()[0] == 0);
        let reserved = matches!(first, IpAddr::V4(v4) if v4.octets()[0] >= 240);
        if prefix.length < 8 || this_network || reserved || first.is_loopback() || first.is_multicast() {
            return Err(Complaint::new(format!("is {prefix}, from where no host sends"), help()));
        }
        Ok(prefix)
    };
    let found = section.take(key).and_then(|entry| entry.read(read));
    found.map_or(default, |prefix| prefix.value)
}

fn xdp_mode(value: &DeValue<'_>) -> Result<XdpMode, Complaint> {
    let modes = [("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic)];
    value::one_of(value, &modes)
}

fn path(section: &mut Section<'_>, key: &'static str, default: &str, longest: usize) -> PathBuf {
    let read = |value: &DeValue<'_>| {
        let text = value::string(value, default)?;
        let complain = |what: String, help: String| Err(Complaint::new(what, help));
        if !text.starts_with('/') {
            return complain(
                format!("is \"{text}\", which is not an absolute path"),
                format!("begin it with a slash, such as \"{default}\""),
            );
        }
        if text.contains('\0') || text.len() > longest {
            return complain(
                "is longer than the kernel takes".to_owned(),
                format!("use at most {longest} bytes, such as \"{default}\""),
            );
        }
        Ok(PathBuf::from(text))
    };
    let found = section.take(key).and_then(|entry| entry.read(read));
    found.map_or_else(|| PathBuf::from(default), |path| path.value)
}

/// A duration of at least a second, in whole seconds as the tables of the kernel have it; or the
/// default.
pub(super) fn seconds_or(
    section: &mut Section<'_>,
    key: &'static str,
    default: Duration,
    high: Duration,
) -> Duration {
    let read = |value: &DeValue<'_>| {
        let duration = value::duration(value, Duration::from_secs(1)..=high)?;
        if duration.subsec_nanos() == 0 {
            return Ok(duration);
        }
        let what = format!("is {}, with a fraction of a second", humantime::format_duration(duration));
        Err(Complaint::new(what, "whole seconds"))
    };
    let found = section.take(key).and_then(|entry| entry.read(read));
    found.map_or(default, |duration| duration.value)
}

/// `[limits]` with the line of each, for what is compared with it later.
pub(super) struct LimitsAt {
    pub(super) deployments: At<u32>,
    pub(super) services: At<u32>,
    pub(super) backends: At<u32>,
    pub(super) ring_entries: At<u32>,
    pub(super) pins: At<u32>,
    pub(super) census: At<u32>,
    pub(super) syn_memory: At<u64>,
}

/// Reads `[limits]`.
pub(super) fn limits(root: &mut Section<'_>) -> LimitsAt {
    let mut section = root.section("limits");
    let mut number = |key, default, low, high| {
        let read = |value: &DeValue<'_>| value::integer_u32(value, low..=high);
        let line = section.line();
        let found = section.take(key).and_then(|entry| entry.read(read));
        found.unwrap_or(At { line, value: default })
    };
    let limits = LimitsAt {
        deployments: number("deployments", 4, 1, 256),
        services: number("services", 1024, 1, 65_534),
        backends: number("backends", 4096, 1, 65_535),
        ring_entries: number("ring_entries", 4 * M, 1024, 64 * M),
        pins: number("pins", 1 << 20, 0, 16 * M),
        census: number("census", 65_536, 1024, 16 * M),
        syn_memory: At { line: section.line(), value: 8 << 20 },
    };
    let syn_memory = section.take("syn_memory").and_then(|entry| entry.read(syn_memory));
    section.finish();
    LimitsAt { syn_memory: syn_memory.unwrap_or(limits.syn_memory), ..limits }
}

fn syn_memory(value: &DeValue<'_>) -> Result<u64, Complaint> {
    let size = value::size(value)?;
    let help = "a power of two from 64KiB to 64MiB, such as \"8MiB\"";
    if !(64 << 10..=64 << 20).contains(&size) {
        return Err(Complaint::new(format!("is {size} bytes, which is out of bounds"), help));
    }
    if !size.is_power_of_two() {
        return Err(Complaint::new(format!("is {size} bytes, which is no power of two"), help));
    }
    Ok(size)
}

impl LimitsAt {
    pub(super) const fn plain(&self) -> Limits {
        Limits {
            deployments: self.deployments.value,
            services: self.services.value,
            backends: self.backends.value,
            ring_entries: self.ring_entries.value,
            pins: self.pins.value,
            census: self.census.value,
            syn_memory: self.syn_memory.value,
        }
    }
}
