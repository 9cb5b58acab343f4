//! The agent of the twin: what the real one does to the tables, done on both sides with the real steps and
//! the real words, at moments drawn by lot.

use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{BackendId, NO_BACKEND};
use bg_common::control::{Control, Environment, Phase, Ring};
use bg_common::tables::{Tables as _, seconds, ticks};
use bg_common::{recent, ring};
use bg_userspace::rollout;

use super::difference::Difference;
use super::pair::{Pair, Told, clock};
use super::random::Random;
use super::world::{self, BACKENDS, DEPLOYMENTS, RING, SERVICES};
use super::{node, steps};

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// To the other environment, or on to it.
    Flip,
    /// A ring of which some slots lead to the other environment; it is labelled by the old one.
    Canary,
    /// Another ring of the same environment.
    Inner,
    Rollback,
    Seal,
    /// A seal that an agent stored which was stopped since.
    OldSeal,
    Unseal,
    /// base := current, and the pins are cleared.
    Conclude,
    Rotate,
    Expire,
    Census,
    Kill,
    Revive,
    /// The silent neighbour comes or goes.
    Neighbour,
    /// Every next hop is looked up anew.
    Routes,
    /// The pin table has no room at all, or has it again.
    NoPins,
    /// Any word at all, as no agent would store it.
    AnyWord,
    SetUp,
}

use Act::{
    AnyWord, Canary, Census, Conclude, Expire, Flip, Inner, Kill, Neighbour, NoPins, OldSeal, Revive,
    Rollback, Rotate, Routes, Seal, SetUp, Unseal,
};

/// What may be done in any phase but Off.
const ALWAYS: [(u32, Act); 9] = [
    (20, Rotate),
    (10, Expire),
    (10, Census),
    (4, Kill),
    (8, Revive),
    (1, Neighbour),
    (4, Routes),
    (4, NoPins),
    (1, AnyWord),
];

/// How much later it may be when the agent looks at what is over, seconds.
const LATER: [u32; 4] = [1, 125, 300, 10_000];

/// Does one thing to a deployment.
pub(super) fn act(pair: &mut Pair<'_>, random: &mut Random) -> Result<(), Difference> {
    let deployment = random.below(u32::from(DEPLOYMENTS) - 1) as u16;
    let control = pair.host.tables.control(deployment);
    let of_phase: &[(u32, Act)] = match control.phase() {
        Phase::Off => &[(1000, SetUp)],
        Phase::Steady => &[(24, Flip), (16, Canary), (10, Inner)],
        Phase::Drain => {
            &[(30, Seal), (3, OldSeal), (12, Flip), (12, Canary), (6, Inner), (12, Rollback), (6, Conclude)]
        }
        Phase::Seal => &[(25, Seal), (12, Unseal), (30, Conclude)],
    };
    let act = random.weighted(&[of_phase, &ALWAYS].concat());
    // A table without room is soon seen.
    let act = if pair.host.tables.node.no_pins != 0 && random.permille(600) { NoPins } else { act };
    pair.tell(Told::Act(format!("{act:?} of deployment {deployment}")));
    *pair.tally.acts.entry(name(act)).or_default() += 1;
    carry_out(pair, random, act, deployment, control)?;
    pair.check_tables()
}

fn carry_out(
    pair: &mut Pair<'_>,
    random: &mut Random,
    act: Act,
    deployment: u16,
    control: Control,
) -> Result<(), Difference> {
    let now = ticks(clock());
    let live = control.current().environment;
    match act {
        Flip => switch(pair, random, deployment, live.other(), 0),
        Canary => switch(pair, random, deployment, live, 300),
        Inner => switch(pair, random, deployment, live, 0),
        Rollback => store(pair, deployment, rollout::switch_to(control, control.base())),
        Seal => store(pair, deployment, rollout::seal(control, now)),
        OldSeal => store(pair, deployment, rollout::seal(control, now.wrapping_sub(40))),
        Unseal => store(pair, deployment, rollout::unseal(control)),
        Conclude => return conclude(pair, deployment, control),
        Rotate => {
            recent::rotate(&pair.host.tables, deployment);
            recent::rotate(pair.kernel.maps(), deployment);
        }
        Expire => return steps::expire(pair, later(random)),
        Census => {
            let since = seconds(clock()).wrapping_sub(random.below(4));
            return steps::count(pair, deployment, control, since, later(random));
        }
        Kill => kill(pair, random.below(BACKENDS.len() as u32) as BackendId),
        Revive => (0..BACKENDS.len() as BackendId).for_each(|backend| dead(pair, backend, false)),
        Neighbour => neighbour(pair),
        Routes => routes(pair),
        NoPins => {
            pair.host.tables.node.no_pins ^= 1;
            pair.give_node();
        }
        AnyWord => store(pair, deployment, Control(random.next())),
        SetUp => {
            let ring = Ring { slot: 0, environment: Environment::Blue };
            store(pair, deployment, Control::new(Phase::Steady, ring, ring, 0, control.epoch() + 1));
        }
    }
    Ok(())
}

fn name(act: Act) -> &'static str {
    match act {
        Flip => "flip",
        Canary => "canary",
        Inner => "inner",
        Rollback => "rollback",
        Seal => "seal",
        OldSeal => "old_seal",
        Unseal => "unseal",
        Conclude => "conclude",
        Rotate => "rotate",
        Expire => "expire",
        Census => "census",
        Kill => "kill",
        Revive => "revive",
        Neighbour => "neighbour",
        Routes => "routes",
        NoPins => "no_pins",
        AnyWord => "any_word",
        SetUp => "set_up",
    }
}

fn store(pair: &Pair<'_>, deployment: u16, control: Control) {
    let at = usize::from(deployment);
    pair.host.tables.control[at].store(control.0, SeqCst);
    pair.kernel.maps().control.get(at).expect("a word for each deployment").store(control.0, SeqCst);
}

/// New current rings towards an environment, of which so many of a thousand slots are the other one's, in
/// another order each time.
fn switch(pair: &Pair<'_>, random: &mut Random, deployment: u16, environment: Environment, others: u32) {
    let control = pair.host.tables.control(deployment);
    let slot = rollout::spare(control);
    for (id, service) in (0..).zip(SERVICES).filter(|(_, service)| service.deployment == deployment) {
        let shift = random.below(RING as u32) as usize;
        let ring: [BackendId; RING] = std::array::from_fn(|i| {
            let environment = if random.permille(others) { environment.other() } else { environment };
            service.rings[environment as usize][(i + shift) % RING]
        });
        put_ring(pair, id, slot, &ring);
        if let Some(at) = world::VIEWED.iter().position(|viewed| *viewed == id) {
            let rings = service.rings[environment.other() as usize];
            let idle = std::array::from_fn(|i| rings[(i + shift) % RING]);
            put_ring(pair, (SERVICES.len() + at) as u16, slot, &idle);
        }
    }
    store(pair, deployment, rollout::switch_to(control, Ring { slot, environment }));
}

fn put_ring(pair: &Pair<'_>, service: u16, slot: u8, ring: &[BackendId; RING]) {
    let at = node::ring_at(service, slot);
    for (i, element) in ring::pack(ring).enumerate() {
        pair.host.tables.rings[at + i].store(element, SeqCst);
        pair.kernel.maps().rings.get(at + i).expect("rings of the same size").store(element, SeqCst);
    }
}

/// A backend is dead: its pins are void, and its slots lead to another one of its environment, in place.
fn kill(pair: &Pair<'_>, id: BackendId) {
    dead(pair, id, true);
    let backend = BACKENDS[usize::from(id)];
    let same =
        |other: &world::Backend| (other.service, other.environment) == (backend.service, backend.environment);
    let heir = (0..).zip(BACKENDS).find(|(other, backend)| *other != id && same(backend));
    let heir = heir.map_or(NO_BACKEND, |(other, _)| other);
    let entry = node::entry_of(backend.service);
    for slot in 0..3 {
        let ring = std::array::from_fn(|i| {
            let held = ring::backend(&pair.host.tables, &entry, slot, i as u32).unwrap_or(NO_BACKEND);
            if held == id { heir } else { held }
        });
        put_ring(pair, backend.service, slot, &ring);
    }
}

fn dead(pair: &Pair<'_>, id: BackendId, dead: bool) {
    let at = usize::from(id);
    pair.host.tables.backends[at].dead.store(dead.into(), SeqCst);
    pair.kernel.maps().backends.get(at).expect("an entry for each backend").dead.store(dead.into(), SeqCst);
}

fn neighbour(pair: &mut Pair<'_>) {
    pair.silent = !pair.silent;
    world::silence(pair.namespace, !pair.silent).expect("change a neighbour");
    let way =
        if pair.silent { world::Way::Silent } else { world::Way::To(world::Device::Lan, world::SILENT_MAC) };
    let answer = node::answer(way, pair.kernel.devices);
    for at in world::SILENT {
        pair.host.add_route(world::address(at), 128, answer);
    }
    routes(pair);
}

fn routes(pair: &Pair<'_>) {
    pair.host.tables.node.route_epoch.fetch_add(1, SeqCst);
    pair.kernel.maps().node().route_epoch.fetch_add(1, SeqCst);
}

fn conclude(pair: &Pair<'_>, deployment: u16, control: Control) -> Result<(), Difference> {
    let concluded = rollout::conclude(control, false);
    store(pair, deployment, concluded);
    if steps::clear(pair, deployment, concluded)? > 0 {
        store(pair, deployment, rollout::settle(concluded));
    }
    Ok(())
}

/// A moment to come, as the clock will show it.
fn later(random: &mut Random) -> u64 {
    clock() + (u64::from(random.pick(&LATER)) << 30)
}
