//! The section `[deployments.NAME.services.NAME.health]`.

use std::time::Duration;

use toml::de::DeValue;

use super::{
    section::{At, Complaint, Entry, Section},
    types::{Health, HealthKind},
    value,
};

const PATHS_HELP: &str = "a list of paths that must all answer, such as paths = [\"/health\"]";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Http,
}

/// Reads a health check; what is absent has a default.
pub(super) fn health(mut section: Section<'_>) -> Health {
    let default = Health::default();
    let kind = kind(&mut section);
    let read_count = |value: &DeValue<'_>| value::integer_u32(value, 1..=100);
    let mut count = |key, default| {
        let found = section.take(key).and_then(|entry| entry.read(read_count));
        found.map_or(default, |at: At<u32>| at.value)
    };
    let (rise, fall) = (count("rise", default.rise), count("fall", default.fall));
    let read_port = |value: &DeValue<'_>| value::integer_u32(value, 1..=65_535);
    let port = section.take("port").and_then(|entry| entry.read(read_port));
    let (interval, timeout) = times(&mut section, &default);
    let health = Health { kind, port: port.map(|at| at.value as u16), interval, timeout, rise, fall };
    section.finish();
    health
}

fn times(section: &mut Section<'_>, default: &Health) -> (Duration, Duration) {
    let hour = Duration::from_hours(1);
    let ten = Duration::from_millis(10);
    let read_interval = |value: &DeValue<'_>| value::duration(value, ten..=hour);
    let interval = section.take("interval").and_then(|entry| entry.read(read_interval));
    let interval = interval.map_or(default.interval, |at| at.value);
    let one = Duration::from_millis(1);
    let read_timeout = |value: &DeValue<'_>| value::duration(value, one..=hour);
    let Some(entry) = section.take("timeout") else {
        return (interval, default.timeout.min(interval));
    };
    let Some(timeout) = entry.read(read_timeout) else {
        return (interval, default.timeout);
    };
    if timeout.value > interval {
        let shown = humantime::format_duration(interval);
        entry.complain(
            &format!("is longer than the interval, {shown}"),
            format!("at most \"{shown}\", so that one probe ends before the next begins"),
        );
    }
    (interval, timeout.value)
}

/// What is asked. Keys that only HTTP knows are refused beside `kind = "tcp"`, because a check that
/// somebody believes in would not take place.
fn kind(section: &mut Section<'_>) -> HealthKind {
    let kinds = [("http", Kind::Http), ("tcp", Kind::Tcp)];
    let entry = section.take("kind");
    let written = entry.is_some();
    let read = |entry: Entry<'_>| entry.read(|value| value::one_of(value, &kinds));
    let kind = entry.and_then(read).map(|at| at.value);
    let paths = section.take("paths");
    let expect = section.take("expect");
    let host = section.take("host");
    let settings: Vec<_> = [&paths, &expect, &host].into_iter().flatten().collect();
    if kind == Some(Kind::Http) {
        if paths.is_none() {
            let what = format!("`{}.paths` is missing", section.path());
            section.problem(section.line(), what, PATHS_HELP);
        }
        let expect = expect.and_then(|entry| entry.read(status));
        let host = host.and_then(|entry| entry.read(host_header));
        return HealthKind::Http {
            paths: paths.map_or_else(Vec::new, |entry| read_paths(&entry)),
            expect: expect.map(|at| at.value),
            host: host.map(|at| at.value),
        };
    }
    // A kind that could not be read was reported already, and may have been meant to be http.
    if !written || kind.is_some() {
        for setting in settings {
            setting.complain("has no meaning for a tcp check", "add kind = \"http\", or remove it");
        }
    }
    HealthKind::Tcp
}

fn read_paths(entry: &Entry<'_>) -> Vec<String> {
    let elements = entry.list(PATHS_HELP);
    if elements.as_ref().is_some_and(Vec::is_empty) {
        entry.complain("is empty", PATHS_HELP);
    }
    let elements = elements.unwrap_or_default().into_iter();
    elements.filter_map(|element| element.read(path)).map(|at| at.value).collect()
}

fn path(value: &DeValue<'_>) -> Result<String, Complaint> {
    let text = value::string(value, "/health")?;
    let is_uri = text.parse::<hyper::http::uri::PathAndQuery>().is_ok();
    if text.starts_with('/') && text.len() <= 1024 && is_uri && !text.contains('#') {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("is {text:?}, which is no path"),
        "begin it with a slash, escape spaces as %20, and keep to 1024 bytes, such as \"/health\"",
    ))
}

fn status(value: &DeValue<'_>) -> Result<u16, Complaint> {
    // 1xx never ends an exchange.
    value::integer_u32(value, 200..=599).map(|status| status as u16)
}

fn host_header(value: &DeValue<'_>) -> Result<String, Complaint> {
    let text = value::string(value, "shop.example")?;
    if !text.is_empty() && text.parse::<hyper::http::uri::Authority>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("is {text:?}, which is no host"),
        "a host name, with a port if it has one, such as \"shop.example\"",
    ))
}
