//! A run of cases through both sides, and what is told of one that went wrong.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bg_common::reason::Reason;
use bg_fuzz::node;
use bg_fuzz::world::DEVICES;
use bg_fuzz::{Judge, Step, decode, encode, judged};

use super::{mutated, seeds};
use crate::twin::{Difference, Packet, Pair, Random};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where all of it comes from.
    pub seed: u64,
    /// At least so many packets.
    pub packets: u64,
    /// At least so long.
    pub time: Duration,
}

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Packets that both sides agreed on.
    pub packets: u64,
    /// Packets by their end, as the judge's node saw it.
    pub reasons: BTreeMap<&'static str, u64>,
}

/// A case that went wrong.
#[derive(Debug)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// The case, as short as it could be made by leaving out steps.
    pub case: Vec<u8>,
}

/// The shortest frame of a test run, bytes.
const LEAST: usize = 14;
/// So many cases pass between two looks at all tables, and two calls to `progress`.
const LOOK: u64 = 256;

/// Runs bent cases until the plan is fulfilled; ends at the first that goes wrong.
pub fn fuzz(
    pair: &mut Pair<'_>,
    plan: Plan,
    progress: &mut dyn FnMut(&Tally, Duration),
) -> Result<Tally, Box<Finding>> {
    let started = Instant::now();
    let mut random = Random::new(plan.seed);
    let mut tally = Tally::default();
    let seeds: Vec<_> = seeds().into_iter().map(|seed| seed.steps).collect();
    for steps in &seeds {
        one(pair, steps, &mut tally)?;
    }
    while tally.packets < plan.packets || started.elapsed() < plan.time {
        let [steps, other] = [0, 1].map(|_| &seeds[random.below(seeds.len() as u32) as usize]);
        one(pair, &mutated(steps, other, &mut random), &mut tally)?;
        if tally.cases.is_multiple_of(LOOK) {
            progress(&tally, started.elapsed());
        }
    }
    Ok(tally)
}

/// Runs one case as it is.
pub fn replay(pair: &mut Pair<'_>, case: &[u8]) -> Result<Tally, Box<Finding>> {
    let mut tally = Tally::default();
    one(pair, &decode(case), &mut tally)?;
    Ok(tally)
}

fn one(pair: &mut Pair<'_>, steps: &[Step], tally: &mut Tally) -> Result<(), Box<Finding>> {
    tally.cases += 1;
    let whole = tally.cases.is_multiple_of(LOOK);
    // A case is what its bytes say, so that a finding is the same when it is replayed.
    let Err(what) = run(pair, &decode(&encode(steps)), whole, tally) else { return Ok(()) };
    let mut steps = steps.to_vec();
    let mut what = what;
    let mut at = 0;
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        pair.take_over();
        match run(pair, &decode(&encode(&fewer)), true, &mut Tally::default()) {
            Err(still) => (steps, what) = (fewer, still),
            Ok(()) => at += 1,
        }
    }
    Err(Box::new(Finding { what, case: encode(&steps) }))
}

/// Runs a case on a node beside a judge, and on both sides of the twin.
fn run(pair: &mut Pair<'_>, steps: &[Step], whole: bool, tally: &mut Tally) -> Result<(), String> {
    pair.start_over();
    let mut judge = Judge::new(node::host());
    let told = |difference: Difference| difference.to_string();
    for step in steps {
        let arrival = catch_unwind(AssertUnwindSafe(|| judge.take(step))).map_err(|panic| said(&*panic))?;
        if let Step::Act(act) = step {
            pair.act(*act).map_err(told)?;
        }
        let Some(arrival) = arrival else { continue };
        let reason = judged(&arrival).map_err(str::to_owned)?;
        *tally.reasons.entry(reason.name()).or_default() += 1;
        let device = DEVICES.iter().position(|index| *index == arrival.interface).unwrap_or(0);
        let mut bytes = arrival.came;
        bytes.resize(bytes.len().max(LEAST), 0);
        let interface = pair.kernel.devices[device];
        pair.send(&Packet { what: "a bent packet", deployment: 0, interface, bytes }).map_err(told)?;
        tally.packets += 1;
    }
    if whole { pair.check().map_err(told) } else { Ok(()) }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("the host panicked: {}", text.unwrap_or("without a word"))
}

impl Finding {
    /// The case in hexadecimal, as the command takes it.
    pub fn hex(&self) -> String {
        let mut text = String::new();
        self.case.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes everything"));
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        write!(f, "again: cargo xtask fuzz kernel --replay {}", self.hex())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases, {} packets;", self.cases, self.packets)?;
        Reason::ALL.iter().try_for_each(|reason| {
            let count = self.reasons.get(reason.name()).copied().unwrap_or(0);
            write!(f, " {} {count}", reason.name())
        })
    }
}
