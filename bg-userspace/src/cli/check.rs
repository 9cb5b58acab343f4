//! `bgctl config check`: reads a file as the agent would.

use std::path::Path;

use serde_json::json;

use super::{
    exit::{Exit, Failure},
    output::Output,
    text,
};
use crate::config::{self, Config};

pub(super) fn run(output: &Output, file: &Path) -> Result<Exit, Failure> {
    let config = config::load(file).map_err(|error| failure(file, &error))?;
    output.answer(&summary(file, &config), || {
        let mut lines = vec![output.paint().good(&format!("{}: valid", file.display()))];
        lines.extend(config.deployments.iter().map(|(name, deployment)| {
            let services = deployment.services.values();
            let blue: usize = services.clone().map(|service| service.blue.len()).sum();
            let green: usize = services.map(|service| service.green.len()).sum();
            let services = text::counted(deployment.services.len() as u64, "service");
            format!("{name}: {services}, {blue} blue and {green} green backends")
        }));
        lines.push("next: bgctl reload, or restart bgd; traffic flows on meanwhile".to_owned());
        lines.join("\n  ")
    })?;
    Ok(Exit::Done)
}

fn summary(file: &Path, config: &Config) -> serde_json::Value {
    let deployments = config.deployments.iter().map(|(name, deployment)| {
        let services = deployment.services.iter().map(|(name, service)| {
            let value = json!({
                "vip": format!("{}/{}", service.vip, service.protocol),
                "blue": backends(&service.blue),
                "green": backends(&service.green),
            });
            (name.clone(), value)
        });
        let services: serde_json::Map<_, _> = services.collect();
        (name.clone(), json!({ "services": services }))
    });
    let deployments: serde_json::Map<_, _> = deployments.collect();
    json!({ "file": file.display().to_string(), "valid": true, "deployments": deployments })
}

fn backends(list: &[config::Backend]) -> serde_json::Value {
    list.iter().map(|backend| json!({ "address": backend.address, "weight": backend.weight })).collect()
}

fn failure(file: &Path, error: &config::Error) -> Failure {
    let problems = error.problems();
    let next = match problems.len() {
        0 => None,
        many => Some(format!("mend {}", text::counted(many as u64, "problem"))),
    };
    let mut failure = Failure::new(Exit::Error, "bad_request", &error.to_string(), next);
    failure.json["file"] = json!(file.display().to_string());
    failure.json["problems"] = problems
        .iter()
        .map(|problem| json!({ "line": problem.line, "what": problem.what, "help": problem.help }))
        .collect();
    failure
}
