//! Searching: breadth first, so that what is found is as short as it can be.

use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use super::action::Action;
use super::machine::{Host, Machine};
use super::setup::Setup;
use super::state::{Fault, State};
use super::world::World;

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps.
    pub depth: Option<usize>,
    /// Threads. With one, what is found is certainly the shortest.
    pub threads: usize,
    /// Time.
    pub time: Option<Duration>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// States that differ.
    pub states: usize,
    /// Steps of the longest path.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Everything was looked at.
    pub complete: bool,
    /// The property that was violated first, and how.
    pub violation: Option<(Fault, Vec<Action>)>,
}

impl Model for World<Host> {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.next(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Fault::P1.text(), |_, s: &State| s.fault != Some(Fault::P1)),
            Property::always(Fault::P3.text(), |_, s: &State| s.fault != Some(Fault::P3)),
            Property::always(Fault::P4.text(), |_, s: &State| s.fault != Some(Fault::P4)),
            Property::always(Fault::P5.text(), |_, s: &State| s.fault != Some(Fault::P5)),
            Property::always(Fault::P6.text(), |_, s: &State| s.fault != Some(Fault::P6)),
            Property::always(Fault::P7.text(), |_, s: &State| s.fault != Some(Fault::P7)),
            Property::always(Fault::P8.text(), |_, s: &State| s.fault != Some(Fault::P8)),
            Property::always(Fault::P9.text(), |_, s: &State| s.fault != Some(Fault::P9)),
        ]
    }
}

/// Searches a configuration.
///
/// # Panics
/// When a thread of the search does.
#[must_use]
pub fn check(setup: Setup, limits: Limits, progress: impl Fn(usize, usize, Duration)) -> Finding {
    let started = Instant::now();
    let mut builder =
        World::new(setup, Host(setup)).checker().threads(limits.threads).finish_when(HasDiscoveries::Any);
    if let Some(depth) = limits.depth {
        builder = builder.target_max_depth(depth);
    }
    if let Some(time) = limits.time {
        builder = builder.timeout(time);
    }
    let checker = builder.spawn_bfs();
    while !checker.is_done() {
        std::thread::sleep(Duration::from_millis(20));
        progress(checker.unique_state_count(), checker.max_depth(), started.elapsed());
    }
    let checker = checker.join();
    let violation = Fault::ALL
        .iter()
        .filter_map(|fault| Some((*fault, checker.discovery(fault.text())?.into_actions())))
        .min_by_key(|(_, actions)| actions.len());
    let depth = checker.max_depth();
    let out_of_time = limits.time.is_some_and(|time| started.elapsed() >= time);
    Finding {
        states: checker.unique_state_count(),
        depth,
        took: started.elapsed(),
        complete: violation.is_none() && !out_of_time && limits.depth.is_none_or(|limit| depth < limit),
        violation,
    }
}

/// The shortest part of a trace that still violates a property: what is not needed for it is left out.
///
/// # Panics
/// When the trace violates none.
#[must_use]
pub fn shortened(setup: Setup, actions: &[Action]) -> (Fault, Vec<Action>) {
    let world = World::new(setup, Host(setup));
    let mut kept = actions.to_vec();
    let mut fault = replay(&world, &kept).fault.expect("a trace that was found leads to what was found");
    let mut at = 0;
    while at < kept.len() {
        let mut shorter = kept.clone();
        shorter.remove(at);
        if let Some(found) = replay(&world, &shorter).fault {
            (kept, fault, at) = (shorter, found, 0);
        } else {
            at += 1;
        }
    }
    (fault, kept)
}

/// What became of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The property that it violates.
    pub fault: Option<Fault>,
    /// How many of its actions were possible; with another rule or another agent some are not.
    pub taken: usize,
}

/// Takes a trace's actions one after the other, up to a violation. What is not possible when its turn comes
/// is left out.
pub fn replay<M: Machine>(world: &World<M>, actions: &[Action]) -> Replayed {
    let mut state = world.start();
    let mut possible = Vec::new();
    let mut taken = 0;
    for action in actions {
        possible.clear();
        world.actions(&state, &mut possible);
        if possible.contains(action)
            && let Some(next) = world.next(&state, *action)
        {
            state = next;
            taken += 1;
        }
    }
    Replayed { fault: state.fault, taken }
}
