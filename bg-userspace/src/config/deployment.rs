//! The sections `[deployments.NAME]` and what is in them, each on its own; what they must have in
//! common is checked elsewhere.

use std::{net::SocketAddr, time::Duration};

use toml::de::DeValue;

use super::{
    address,
    backend::backends,
    health,
    node::{self, seconds_or},
    section::{At, Section},
    types::{Affinity, Backend, Deployment, Drain, Gate, Mode, OtherPorts, Prefix, Protocol, Service},
    value,
};

/// Flows carry the time that they were last seen in 24 bits of seconds, and half of that range.
const MONTH: Duration = Duration::from_hours(24 * 30);
const YEAR: Duration = Duration::from_hours(24 * 365);
const NAME_HELP: &str = "use lower-case letters, digits and dashes, at most 31, no dash in front";

/// Slots of a ring that a backend should have at least, for an even spread.
const SLOTS_PER_BACKEND: usize = 100;

/// Slots that fit one ring and the default room for all rings.
const RING_MAX: u32 = 65_521;

const MODES: [(&str, Mode); 3] = [("nat", Mode::Nat), ("dsr", Mode::Dsr), ("ipip", Mode::Ipip)];

/// A deployment as far as it could be read.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) services: Vec<ServiceDraft>,
    drain: Drain,
    gate: Gate,
    testers: Vec<Prefix>,
}

/// A service as far as it could be read.
pub(super) struct ServiceDraft {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) vip: Option<At<SocketAddr>>,
    pub(super) preview: Option<At<SocketAddr>>,
    pub(super) shared_endpoints: bool,
    pub(super) protocol: Protocol,
    pub(super) ring_size: u32,
    pub(super) other_ports: At<OtherPorts>,
    pub(super) blue: Vec<At<Backend>>,
    pub(super) green: Vec<At<Backend>>,
    pub(super) mode: At<Mode>,
    affinity: Affinity,
    idle_timeout: Duration,
    health: super::Health,
}

/// Reads every deployment.
pub(super) fn deployments(root: &mut Section<'_>) -> Vec<Draft> {
    let section = root.section("deployments");
    if section.is_empty() {
        section.problem(
            section.line(),
            "no deployment is configured",
            "add [deployments.NAME.services.NAME] with a vip, blue and green",
        );
    }
    section.named_sections().into_iter().map(|(name, section)| deployment(name, section)).collect()
}

fn deployment(name: &str, mut section: Section<'_>) -> Draft {
    check_name(name, "deployment", &section);
    let drain = drain(section.section("drain"));
    let mut gate_section = section.section("gate");
    let min_healthy = gate_section.take("min_healthy").and_then(|e| e.read(value::fraction));
    gate_section.finish();
    let testers =
        node::prefixes(&mut section, "testers", "a list of prefixes, such as testers = [\"192.0.2.0/28\"]");
    let services = section.section("services");
    if services.is_empty() {
        section.problem(
            section.line(),
            format!("deployment `{name}` has no service"),
            format!("add [deployments.{name}.services.NAME] with a vip, blue and green"),
        );
    }
    let services = services.named_sections().into_iter();
    let draft = Draft {
        name: name.to_owned(),
        services: services.map(|(name, section)| service(name, section)).collect(),
        drain,
        gate: Gate { min_healthy: min_healthy.map_or(1.0, |at| at.value) },
        testers,
    };
    section.finish();
    draft
}

fn drain(mut section: Section<'_>) -> Drain {
    let least = Duration::from_millis(1);
    let horizon = Duration::from_mins(10);
    let idle_horizon = seconds_or(&mut section, "idle_horizon", horizon, MONTH);
    let read = |value: &DeValue<'_>| value::duration(value, least..=YEAR);
    let deadline = section.take("deadline").and_then(|entry| entry.read(read));
    section.finish();
    Drain { idle_horizon, deadline: deadline.map(|at| at.value) }
}

fn service(name: &str, mut section: Section<'_>) -> ServiceDraft {
    check_name(name, "service", &section);
    let vip = section.require("vip", "vip = \"ADDRESS:PORT\", where clients connect to");
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocol = choice(&mut section, "protocol", &protocols);
    let kept = [("flow", Affinity::Flow), ("source", Affinity::Source), ("none", Affinity::None)];
    let affinity = choice(&mut section, "affinity", &kept);
    if protocol.value == Protocol::Tcp && affinity.value == Affinity::None {
        section.problem(
            affinity.line,
            format!("`{}.affinity` is \"none\", but a TCP connection stays with its backend", section.path()),
            "leave it out; it is for protocol = \"udp\"",
        );
    }
    let mode = choice(&mut section, "mode", &MODES);
    let preview = section.take("preview").and_then(|entry| entry.read(address::endpoint));
    let shared_endpoints = section.take("shared_endpoints").and_then(|entry| entry.read(value::boolean));
    let shared_endpoints = shared_endpoints.is_some_and(|at| at.value);
    if shared_endpoints && affinity.value == Affinity::None {
        section.problem(
            affinity.line,
            format!(
                "`{}.affinity` is \"none\", so that nothing tells its replies from another service's",
                section.path()
            ),
            "affinity = \"flow\", or endpoints of its own",
        );
    }
    let ports = [("kernel", OtherPorts::Kernel), ("drop", OtherPorts::Drop)];
    let other_ports = choice(&mut section, "other_ports", &ports);
    let idle = match protocol.value {
        Protocol::Tcp => Duration::from_hours(2),
        Protocol::Udp => Duration::from_mins(1),
    };
    let idle_timeout = seconds_or(&mut section, "idle_timeout", idle, MONTH);
    let (blue, blue_count) = backends(&mut section, "blue");
    let (green, green_count) = backends(&mut section, "green");
    if blue_count == Some(0) && green_count == Some(0) {
        section.problem(
            section.line(),
            format!("service `{name}` has no backend in either environment"),
            "give blue or green at least one",
        );
    }
    let largest = blue_count.max(green_count).unwrap_or(0);
    let draft = ServiceDraft {
        name: name.to_owned(),
        path: section.path().to_owned(),
        vip: vip.and_then(|entry| entry.read(address::endpoint)),
        preview,
        shared_endpoints,
        protocol: protocol.value,
        affinity: affinity.value,
        ring_size: ring_size(&mut section, largest),
        other_ports,
        blue,
        green,
        mode,
        idle_timeout,
        health: health::health(section.section("health")),
    };
    if protocol.value == Protocol::Udp && draft.health.port.is_none() {
        section.problem(
            protocol.line,
            format!(
                "service `{name}` speaks UDP, and nothing says on which TCP port its backends are probed"
            ),
            format!(
                "add `port` to [{}.health]: where its health page is, or where it accepts TCP",
                section.path()
            ),
        );
    }
    section.finish();
    draft
}

fn choice<T: Copy>(section: &mut Section<'_>, key: &'static str, all: &[(&str, T)]) -> At<T> {
    let default = At { line: section.line(), value: all[0].1 };
    let found = section.take(key).and_then(|entry| entry.read(|value| value::one_of(value, all)));
    found.unwrap_or(default)
}

fn ring_size(section: &mut Section<'_>, backends: usize) -> u32 {
    let entry = section.take("ring_size");
    let read = |value: &DeValue<'_>| value::integer_u32(value, 2..=RING_MAX);
    let (line, size) = match &entry {
        None => (section.line(), Some(4093)),
        Some(entry) => (entry.line(), entry.read(read).map(|at| at.value)),
    };
    let Some(size) = size else {
        return 4093;
    };
    let least = u32::try_from(backends.saturating_mul(SLOTS_PER_BACKEND)).unwrap_or(u32::MAX);
    let path = section.path();
    let help = || format!("ring_size = {}", value::next_prime(size.max(least)));
    if size < least {
        let what = format!(
            "`{path}.ring_size` is {size}{}, too small for an even spread over {backends} backends",
            if entry.is_none() { " by default" } else { "" },
        );
        section.problem(line, what, help());
    } else if !value::is_prime(size) {
        let what = format!("`{path}.ring_size` is {size}, which is no prime");
        section.problem(line, what, help());
    }
    size
}

fn check_name(name: &str, what: &str, section: &Section<'_>) {
    if !value::is_name(name) {
        section.problem(section.line(), format!("{name:?} cannot name a {what}"), NAME_HELP);
    }
}

impl Draft {
    /// Whether some clients are testers.
    pub(super) fn has_testers(&self) -> bool {
        !self.testers.is_empty()
    }

    /// The deployment, if all of it could be read.
    pub(super) fn finish(self) -> Option<(String, Deployment)> {
        let services = self.services.into_iter().map(ServiceDraft::finish);
        let services = services.collect::<Option<_>>()?;
        Some((self.name, Deployment { drain: self.drain, gate: self.gate, testers: self.testers, services }))
    }
}

impl ServiceDraft {
    fn finish(self) -> Option<(String, Service)> {
        let plain = |list: Vec<At<Backend>>| list.into_iter().map(|at| at.value).collect();
        let service = Service {
            vip: self.vip?.value,
            preview: self.preview.map(|at| at.value),
            shared_endpoints: self.shared_endpoints,
            protocol: self.protocol,
            affinity: self.affinity,
            mode: self.mode.value,
            ring_size: self.ring_size,
            idle_timeout: self.idle_timeout,
            other_ports: self.other_ports.value,
            blue: plain(self.blue),
            green: plain(self.green),
            health: self.health,
        };
        Some((self.name, service))
    }
}
