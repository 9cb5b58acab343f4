//! The agent in the model: it sees what the agent sees, and decides with the agent's own functions. Each
//! store and each grace period is a step of its own, so that everything else can come between.

use bg_common::abi::{live, motive};
use bg_common::control::{Control, Environment, Phase, Ring, SEAL_TICKS};
use bg_common::mutant::Mutant;
use bg_userspace::rollout::{self, Motive, Next, View};

use super::action::Action;
use super::machine::{Machine, Task};
use super::setup::{FRESH, HORIZON, SYN_LIFETIME, now_ticks};
use super::state::{Agent, Client, OWN, Packet, State, environment};
use super::world::World;

/// What the agent may do now.
pub(super) fn actions<M: Machine>(world: &World<M>, s: &State, actions: &mut Vec<Action>) {
    let setup = &world.setup;
    if s.agent != Agent::Idle {
        actions.push(Action::Proceed);
    }
    let reckless = setup.mutant == Some(Mutant::RingWithoutGrace) && s.agent == Agent::Waits;
    if s.agent == Agent::Idle || reckless {
        let base = s.control().base().environment;
        for to in 0..4 {
            if setup.inner || to % 2 == 0 {
                actions.push(Action::Switch(to, environment(to)));
            }
            if setup.canary && to % 2 == 0 && environment(to) != base {
                actions.push(Action::Switch(to, base));
            }
        }
        if setup.inner || setup.canary {
            actions.push(Action::Unmoved);
        }
    }
    if s.agent == Agent::Idle {
        actions.extend([Action::Look, Action::Expire, Action::Rotate]);
    }
    if setup.kills && s.agent != Agent::Idle {
        actions.push(Action::Kill);
    }
    if setup.kills {
        actions.push(Action::SealExpires);
    }
}

/// Carries out one of the agent's actions; `None` if it is not possible now.
pub(super) fn act<M: Machine>(world: &World<M>, s: &mut State, action: Action) -> Option<()> {
    let setup = &world.setup;
    match action {
        Action::Switch(to, label) => switch(world, s, to, label, false),
        Action::Unmoved => {
            let base = s.control().base();
            switch(world, s, s.rings[usize::from(base.slot)], base.environment, true)
        }
        Action::Look => look(world, s),
        Action::Proceed => proceed(world, s),
        Action::Expire => {
            (setup.expiry && s.agent == Agent::Idle && s.control().phase() != Phase::Steady).then_some(())?;
            carry_out(world, s, Task::Expire);
            Some(())
        }
        Action::Rotate => {
            (setup.rotations && s.agent == Agent::Idle && may_rotate(s)).then_some(())?;
            carry_out(world, s, Task::Rotate);
            Some(())
        }
        Action::Kill => {
            (s.agent != Agent::Starts).then_some(())?;
            s.agent = Agent::Starts;
            Some(())
        }
        Action::SealExpires => {
            let over = |word: u64| {
                let old = Control(word);
                let sealed = old.sealed(now_ticks());
                sealed.then(|| Control::new(Phase::Seal, old.base(), old.current(), now_ticks(), 0).0)
            };
            s.word = over(s.word)?;
            if let Some(flight) = &mut s.flight {
                flight.word = over(flight.word).unwrap_or(flight.word);
            }
            Some(())
        }
        _ => None,
    }
}

/// Whether the other packets allow that a rotation comes: no SYN is under way for as long as two of them
/// take.
pub(super) fn may_rotate(s: &State) -> bool {
    !(0..OWN as u8).any(|isn| s.rotated & 1 << isn != 0 && s.opens(isn)) && s.recent != [0; 2]
}

fn carry_out<M: Machine>(world: &World<M>, s: &mut State, task: Task) {
    let done = world.machine.task(s, task);
    if matches!(task, Task::Expire | Task::Clear) && !done.buried {
        finished(s, task == Task::Clear);
        return;
    }
    after(s, task);
}

/// What follows a procedure that has begun.
pub(super) fn after(s: &mut State, task: Task) {
    match task {
        Task::Expire => s.agent = Agent::Empties(false),
        Task::Clear => s.agent = Agent::Empties(true),
        Task::Rotate => {
            s.rotated |= (0..OWN as u8).filter(|&isn| s.opens(isn)).map(|isn| 1 << isn).sum::<u8>();
            s.agent = Agent::Waits;
        }
        _ => (),
    }
    if let Some(flight) = &mut s.flight {
        flight.stale = true;
    }
}

/// A procedure is done; a clearing is noted in the ledger.
fn finished(s: &mut State, clearing: bool) {
    s.agent = Agent::Idle;
    if clearing {
        s.cleared = true;
        s.motive = if s.control().phase() == Phase::Steady { motive::NONE } else { motive::INNER };
    }
}

/// Stores a word. Its epoch is taken off, and with it goes what the ledger says of the last one.
fn store(s: &mut State, control: Control, then: Agent) {
    s.word = control.0 & u64::from(u32::MAX);
    s.cleared = false;
    s.agent = then;
    if let Some(flight) = &mut s.flight {
        flight.stale = true;
    }
}

/// Whether no packet holds anything older than what the agent has done last.
fn grace<M>(world: &World<M>, s: &State) -> bool {
    world.setup.mutant == Some(Mutant::NoGrace) || s.flight.is_none_or(|flight| !flight.stale)
}

/// New connections of the one slot go to `to`. `elsewhere`: by another ring than base, although base agrees.
fn switch<M: Machine>(
    world: &World<M>,
    s: &mut State,
    to: u16,
    label: Environment,
    elsewhere: bool,
) -> Option<()> {
    let reckless = world.setup.mutant == Some(Mutant::RingWithoutGrace) && s.agent == Agent::Waits;
    (s.agent == Agent::Idle || reckless).then_some(())?;
    let control = s.control();
    let (base, current) = (control.base(), control.current());
    let ring = |ring: Ring| (s.rings[usize::from(ring.slot)], ring.environment);
    let as_base = ring(base) == (to, label) && !elsewhere;
    let same = ring(current) == (to, label) && (current.slot == base.slot) == as_base;
    let shifting = s.motive == motive::CANARY;
    let mixed = environment(to) != label || elsewhere && world.setup.canary;
    // A share is given only while one environment is live, as the guard `draining` has it.
    let allowed = !mixed || base.environment == current.environment && label == base.environment;
    (!same && allowed).then_some(())?;
    let inner = label == current.environment && !shifting && !mixed;
    let slot = if as_base { base.slot } else { rollout::spare(control) };
    s.rings[usize::from(slot)] = to;
    if mixed {
        s.motive = motive::CANARY;
    } else if !inner {
        s.motive = if label == base.environment { motive::ROLLBACK } else { motive::FLIP };
    } else if !matches!(s.motive, motive::FLIP | motive::ROLLBACK) {
        s.motive = motive::INNER;
    }
    if !inner {
        s.horizon = false;
        s.spoke = false;
        let steady = control.phase() == Phase::Steady;
        if let (true, Client::Established { before, .. }) = (steady, &mut s.client) {
            *before = true;
        }
    }
    store(s, rollout::switch_to(control, Ring { slot, environment: label }), Agent::Waits);
    Some(())
}

/// What is known of the deployment.
fn view<M: Machine>(world: &World<M>, s: &mut State) -> View {
    let control = s.control();
    let stamp = s.live[live::LAST_SYN + control.leaving() as usize];
    let accepted_only = world.setup.mutant == Some(Mutant::AcceptedOnly);
    View {
        control,
        motive: Motive::from_ledger(s.motive),
        age: if s.horizon { u64::from(HORIZON) + 1 } else { 0 },
        horizon: HORIZON,
        syn_lifetime: SYN_LIFETIME,
        last_syn: (stamp != 0 && !accepted_only).then(|| (FRESH - stamp) as u32),
        census: world.machine.task(s, Task::Count(control.leaving())).census,
        census_full: (s.live[live::CENSUS_FULL] != 0).then_some(0),
        pins: world.machine.task(s, Task::Summary(control)).pins,
        deadline_over: false,
        seal_holds: control.sealed(now_ticks().wrapping_add(SEAL_TICKS / 2)),
    }
}

/// As `agent/drain.rs` carries it out.
fn look<M: Machine>(world: &World<M>, s: &mut State) -> Option<()> {
    (s.agent == Agent::Idle && s.control().phase() == Phase::Drain).then_some(())?;
    let next = match rollout::next(&view(world, s)) {
        Next::Seal if world.setup.mutant == Some(Mutant::NoSeal) => Next::Conclude { stragglers: 0 },
        next => next,
    };
    step(world, s, &next)
}

fn step<M: Machine>(world: &World<M>, s: &mut State, next: &Next) -> Option<()> {
    let control = s.control();
    match next {
        Next::Seal => store(s, rollout::seal(control, now_ticks()), Agent::Recounts),
        Next::Unseal => store(s, rollout::unseal(control), Agent::Waits),
        Next::Conclude { .. } => {
            let becoming = rollout::conclude(control, true);
            let disagreeing = world.machine.task(s, Task::Summary(becoming)).pins.disagreeing > 0;
            store(s, rollout::conclude(control, disagreeing), Agent::Clears);
        }
        Next::Settle => {
            s.motive = motive::INNER;
            store(s, rollout::settle(control), Agent::Waits);
        }
        Next::Steady => store(s, rollout::conclude(control, false), Agent::Clears),
        Next::Wait(_) => return None,
    }
    Some(())
}

/// Goes on after a grace period.
fn proceed<M: Machine>(world: &World<M>, s: &mut State) -> Option<()> {
    grace(world, s).then_some(())?;
    match s.agent {
        Agent::Idle => return None,
        Agent::Waits => s.agent = Agent::Idle,
        Agent::Recounts => {
            let next = rollout::next(&view(world, s));
            // In SEAL the answer is never to wait.
            step(world, s, &next)?;
        }
        Agent::Clears => carry_out(world, s, Task::Clear),
        Agent::Empties(clearing) => {
            world.machine.task(s, Task::Exhume);
            finished(s, clearing);
        }
        Agent::Starts => start(world, s),
    }
    Some(())
}

/// As `Agent::new` puts in order what a killed agent left.
fn start<M: Machine>(world: &World<M>, s: &mut State) {
    world.machine.task(s, Task::Exhume);
    let control = s.control();
    match control.phase() {
        Phase::Seal => store(s, rollout::unseal(control), Agent::Waits),
        Phase::Steady if !s.cleared => carry_out(world, s, Task::Clear),
        _ => s.agent = Agent::Idle,
    }
}

/// Whether the agent has nothing left to do and waits for no grace period.
pub(super) fn rests(s: &State) -> bool {
    matches!(s.agent, Agent::Idle)
}

/// Whether a packet that began when the current word was stored has nothing older under it.
pub(super) fn settled(s: &State) -> bool {
    matches!(s.agent, Agent::Idle | Agent::Empties(_)) && s.control().phase() == Phase::Steady
}

/// A SYN of the client.
pub(super) fn is_syn(packet: Packet) -> bool {
    matches!(packet, Packet::Syn(_) | Packet::OtherSyn)
}
