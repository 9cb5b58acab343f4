//! A drain, step by step: is the environment that is being left empty, and what comes next?

use bg_common::control::{Control, Phase};

use super::switch::{Motive, State, state};
use crate::datapath::{CensusSummary, PinSummary};

/// What is known of a deployment that is not steady. Times are in seconds.
#[derive(Clone, Debug)]
pub struct View {
    /// The word that holds.
    pub control: Control,
    /// Why it is not steady.
    pub motive: Motive,
    /// Since the last switch.
    pub age: u64,
    /// A flow that was not seen for this long is presumed gone.
    pub horizon: u32,
    /// How long a SYN may be under way.
    pub syn_lifetime: u32,
    /// Since a SYN was last sent into the leaving environment.
    pub last_syn: Option<u32>,
    /// Flows of the leaving environment.
    pub census: CensusSummary,
    /// Since a flow of the leaving environment found no room in the census.
    pub census_full: Option<u32>,
    /// Pins.
    pub pins: PinSummary,
    /// The deadline is over.
    pub deadline_over: bool,
    /// The word's SEAL holds, and will for long enough to act on what was counted under it.
    pub seal_holds: bool,
}

impl View {
    /// Flows of the leaving environment that are not over. Those that were tried and left again are pinned,
    /// and may have said nothing since the switch.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.census.alive.max(self.pins.leaving_alive)
    }
}

/// What to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet; the text says what for.
    Wait(String),
    /// Store SEAL, wait for a grace period, look again.
    Seal,
    /// Something entered after all: back to DRAIN.
    Unseal,
    /// base := current. `stragglers` flows are still there, because the deadline is over.
    Conclude {
        /// Flows that are closed by this.
        stragglers: u64,
    },
    /// The environment that was tried is empty; what remains is a change inside the live one.
    Settle,
    /// base and current agree and no pin disagrees: STEADY.
    Steady,
}

/// The next step. In SEAL the answer is never [`Next::Wait`] or [`Next::Seal`]: a seal is short.
#[must_use]
pub fn next(view: &View) -> Next {
    let sealed = view.control.phase() == Phase::Seal;
    let same_ring = view.control.base().slot == view.control.current().slot;
    match state(view.control, view.motive) {
        State::Idle if view.control.phase() == Phase::Steady => {
            Next::Wait("nothing: the deployment is steady".to_owned())
        }
        State::Idle if same_ring && view.pins.disagreeing == 0 => Next::Steady,
        State::Idle if same_ring => Next::Wait(format!(
            "{} connections that are pinned elsewhere than their ring says, after a change inside the environment",
            view.pins.disagreeing
        )),
        State::Idle => {
            Next::Wait("a backend that is missing in the live environment, or the next flip".to_owned())
        }
        State::Shifting if sealed => Next::Unseal,
        State::Shifting => Next::Wait("the next step: more of it, all of it, or back".to_owned()),
        State::Draining | State::RollingBack if sealed && !view.seal_holds => Next::Unseal,
        State::Draining | State::RollingBack => match (occupied(view), sealed) {
            (Some(_), _) if view.deadline_over => close(view, sealed),
            (Some(_), true) => Next::Unseal,
            (Some(reason), false) => Next::Wait(reason),
            (None, _) => close(view, sealed),
        },
    }
}

/// Seals first; a sealed one is concluded.
fn close(view: &View, sealed: bool) -> Next {
    if !sealed {
        return Next::Seal;
    }
    let inner = view.control.base().environment == view.control.current().environment
        && view.control.base().slot != view.control.current().slot;
    if inner { Next::Settle } else { Next::Conclude { stragglers: view.open() } }
}

/// Why the leaving environment cannot be presumed empty, if it cannot.
fn occupied(view: &View) -> Option<String> {
    let name = view.control.leaving().name();
    let open = view.open();
    if open > 0 {
        let last = view.census.last_seen.map(|s| format!(", last seen {s} s ago")).unwrap_or_default();
        return Some(format!("{open} connections of {name}{last}"));
    }
    let horizon = u64::from(view.horizon);
    if view.age <= horizon {
        return Some(format!(
            "silent connections of {name}: {} s until one that says nothing counts as gone",
            horizon - view.age + 1
        ));
    }
    if let Some(since) = view.last_syn
        && since <= view.syn_lifetime
    {
        return Some(format!(
            "connections to {name} that may be half open: {} s until the last SYN is too old",
            view.syn_lifetime - since + 1
        ));
    }
    if let Some(since) = view.census_full
        && since <= view.horizon
    {
        return Some(format!(
            "connections of {name} that found no room in the census: raise `census` under [limits]"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::switch::{conclude, ring, seal, switch_to, unseal};
    use bg_common::control::Environment;

    fn steady() -> Control {
        let blue = ring(0, Environment::Blue);
        Control::new(Phase::Steady, blue, blue, 0, 1)
    }

    fn flipped() -> Control {
        switch_to(steady(), ring(1, Environment::Green))
    }

    fn view(control: Control, motive: Motive) -> View {
        View {
            control,
            motive,
            age: 1000,
            horizon: 600,
            syn_lifetime: 128,
            last_syn: Some(999),
            census: CensusSummary::default(),
            census_full: None,
            pins: PinSummary::default(),
            deadline_over: false,
            seal_holds: control.phase() == Phase::Seal,
        }
    }

    #[test]
    fn an_empty_environment_is_sealed_counted_again_and_left() {
        let drain = view(flipped(), Motive::Flip);
        assert_eq!(next(&drain), Next::Seal);
        let sealed = View { control: seal(flipped(), 7), seal_holds: true, ..drain };
        assert_eq!(next(&sealed), Next::Conclude { stragglers: 0 });
    }

    #[test]
    fn a_seal_that_ran_out_proves_nothing() {
        let late = View { seal_holds: false, ..view(seal(flipped(), 7), Motive::Flip) };
        assert_eq!(next(&late), Next::Unseal);
        assert_eq!(next(&View { deadline_over: true, ..late }), Next::Unseal);
    }

    #[test]
    fn a_flow_that_shows_up_in_the_seal_opens_it_again() {
        let census = CensusSummary { seen: 1, alive: 1, last_seen: Some(0) };
        let sealed = View { census, ..view(seal(flipped(), 7), Motive::Flip) };
        assert_eq!(next(&sealed), Next::Unseal);
        assert_eq!(unseal(sealed.control).phase(), Phase::Drain);
    }

    #[test]
    fn every_sign_of_life_alone_keeps_the_drain_going() {
        let empty = || view(flipped(), Motive::Flip);
        let alive = CensusSummary { seen: 3, alive: 1, last_seen: Some(5) };
        let pinned = PinSummary { total: 1, leaving_alive: 1, disagreeing: 0, ..PinSummary::default() };
        for (name, occupied) in [
            ("census", View { census: alive, ..empty() }),
            ("pins", View { pins: pinned, ..empty() }),
            ("age", View { age: 600, ..empty() }),
            ("last SYN", View { last_syn: Some(128), ..empty() }),
            ("census full", View { census_full: Some(600), ..empty() }),
        ] {
            assert!(matches!(next(&occupied), Next::Wait(_)), "{name}");
        }
    }

    #[test]
    fn the_deadline_ends_the_wait_and_counts_the_stragglers() {
        let census = CensusSummary { seen: 3, alive: 2, last_seen: Some(0) };
        let late = View { census, deadline_over: true, ..view(flipped(), Motive::Flip) };
        assert_eq!(next(&late), Next::Seal);
        let sealed = View { control: seal(flipped(), 7), seal_holds: true, ..late };
        assert_eq!(next(&sealed), Next::Conclude { stragglers: 2 });
    }

    #[test]
    fn a_silent_pinned_connection_is_a_straggler_too() {
        let back = switch_to(flipped(), steady().base());
        let pins = PinSummary { total: 3, leaving_alive: 3, disagreeing: 0, ..PinSummary::default() };
        let sealed = View { pins, deadline_over: true, ..view(seal(back, 7), Motive::Rollback) };
        assert_eq!(next(&sealed), Next::Conclude { stragglers: 3 });
    }

    #[test]
    fn a_rollback_ends_when_what_was_tried_is_empty() {
        let back = switch_to(flipped(), steady().base());
        let drain = view(back, Motive::Rollback);
        assert_eq!(next(&drain), Next::Seal);
        let sealed = View { control: seal(back, 7), seal_holds: true, ..drain };
        assert_eq!(next(&sealed), Next::Conclude { stragglers: 0 });
        assert_eq!(conclude(sealed.control, false).base(), steady().base());
    }

    #[test]
    fn a_rollback_with_a_missing_backend_settles_instead_of_moving_base() {
        let back = switch_to(flipped(), ring(2, Environment::Blue));
        let sealed = view(seal(back, 7), Motive::Rollback);
        assert_eq!(next(&sealed), Next::Settle);
    }

    #[test]
    fn a_change_inside_never_seals_and_ends_when_no_pin_disagrees() {
        let missing = view(switch_to(steady(), ring(1, Environment::Blue)), Motive::Inner);
        assert!(matches!(next(&missing), Next::Wait(_)));
        let back = switch_to(missing.control, steady().base());
        let pins = PinSummary { total: 4, leaving_alive: 0, disagreeing: 1, ..PinSummary::default() };
        assert!(matches!(next(&View { pins, ..view(back, Motive::Inner) }), Next::Wait(_)));
        assert_eq!(next(&view(back, Motive::Inner)), Next::Steady);
    }
}
