//! The agent's longer steps, the real ones, run over both sides' tables; what they return must agree too.

use std::convert::Infallible;
use std::fmt::Debug;

use bg_common::abi::Service;
use bg_common::census::{self, CensusSummary};
use bg_common::clear::{Agent, Lifetimes, Pins};
use bg_common::control::Control;
use bg_common::host::Host;
use bg_common::tables::Tables;
use bg_userspace::datapath::Maps;

use super::difference::{self, Difference};
use super::late::Late;
use super::node;
use super::pair::Pair;

/// How long pins live, seconds.
const LIFETIMES: Lifetimes = Lifetimes { half: 128, idle: 7200 };
/// A flow that was not seen for so many seconds is presumed gone.
const HORIZON: u32 = 300;

/// An agent that need not wait: no packet arrives while it acts.
struct Alone;

impl Agent for Alone {
    type Error = Infallible;

    fn grace(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Clears a deployment's pins; returns how many stay.
pub(super) fn clear(pair: &Pair<'_>, deployment: u16, control: Control) -> Result<u64, Difference> {
    let services = services();
    on_both(
        pair,
        "clearing",
        |tables| Pins::new(tables, &services).clear(&mut Alone, deployment, control),
        |tables| Pins::new(tables, &services).clear(&mut Alone, deployment, control),
    )
    .map(|stay| stay.unwrap_or_else(|never| match never {}))
}

/// Frees the pins that are over at a moment to come.
pub(super) fn expire(pair: &Pair<'_>, nanoseconds: u64) -> Result<(), Difference> {
    let services = services();
    let lifetimes = |_| Some(LIFETIMES);
    on_both(
        pair,
        "expiring",
        |tables| Pins::new(&Late { tables, nanoseconds }, &services).expire(&mut Alone, lifetimes),
        |tables| Pins::new(&Late { tables, nanoseconds }, &services).expire(&mut Alone, lifetimes),
    )
    .map(drop)
}

/// Counts the census at a moment to come.
pub(super) fn count(
    pair: &Pair<'_>,
    deployment: u16,
    control: Control,
    since: u32,
    nanoseconds: u64,
) -> Result<(), Difference> {
    on_both(
        pair,
        "counting the census",
        |tables| census_of(&Late { tables, nanoseconds }, deployment, control, since),
        |tables| census_of(&Late { tables, nanoseconds }, deployment, control, since),
    )
    .map(drop)
}

fn census_of<T: Tables>(tables: &T, deployment: u16, control: Control, since: u32) -> CensusSummary {
    let deployment_of =
        |service: u16| node::numbers().contains(&service).then(|| node::entry_of(service).deployment);
    census::count(tables, deployment_of, deployment, control.leaving(), since, HORIZON)
}

fn services() -> Vec<Option<Service>> {
    node::numbers().map(|id| Some(node::entry_of(id))).collect()
}

fn on_both<R: PartialEq + Debug>(
    pair: &Pair<'_>,
    what: &str,
    host: impl FnOnce(&Host) -> R,
    kernel: impl FnOnce(&Maps) -> R,
) -> Result<R, Difference> {
    let (host, kernel) = (host(&pair.host.tables), kernel(pair.kernel.maps()));
    difference::values(|| format!("what {what} returned"), &host, &kernel)?;
    Ok(host)
}
