//! `bgctl status`: one screen that answers what is live, whether it is well, and what goes on.

use super::{
    drain,
    exit::{Exit, Failure},
    output::Output,
    text::{self, Paint, clean},
};
use crate::api::{
    client::Client,
    types::{BackendStatus, DeploymentStatus, EnvironmentStatus, Phase, State, Status},
};

pub(super) async fn run(
    output: &Output,
    client: &Client,
    deployment: Option<String>,
) -> Result<Exit, Failure> {
    let paint = output.paint();
    if let Some(name) = deployment {
        let status = client.deployment(&name).await?;
        output.answer(&status, || screen(paint, &status).join("\n"))?;
    } else {
        let status = client.status().await?;
        output.answer(&status, || node(paint, &status).join("\n"))?;
    }
    Ok(Exit::Done)
}

/// The whole node.
pub(super) fn node(paint: Paint, status: &Status) -> Vec<String> {
    let interfaces = status.interfaces.iter();
    let interfaces = interfaces.map(|it| format!("{} ({})", clean(&it.name), clean(&it.mode)));
    let interfaces: Vec<_> = interfaces.collect();
    let mut lines = vec![paint.faint(&format!(
        "bgd {}, up {}, on {}",
        clean(&status.version),
        text::seconds(status.uptime_s),
        interfaces.join(", "),
    ))];
    lines.extend(warnings(paint, &status.warnings));
    for deployment in &status.deployments {
        lines.push(String::new());
        lines.extend(screen(paint, deployment));
    }
    lines
}

/// One deployment.
pub(super) fn screen(paint: Paint, status: &DeploymentStatus) -> Vec<String> {
    let name = clean(&status.name);
    let mut lines =
        vec![format!("{}   generation {}   {}", paint.bold(&name), status.generation, state(paint, status),)];
    for environment in &status.environments {
        lines.push(summary(paint, status, environment));
        for member in &environment.members {
            lines.extend(trouble(paint, member));
            lines.extend(difference(paint, member));
        }
    }
    if let Some(drain) = &status.drain {
        lines.extend(drain::details(drain).into_iter().map(|line| format!("  {line}")));
    }
    lines.extend(services(status));
    lines.extend(testers(status));
    lines.extend(syn_memory(paint, status));
    lines.extend(warnings(paint, &status.warnings));
    if let Some(last) = &status.last {
        lines.push(paint.faint(&format!("  last: {}", clean(last))));
    }
    lines.push(format!("  next: {}", next(status, &name)));
    lines
}

fn state(paint: Paint, status: &DeploymentStatus) -> String {
    let drain = status.drain.as_ref();
    let draining = drain.map_or_else(String::new, |drain| {
        let leaving = text::name(drain.leaving);
        format!(" {leaving} for {}", text::seconds(drain.age_s))
    });
    let sealed = if status.phase == Phase::Seal { ", last count" } else { "" };
    match status.state {
        State::Idle => paint.good("● IDLE"),
        State::Shifting => paint.odd(&format!("● SHIFTING{}", shared(status))) + ", rollback possible",
        State::Draining => paint.odd(&format!("● DRAINING{draining}{sealed}")) + ", rollback possible",
        State::RollingBack => paint.odd(&format!("● ROLLING BACK, draining{draining}{sealed}")),
    }
}

/// `, green 25 % of new connections`.
fn shared(status: &DeploymentStatus) -> String {
    let to = text::name(text::other(status.live));
    status.share.map_or_else(String::new, |share| format!(", {to} {share} % of new connections"))
}

fn summary(paint: Paint, status: &DeploymentStatus, environment: &EnvironmentStatus) -> String {
    let which = environment.environment;
    let mark = if which == status.live { "▶" } else { " " };
    let EnvironmentStatus { healthy, backends, .. } = environment;
    let health = format!("{healthy}/{backends} healthy");
    let health = if healthy == backends && *backends > 0 {
        paint.good(&health)
    } else if *healthy == 0 {
        paint.bad(&health)
    } else {
        paint.odd(&health)
    };
    format!(
        "  {mark} {}  {health}   {}   {}",
        paint.environment(which, &format!("{:5}", text::name(which))),
        text::counted(environment.connections, "connection"),
        text::counted(environment.packets, "packet"),
    )
}

/// A backend that is not healthy.
fn trouble(paint: Paint, member: &BackendStatus) -> Option<String> {
    if member.health == "healthy" {
        return None;
    }
    let health = match member.health.as_str() {
        "unknown" => paint.odd("unknown"),
        other => paint.bad(&clean(other)),
    };
    let reason = member.reason.as_ref().map(|reason| format!(": {}", clean(reason)));
    Some(format!(
        "      {} of {} is {health}{}",
        clean(&member.address),
        clean(&member.service),
        reason.unwrap_or_default(),
    ))
}

/// A backend that takes another share of new connections than the others.
fn difference(paint: Paint, member: &BackendStatus) -> Option<String> {
    let how = match member {
        BackendStatus { leaving: true, .. } => "leaves, and keeps its connections".to_owned(),
        BackendStatus { weight: 0, .. } => "has weight 0, and takes no new connection".to_owned(),
        BackendStatus { weight: 100, .. } => return None,
        BackendStatus { weight, .. } => format!("has weight {weight}"),
    };
    let BackendStatus { address, service, .. } = member;
    Some(paint.faint(&format!("      {} of {} {how}", clean(address), clean(service))))
}

fn services(status: &DeploymentStatus) -> impl Iterator<Item = String> {
    let width = |of: fn(&crate::api::types::ServiceStatus) -> &String| {
        status.services.iter().map(|service| of(service).chars().count()).max().unwrap_or(0)
    };
    let idle = text::name(text::other(status.live));
    let (name, vip) = (width(|service| &service.name), width(|service| &service.vip));
    status.services.iter().map(move |service| {
        let preview = service.preview.as_ref();
        let preview = preview.map(|preview| format!("   preview {} -> {idle}", clean(preview)));
        format!(
            "  {:name$}  {:vip$}  {}{}",
            clean(&service.name),
            clean(&service.vip),
            service.mode,
            preview.unwrap_or_default()
        )
    })
}

/// Whose new connections go to the environment that is not live.
fn testers(status: &DeploymentStatus) -> Option<String> {
    let idle = text::name(text::other(status.live));
    let prefixes: Vec<_> = status.testers.iter().map(|prefix| clean(prefix)).collect();
    (!prefixes.is_empty()).then(|| format!("  testers {} -> {idle}", prefixes.join(", ")))
}

/// Said only where it matters: a flip would wait for it, or err more than it should.
fn syn_memory(paint: Paint, status: &DeploymentStatus) -> Option<String> {
    let memory = &status.syn_memory;
    if memory.complete_in_s > 0 {
        let left = text::seconds(memory.complete_in_s);
        return Some(paint.odd(&format!("  SYN memory complete in {left}; a flip waits for it")));
    }
    (memory.false_positive_rate > 0.001).then(|| {
        let share = memory.false_positive_rate * 100.0;
        paint.odd(&format!("  SYN memory errs for {share:.1} % of new connections, towards base"))
    })
}

fn warnings(paint: Paint, warnings: &[String]) -> impl Iterator<Item = String> {
    warnings.iter().map(move |warning| paint.odd(&format!("  ! {}", clean(warning))))
}

fn next(status: &DeploymentStatus, name: &str) -> String {
    match status.state {
        State::Idle => format!("bgctl flip {name}"),
        State::Shifting => format!("bgctl flip {name} | bgctl rollback {name}"),
        State::Draining => format!("bgctl drain {name} --wait | bgctl rollback {name}"),
        State::RollingBack => format!("bgctl drain {name} --wait"),
    }
}
