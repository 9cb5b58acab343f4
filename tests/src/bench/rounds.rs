//! Measuring a case: rounds of the program, of the floor and of the bare floor, one after the other.

use anyhow::{Context, Result, ensure};
use bg_front::Plan;

use super::cases::{Case, Load, Stage};
use super::front::Front;
use super::ground::Ground;
use super::place::CLIENTS;
use super::report::Row;

/// What is sent in one round at least, flow for flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    pub(super) packets: u32,
}

/// `enum xdp_action`.
const XDP_TX: u32 = 3;

/// Measures a case under a load.
pub(super) fn measure(
    ground: &mut Ground,
    front: &mut Front,
    case: &Case,
    load: Load,
    effort: Effort,
) -> Result<Row> {
    let frame = case.frame();
    let flows = load.flows;
    let peer = case.group().first(case.kind.version);
    let plan = Plan::new(
        flows,
        frame.len() as u32,
        CLIENTS.first(case.kind.version),
        peer,
        ground.size.peers(case, load.services),
    );
    // All flows have their turn; and where each is to be new, none has a second one.
    let packets = if case.fresh() { flows } else { effort.packets.next_multiple_of(flows) };
    ground.stage(case.phase);
    ground.forget();
    if case.phase == Stage::Pinned {
        ground.pin(&plan)?;
    }
    let [mut ns, mut floor, mut bare] = [const { Vec::new() }; 3];
    // Nobody counts round 0: it finds the caches, and what is remembered, empty.
    for round in 0..=effort.rounds {
        front.prepare(&frame, &plan)?;
        let alone = front.bare(&frame, packets)?;
        let with_front = front.floor(case.front, &frame, packets)?;
        ensure!([alone.verdict, with_front.verdict] == [XDP_TX; 2], "the floor did not answer XDP_TX");
        if case.opens() {
            ground.forget();
        }
        front.prepare(&frame, &plan)?;
        let before = ground.look.now()?;
        let next = ground.bare.program().fd().context("the program's descriptor")?;
        let ran = front.run(case.front, next, &frame, packets)?;
        let after = ground.look.now()?;
        after.check(&before, case.way, packets, case.strays(packets)).with_context(|| {
            format!("{} with {flows} flows did not take its way, and ended with {}", case.name, ran.verdict)
        })?;
        if round > 0 {
            ns.push(ran.ns);
            floor.push(with_front.ns);
            bare.push(alone.ns);
        }
    }
    let state = f64::from(ground.in_use()) / f64::from(flows);
    ensure!(case.phase != Stage::Steady || state == 0.0, "a steady deployment keeps {state} bytes of a flow");
    Ok(Row::new(case, load, packets, state, [&ns, &floor, &bare]))
}
