//! What the operator sees.

use bg_common::control::{Environment, Phase};

use super::switch::environment;
use super::{Agent, Managed};
use crate::api::types;
use crate::datapath::{Attachment, Error, clock};
use crate::rollout::{self, State};

impl Agent {
    pub(super) fn status(&self) -> Result<types::Status, Error> {
        Ok(types::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            interfaces: self.datapath.attachments().iter().map(interface).collect(),
            deployments: (0..self.deployments.len())
                .map(|at| self.deployment_status(at))
                .collect::<Result<_, _>>()?,
            warnings: self.node_warnings()?,
        })
    }

    pub(super) fn deployment_status(&self, at: usize) -> Result<types::DeploymentStatus, Error> {
        let deployment = &self.deployments[at];
        let index = deployment.installed.index;
        let control = self.datapath.control(index);
        let state = self.state(at);
        let environments = [Environment::Blue, Environment::Green]
            .into_iter()
            .map(|which| self.environment_status(deployment, which))
            .collect::<Result<_, _>>()?;
        let rate = self.datapath.false_positive_rate(index);
        let drains = matches!(state, State::Draining | State::RollingBack);
        let drain = if drains { Some(self.drain_status(at)?) } else { None };
        let steady = control.phase() == Phase::Steady;
        let warnings = deployment
            .alarm
            .iter()
            .chain(deployment.lost.iter().filter(|_| !steady))
            .cloned()
            .chain(self.path_warnings(deployment))
            .chain(self.pins_warning(drain.as_ref()))
            .collect();
        let complete_in = self.syn_memory_complete_in(index);
        Ok(types::DeploymentStatus {
            name: deployment.installed.name.clone(),
            state: match state {
                State::Idle => types::State::Idle,
                State::Shifting => types::State::Shifting,
                State::Draining => types::State::Draining,
                State::RollingBack => types::State::RollingBack,
            },
            phase: match control.phase() {
                Phase::Off | Phase::Steady => types::Phase::Steady,
                Phase::Drain => types::Phase::Drain,
                Phase::Seal => types::Phase::Seal,
            },
            generation: control.epoch(),
            live: environment(control.current().environment),
            share: Some(self.share(at)).filter(|share| *share > 0),
            environments,
            services: service_status(deployment),
            testers: deployment.config.testers.iter().map(ToString::to_string).collect(),
            drain,
            syn_memory: types::SynMemoryStatus {
                false_positive_rate: rate,
                complete_in_s: complete_in.as_millis().div_ceil(1000) as u64,
            },
            warnings,
            last: deployment.last.clone(),
        })
    }

    fn environment_status(
        &self,
        deployment: &Managed,
        which: Environment,
    ) -> Result<types::EnvironmentStatus, Error> {
        let mut status = types::EnvironmentStatus {
            environment: environment(which),
            healthy: 0,
            backends: 0,
            connections: 0,
            packets: 0,
            members: Vec::new(),
        };
        for service in &deployment.installed.services {
            let counter = self.datapath.counter(service.id, which)?;
            status.connections += counter.connections;
            status.packets += counter.packets;
            for backend in service.backends.iter().filter(|backend| backend.environment == which) {
                let known = self.backends.get(backend.id);
                let health = match known {
                    Some(known) if known.dead => "dead",
                    Some(known) => match known.healthy() {
                        Some(true) => "healthy",
                        Some(false) => "unhealthy",
                        None => "unknown",
                    },
                    None => "unknown",
                };
                if !backend.leaving {
                    status.backends += 1;
                    status.healthy += u32::from(health == "healthy");
                }
                let asked = self.datapath.backend_counter(backend.id)?;
                status.members.push(types::BackendStatus {
                    service: service.name.clone(),
                    address: backend.address.to_string(),
                    health: health.to_owned(),
                    weight: backend.weight,
                    leaving: backend.leaving,
                    syns: asked.syns,
                    syn_acks: asked.syn_acks,
                    reason: known.and_then(super::backends::Backend::complaint),
                });
            }
        }
        Ok(status)
    }

    fn drain_status(&self, at: usize) -> Result<types::DrainStatus, Error> {
        let view = self.view(at);
        let index = self.deployments[at].installed.index;
        let ledger = self.datapath.ledger(index);
        let leaving = view.control.leaving();
        let waiting_for = match rollout::next(&view) {
            rollout::Next::Wait(reason) => reason,
            _ => "one last count".to_owned(),
        };
        let left = |deadline: u64| deadline.saturating_sub(clock::monotonic()).div_ceil(1_000_000_000);
        Ok(types::DrainStatus {
            leaving: environment(leaving),
            age_s: view.age,
            flows: view.open(),
            seen: view.census.seen,
            last_seen_s: view.census.last_seen.map(u64::from),
            pins: view.pins.total,
            overflow: self.overflow(at, leaving)?.saturating_sub(ledger.overflow_at_switch),
            idle_horizon_s: view.horizon.into(),
            deadline_s: (ledger.deadline_at != 0).then(|| left(ledger.deadline_at)),
            waiting_for,
        })
    }

    /// Backends whose replies go another way.
    fn path_warnings(&self, deployment: &Managed) -> Vec<String> {
        let bypassing = deployment.backends().filter(|backend| self.paths.bypasses(backend.id));
        bypassing
            .map(|backend| {
                format!(
                    "{} ({}): its replies do not pass this node; connections were sent there and nothing came back, so its clients get none: route its replies through this node",
                    backend.address,
                    backend.environment.name()
                )
            })
            .collect()
    }

    /// From half full on, new connections do not always find a pin, and keep a drain from ending.
    fn pins_warning(&self, drain: Option<&types::DrainStatus>) -> Option<String> {
        let (pins, capacity) = (drain?.pins, self.datapath.pin_capacity());
        if capacity == 0 {
            return Some(
                "`pins` is 0: new connections go on to the environment that is being left, which never gets empty"
                    .to_owned(),
            );
        }
        (pins * 2 > capacity).then(|| {
            format!(
                "the pin table is more than half full ({pins} of {capacity}): some new connections stay on the environment that is being left, which prolongs the drain; raise `pins` under [limits]"
            )
        })
    }

    /// What the program drops and hands on that should not happen often.
    fn node_warnings(&self) -> Result<Vec<String>, Error> {
        use bg_common::reason::Reason;
        let attached = self.datapath.attachments().iter().flat_map(|attached| &attached.warnings);
        let mut warnings: Vec<_> = attached.cloned().chain(self.book.trouble()).collect();
        for (reason, help) in [
            (
                Reason::NoRoute,
                "no route to a backend or client; `ip route get ADDRESS` on this node shows why",
            ),
            (Reason::Refused, "clients were sent to an environment without a backend, and told so"),
            (
                Reason::UnknownFragment,
                "later fragments came without the first one, or before it; lower the sender's MTU",
            ),
            (Reason::Failed, "the kernel refused an act of the program"),
        ] {
            let packets = self.datapath.reason(reason)?.packets;
            if packets > 0 {
                warnings.push(format!("{packets} packets `{}` since the first load: {help}", reason.name()));
            }
        }
        Ok(warnings)
    }
}

fn interface(attached: &Attachment) -> types::InterfaceStatus {
    types::InterfaceStatus { name: attached.interface.clone(), mode: attached.mode().to_owned() }
}

fn service_status(deployment: &Managed) -> Vec<types::ServiceStatus> {
    deployment
        .installed
        .services
        .iter()
        .filter_map(|service| {
            let wanted = deployment.config.services.get(&service.name)?;
            Some(types::ServiceStatus {
                name: service.name.clone(),
                vip: format!("{}/{}", wanted.vip, wanted.protocol),
                mode: wanted.mode.to_string(),
                preview: wanted.preview.map(|preview| format!("{preview}/{}", wanted.protocol)),
            })
        })
        .collect()
}
