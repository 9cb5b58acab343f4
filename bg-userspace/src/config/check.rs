//! From text to configuration, and what the parts of a file must have in common: no endpoint is
//! shared, no VIP is a backend, everything fits the limits.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use bg_common::abi::OTHERS;
use bg_common::ring::SLOTS_PER_ELEMENT;
use toml::de::DeTable;

use super::{
    deployment::{self, Draft, ServiceDraft},
    error::Problem,
    node::{self, LimitsAt},
    section::{At, Notes, Section},
    types::{Backend, Config, Mode, OtherPorts, Protocol, RINGS_PER_SERVICE},
};

/// The kernel counts the bytes of one table with 32 bits.
const SYN_MEMORY_ALL: u64 = 4 << 30;

/// The configuration, if nothing in it is in the way of building one; and every problem.
pub(super) fn config(text: &str) -> (Option<Config>, Vec<Problem>) {
    let notes = Notes::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        syntax_problem(&notes, text, error);
    }
    if !errors.is_empty() {
        // What follows a syntax error may be misunderstood; nothing is said about it.
        return (None, notes.into_problems());
    }
    let mut root = Section::root(&notes, table.get_ref());
    let node = node::node(&mut root);
    let limits = node::limits(&mut root);
    let drafts = deployment::deployments(&mut root);
    root.finish();
    check_vips(&drafts, &notes);
    check_backends(&drafts, &notes);
    check_families(&drafts, &notes);
    check_ports(&drafts, &notes);
    check_limits(&drafts, &limits, &notes);
    let deployments = drafts.into_iter().map(Draft::finish).collect::<Option<_>>();
    let config = deployments.map(|deployments| Config { node, limits: limits.plain(), deployments });
    (config, notes.into_problems())
}

fn syntax_problem(notes: &Notes, text: &str, error: &toml::de::Error) {
    let span = error.span().unwrap_or(0..0);
    let line = notes.line(span.start);
    let what = error.message().replace('\n', ", ");
    let (what, help) = if what == "duplicate key" {
        let key = text.get(span).unwrap_or_default();
        (format!("{what} `{key}`"), "write it once")
    } else {
        (what, "this is no TOML; strings, durations and addresses need quotes")
    };
    notes.problem(line, what, help);
}

fn services(drafts: &[Draft]) -> impl Iterator<Item = &ServiceDraft> {
    drafts.iter().flat_map(|draft| &draft.services)
}

/// The VIP and the preview of a service, with their keys.
fn vips(service: &ServiceDraft) -> impl Iterator<Item = (&'static str, At<SocketAddr>)> {
    [("vip", service.vip), ("preview", service.preview)].into_iter().filter_map(|(key, at)| Some((key, at?)))
}

/// Backends of both environments with the name of their list.
fn backends(service: &ServiceDraft) -> impl Iterator<Item = (String, &At<Backend>)> {
    let lists = [("blue", &service.blue), ("green", &service.green)];
    lists.into_iter().flat_map(move |(environment, list)| {
        list.iter().map(move |at| (format!("{}.{environment}", service.path), at))
    })
}

fn check_vips(drafts: &[Draft], notes: &Notes) {
    let mut seen: BTreeMap<(SocketAddr, Protocol), &ServiceDraft> = BTreeMap::new();
    let mut ports: BTreeMap<IpAddr, (&ServiceDraft, OtherPorts)> = BTreeMap::new();
    for service in services(drafts) {
        for (key, At { line, value: vip }) in vips(service) {
            if let Some(first) = seen.get(&(vip, service.protocol)) {
                notes.problem(
                    line,
                    format!("`{}.{key}` is {vip}, which `{}` has already", service.path, first.path),
                    "give each service an address and port of its own",
                );
            } else {
                seen.insert((vip, service.protocol), service);
            }
            let other = service.other_ports;
            let (first, choice) = *ports.entry(vip.ip()).or_insert((service, other.value));
            if choice != other.value {
                let (address, name) = (vip.ip(), &first.path);
                notes.problem(
                    other.line,
                    format!("`{}.other_ports` differs from `{name}` for {address}", service.path),
                    "write the same other_ports in every service of one address",
                );
            }
        }
    }
}

fn check_backends(drafts: &[Draft], notes: &Notes) {
    let vips: BTreeMap<IpAddr, &str> = services(drafts)
        .flat_map(|service| vips(service).map(|(_, at)| (at.value.ip(), service.path.as_str())))
        .collect();
    let mut seen: BTreeMap<(SocketAddr, Protocol), Vec<Role<'_>>> = BTreeMap::new();
    for service in services(drafts) {
        for (list, At { line, value }) in backends(service) {
            let backend = value.address;
            if let Some(owner) = vips.get(&backend.ip()) {
                notes.problem(
                    *line,
                    format!("`{list}` has {backend}, but {} is the VIP of `{owner}`", backend.ip()),
                    "name the backend by its own address; the VIP belongs to the node",
                );
            }
            let key = (backend, service.protocol);
            let roles = seen.entry(key).or_default();
            check_role(roles, &list, service, *line, backend, notes);
            roles.push(Role { list, line: *line, service });
        }
    }
}

/// A backend that has the VIP is sent what is to the VIP's port, and no other.
fn check_ports(drafts: &[Draft], notes: &Notes) {
    for service in services(drafts).filter(|service| service.mode.value != Mode::Nat) {
        let Some(At { value: vip, .. }) = service.vip else { continue };
        for (list, At { line, value: Backend { address, .. } }) in backends(service) {
            if address.port() != vip.port() {
                let mode = service.mode.value;
                notes.problem(
                    *line,
                    format!("`{list}` has {address}, but with mode = \"{mode}\" ports stay as they are"),
                    format!("let it listen on the VIP's port, {}; or use mode = \"nat\"", vip.port()),
                );
            }
        }
    }
}

/// Where an endpoint is named.
struct Role<'d> {
    list: String,
    line: usize,
    service: &'d ServiceDraft,
}

/// An endpoint may serve several services if all of them but one pin every flow. A preview is one more of them.
fn check_role(
    roles: &[Role<'_>],
    list: &str,
    service: &ServiceDraft,
    line: usize,
    backend: SocketAddr,
    notes: &Notes,
) {
    let Some(first) = roles.first() else { return };
    let what = format!("`{list}` has {backend}, which `{}` has already, on line {}", first.list, first.line);
    if roles.iter().any(|role| role.service.path == service.path) {
        let help = "a backend serves one environment of a service, once";
        return notes.problem(line, what, help);
    }
    // Where backends answer clients themselves, no reply has to be told from another.
    let through_here = |service: &&ServiceDraft| service.mode.value == Mode::Nat;
    let all = || roles.iter().map(|role| role.service).chain([service]).filter(through_here);
    if all().filter(|service| !service.shared_endpoints).count() > 1 {
        let help = format!(
            "let each backend listen on an address:port for this one service and environment, or a reply could not \
             be told from the other's; or set shared_endpoints = true in [{}]",
            service.path
        );
        return notes.problem(line, what, help);
    }
    let previews = all().filter(|service| service.preview.is_some()).count();
    if all().count() + previews > 1 + OTHERS {
        let help = format!("an endpoint may serve {} at most, previews included", 1 + OTHERS);
        notes.problem(line, what, help);
    }
}

/// Addresses are rewritten, packets are not translated from one family to the other. Within another packet, one of
/// either family travels over IPv6.
fn check_families(drafts: &[Draft], notes: &Notes) {
    let family = |address: SocketAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    for service in services(drafts) {
        let Some(At { value: vip, .. }) = service.vip else { continue };
        if let Some(At { line, value: preview }) = service.preview
            && preview.is_ipv4() != vip.is_ipv4()
        {
            notes.problem(
                line,
                format!("`{}.preview` is {preview}, and the VIP is {vip}", service.path),
                format!("an {} address, for the same backends", family(vip)),
            );
        }
        for (list, At { line, value: Backend { address, .. } }) in backends(service) {
            let travels_within = service.mode.value == Mode::Ipip && address.is_ipv6();
            if address.is_ipv4() != vip.is_ipv4() && !travels_within {
                let (own, other) = (family(*address), family(vip));
                notes.problem(
                    *line,
                    format!("`{list}` has {address}, an {own} backend behind an {other} VIP, {vip}"),
                    format!("name it by its {other} address; a service for {own} has a VIP of its own"),
                );
            }
        }
    }
}

fn check_limits(drafts: &[Draft], limits: &LimitsAt, notes: &Notes) {
    let check = |name: &str, limit: At<u32>, needed: u64, of: &str| {
        if needed > u64::from(limit.value) {
            notes.problem(
                limit.line,
                format!("`limits.{name}` is {}, but {needed} {of}", limit.value),
                format!("{name} = {needed} or more, under [limits]"),
            );
        }
    };
    let count = |items: usize| items as u64;
    let backends: usize = services(drafts).map(|service| backends(service).count()).sum();
    // A ring begins with an element of the table, which has room for several slots.
    let room = |service: &ServiceDraft| u64::from(service.ring_size.next_multiple_of(SLOTS_PER_ELEMENT));
    let sets = |draft: &Draft, service: &ServiceDraft| {
        if service.preview.is_some() || draft.has_testers() { 2 } else { 1 }
    };
    let of_draft = |draft: &Draft| draft.services.iter().map(|s| room(s) * sets(draft, s)).sum::<u64>();
    let slots: u64 = drafts.iter().map(of_draft).sum();
    let previews = services(drafts).filter(|service| service.preview.is_some()).count();
    check("deployments", limits.deployments, count(drafts.len()), "are configured");
    check("services", limits.services, count(services(drafts).count() + previews), "are configured");
    check("backends", limits.backends, count(backends), "are configured");
    let needs = "are needed, three rings for every service, and three more with a preview or testers";
    check("ring_entries", limits.ring_entries, slots * RINGS_PER_SERVICE, needs);
    let memory = 2 * u64::from(limits.deployments.value) * limits.syn_memory.value;
    if memory > SYN_MEMORY_ALL {
        notes.problem(
            limits.syn_memory.line,
            format!("`limits.syn_memory` makes {} MiB for all deployments", memory >> 20),
            "two filters for each of limits.deployments must fit 4 GiB: lower one of the two",
        );
    }
}
