//! What must hold before a flip or a rollback. A guard that refuses changes nothing, says what is wrong
//! and what to do; some can be overridden, each by its own name.

use std::time::Duration;

use bg_common::control::{Control, Environment, Phase};

/// A rollback is not refused for a few dead hosts: half of the backends must be healthy.
const ROLLBACK_MIN_HEALTHY: f64 = 0.5;
/// Above this share of new connections that the SYN memory would keep on the old environment.
const SYN_MEMORY_RATE: f64 = 0.01;

/// Healthy backends of a service in the environment that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// The service.
    pub service: String,
    /// Backends that pass their checks, by results that are not stale.
    pub healthy: u32,
    /// Backends in all.
    pub total: u32,
    /// The first backend that is not healthy, and why.
    pub worst: Option<String>,
}

/// What the guards look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The word that holds.
    pub control: Control,
    /// Percent of the new connections that go to the environment that is not live; 0 without a canary.
    pub share: u8,
    /// Health of the environment that is asked for, per service.
    pub health: Vec<Fitness>,
    /// Fraction of it that must be healthy for a flip.
    pub min_healthy: f64,
    /// Its backends whose replies do not pass this node.
    pub bypassing: Vec<String>,
    /// How long until the SYN memory covers a whole SYN lifetime.
    pub syn_memory_complete_in: Duration,
    /// Share of new connections that it takes for known ones.
    pub syn_memory_rate: f64,
    /// Guards that are overridden.
    pub force: Vec<String>,
}

/// A guard's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name, as `--force` takes it.
    pub guard: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next: String,
    /// When it will hold by itself.
    pub retry_after: Option<Duration>,
}

/// The guards' names.
const HEALTH: &str = "health";
const SYN_MEMORY: &str = "syn-memory";
const RETURN_PATH: &str = "return-path";
const NOT_DRAINING: &str = "not-draining";
const DRAINING: &str = "draining";
/// The agent's own: the act could not be written to the journal first.
pub const JOURNAL: &str = "journal";

/// Whether a flip to `to` may go ahead. `Ok(false)`: it is live already and there is nothing to do.
///
/// # Errors
/// The first guard that refuses.
pub fn flip(facts: &Facts, to: Environment) -> Result<bool, Refusal> {
    known(&facts.force, &[HEALTH, SYN_MEMORY, RETURN_PATH, JOURNAL])?;
    if facts.control.phase() != Phase::Off && facts.control.current().environment == to && facts.share == 0 {
        return Ok(false);
    }
    health(facts, to, facts.min_healthy, "flip")?;
    return_path(facts)?;
    syn_memory(facts)?;
    Ok(true)
}

/// Whether `percent` of the new connections may go to `to` while the rest goes where it went. `Ok(false)`:
/// they do already.
///
/// # Errors
/// The first guard that refuses.
pub fn shift(facts: &Facts, to: Environment, percent: u8) -> Result<bool, Refusal> {
    let live = facts.control.current().environment;
    if facts.control.phase() != Phase::Steady && facts.control.base().environment != live {
        return Err(Refusal {
            guard: DRAINING,
            message: format!(
                "a flip to {} drains; only once it is over can a share of the connections go elsewhere",
                live.name()
            ),
            next: "wait for the drain, `bgctl drain` shows it; or `bgctl rollback`".to_owned(),
            retry_after: None,
        });
    }
    Ok(flip(facts, to)? && to != live && facts.share != percent)
}

/// Whether the deployment may go back to the environment it was flipped away from.
///
/// # Errors
/// The first guard that refuses.
pub fn rollback(facts: &Facts) -> Result<Environment, Refusal> {
    known(&facts.force, &[HEALTH, JOURNAL])?;
    let base = facts.control.base();
    if !can_roll_back(facts.control, facts.share) {
        return Err(Refusal {
            guard: NOT_DRAINING,
            message: "there is nothing to roll back: no flip is draining".to_owned(),
            next: "`bgctl flip` makes the other environment live, with its checks".to_owned(),
            retry_after: None,
        });
    }
    health(facts, base.environment, ROLLBACK_MIN_HEALTHY, "rollback")?;
    Ok(base.environment)
}

/// Whether there is a flip that has not been concluded, or a share of one.
#[must_use]
pub fn can_roll_back(control: Control, share: u8) -> bool {
    matches!(control.phase(), Phase::Drain | Phase::Seal)
        && (share > 0 || control.base().environment != control.current().environment)
}

fn known(force: &[String], guards: &[&str]) -> Result<(), Refusal> {
    let Some(wrong) = force.iter().find(|name| !guards.contains(&name.as_str())) else { return Ok(()) };
    Err(Refusal {
        guard: "force",
        message: format!("`{wrong}` is no guard that can be forced here"),
        next: format!("the guards are: {}", guards.join(", ")),
        retry_after: None,
    })
}

fn forced(facts: &Facts, guard: &str) -> bool {
    facts.force.iter().any(|name| name == guard)
}

fn health(facts: &Facts, to: Environment, minimum: f64, what: &str) -> Result<(), Refusal> {
    if forced(facts, HEALTH) {
        return Ok(());
    }
    let name = to.name();
    for share in &facts.health {
        let enough = share.healthy > 0 && f64::from(share.healthy) >= minimum * f64::from(share.total);
        if !enough {
            let worst = share.worst.as_deref().map(|worst| format!(" ({worst})")).unwrap_or_default();
            return Err(Refusal {
                guard: HEALTH,
                message: format!(
                    "{name} is not fit to be live: service `{}` has {} of {} backends healthy, {what} needs {:.0} %{worst}",
                    share.service,
                    share.healthy,
                    share.total,
                    minimum * 100.0
                ),
                next: format!("mend the {name} backends, `bgctl status` shows each; or --force {HEALTH}"),
                retry_after: None,
            });
        }
    }
    Ok(())
}

fn return_path(facts: &Facts) -> Result<(), Refusal> {
    let [first, others @ ..] = facts.bypassing.as_slice() else { return Ok(()) };
    if forced(facts, RETURN_PATH) {
        return Ok(());
    }
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    Err(Refusal {
        guard: RETURN_PATH,
        message: format!(
            "the replies of {first}{more} do not pass this node: connections were sent there and nothing came back"
        ),
        next: format!(
            "route that backend's replies to clients through this node (its default gateway, most often), then let a few connections prove it: `--share 1 --force {RETURN_PATH}`"
        ),
        retry_after: None,
    })
}

fn syn_memory(facts: &Facts) -> Result<(), Refusal> {
    if forced(facts, SYN_MEMORY) {
        return Ok(());
    }
    if !facts.syn_memory_complete_in.is_zero() {
        let seconds = facts.syn_memory_complete_in.as_secs() + 1;
        return Err(Refusal {
            guard: SYN_MEMORY,
            message: format!(
                "the program was loaded a moment ago and does not know yet which connections are just being opened; it will in {seconds} s"
            ),
            next: format!("wait; or --force {SYN_MEMORY} if nothing was served here before"),
            retry_after: Some(facts.syn_memory_complete_in),
        });
    }
    if facts.syn_memory_rate > SYN_MEMORY_RATE {
        return Err(Refusal {
            guard: SYN_MEMORY,
            message: format!(
                "{:.1} % of new connections would stay on the old environment: the SYN memory is too small for this many connections, or under a flood",
                facts.syn_memory_rate * 100.0
            ),
            next: format!("raise `syn_memory` under [limits]; or --force {SYN_MEMORY}"),
            retry_after: None,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::switch::{conclude, ring, switch_to};

    fn steady_on_blue() -> Control {
        let blue = ring(0, Environment::Blue);
        Control::new(Phase::Steady, blue, blue, 0, 1)
    }

    fn facts(healthy: u32) -> Facts {
        Facts {
            control: steady_on_blue(),
            share: 0,
            bypassing: Vec::new(),
            health: vec![Fitness { service: "web".to_owned(), healthy, total: 2, worst: None }],
            min_healthy: 1.0,
            syn_memory_complete_in: Duration::ZERO,
            syn_memory_rate: 0.0,
            force: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_idle_environment_may_go_live() {
        assert_eq!(flip(&facts(2), Environment::Green), Ok(true));
    }

    #[test]
    fn the_live_environment_is_live_already_whatever_its_health() {
        assert_eq!(flip(&facts(0), Environment::Blue), Ok(false));
    }

    #[test]
    fn one_unhealthy_backend_refuses_a_flip_and_can_be_forced_by_name_only() {
        assert_eq!(flip(&facts(1), Environment::Green).unwrap_err().guard, HEALTH);
        let force = |name: &str| Facts { force: vec![name.to_owned()], ..facts(1) };
        assert_eq!(flip(&force(SYN_MEMORY), Environment::Green).unwrap_err().guard, HEALTH);
        assert_eq!(flip(&force("everything"), Environment::Green).unwrap_err().guard, "force");
        assert_eq!(flip(&force(HEALTH), Environment::Green), Ok(true));
    }

    #[test]
    fn a_young_or_full_syn_memory_refuses_a_flip() {
        let young = Facts { syn_memory_complete_in: Duration::from_secs(100), ..facts(2) };
        let refusal = flip(&young, Environment::Green).unwrap_err();
        assert_eq!((refusal.guard, refusal.retry_after), (SYN_MEMORY, Some(Duration::from_secs(100))));
        let full = Facts { syn_memory_rate: 0.02, ..facts(2) };
        assert_eq!(flip(&full, Environment::Green).unwrap_err().guard, SYN_MEMORY);
    }

    #[test]
    fn a_rollback_needs_a_flip_that_drains_and_half_of_the_old_environment() {
        assert_eq!(rollback(&facts(2)).unwrap_err().guard, NOT_DRAINING);
        let flipped = switch_to(steady_on_blue(), ring(1, Environment::Green));
        let draining = |healthy| Facts { control: flipped, ..facts(healthy) };
        assert_eq!(rollback(&draining(1)), Ok(Environment::Blue));
        assert_eq!(rollback(&draining(0)).unwrap_err().guard, HEALTH);
        let over = Facts { control: conclude(flipped, false), ..facts(2) };
        assert_eq!(rollback(&over).unwrap_err().guard, NOT_DRAINING);
    }

    #[test]
    fn a_share_goes_up_down_and_back_and_only_from_one_live_environment() {
        assert_eq!(shift(&facts(2), Environment::Green, 25), Ok(true));
        let mixed = switch_to(steady_on_blue(), ring(1, Environment::Blue));
        let shifting = Facts { control: mixed, share: 25, ..facts(2) };
        assert_eq!(shift(&shifting, Environment::Green, 25), Ok(false));
        assert_eq!(shift(&shifting, Environment::Green, 50), Ok(true));
        assert_eq!(flip(&shifting, Environment::Green), Ok(true));
        assert_eq!(rollback(&shifting), Ok(Environment::Blue));
        // Back by another name.
        assert_eq!(flip(&shifting, Environment::Blue), Ok(true));
        let flipped = switch_to(steady_on_blue(), ring(1, Environment::Green));
        let draining = Facts { control: flipped, ..facts(2) };
        assert_eq!(shift(&draining, Environment::Blue, 25).unwrap_err().guard, DRAINING);
    }

    #[test]
    fn backends_whose_replies_go_elsewhere_refuse_a_flip() {
        let bypassing = Facts { bypassing: vec!["10.0.2.1:80".to_owned()], ..facts(2) };
        assert_eq!(flip(&bypassing, Environment::Green).unwrap_err().guard, RETURN_PATH);
        let forced = Facts { force: vec![RETURN_PATH.to_owned()], ..bypassing };
        assert_eq!(flip(&forced, Environment::Green), Ok(true));
    }
}
