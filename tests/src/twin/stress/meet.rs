//! Two packets at the same moment, on two processors. The agent frees what they leave behind, on whichever
//! processor is left.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bg_common::clear::Agent;
use bg_common::recent;
use bg_common::tables::Tables as _;
use bg_userspace::datapath::{self, Grace};

use super::{Case, LIFETIMES, Node, PINNED, REMEMBERED, Seen};
use crate::lab::namespace::Namespace;
use crate::packets::craft::Segment;
use crate::packets::craft::flags::{ACK, SYN};
use crate::twin::pair;
use crate::twin::race::Course;
use crate::twin::random::Random;
use crate::twin::world::SERVICES;

/// Buckets of `PINS`: room for the flows of some grace periods.
pub(super) const BUCKETS: u32 = 1024;
/// Pins that wait to be freed; with more of them the rounds wait.
const WAITING: u64 = 2000;

/// So many rounds.
pub(super) fn rounds(
    node: &Node<'_>,
    namespace: &Namespace,
    seed: u64,
    rounds: u64,
    sums: &mut Seen,
) -> Result<()> {
    let course = Course::new();
    let freed = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.inside(|| {
                pair::stay_on(1);
                course.follow(seed, |segment: Box<Segment>| node.send(&segment));
            })
        });
        scope.spawn(|| {
            while !over.load(SeqCst) {
                if expire(node, &freed) == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let result = namespace.inside(|| {
            pair::stay_on(0);
            let mut leader = Leader {
                node,
                course: &course,
                random: Random::new(seed),
                flows: 0,
                made: 0,
                busy: 0,
                freed: &freed,
            };
            let met = (0..rounds).try_for_each(|_| leader.meet());
            met.map(|()| leader.busy)
        });
        over.store(true, SeqCst);
        course.end();
        result
    });
    sums.busy = result??;
    sums.freed[0] = freed.load(SeqCst);
    Ok(())
}

/// Frees what is over, as the agent does.
fn expire(node: &Node<'_>, freed: &AtomicU64) -> u64 {
    struct Waits<'g>(&'g mut Grace);
    impl Agent for Waits<'_> {
        type Error = datapath::Error;

        fn grace(&mut self) -> Result<(), datapath::Error> {
            self.0.wait().map(drop)
        }
    }
    let mut grace = node.grace.lock().expect("nobody panicked");
    let count = node.agent().expire(&mut Waits(&mut grace), |_| Some(LIFETIMES)).expect("a grace period");
    freed.fetch_add(count, SeqCst);
    count
}

/// The first processor.
struct Leader<'n, 'k> {
    node: &'n Node<'k>,
    course: &'n Course<Box<Segment>, Option<SocketAddr>>,
    random: Random,
    /// Flows that were made up.
    flows: u32,
    /// Pins that were made.
    made: u64,
    /// SYNs that had to be sent again.
    busy: u64,
    /// Pins that were freed.
    freed: &'n AtomicU64,
}

impl Leader<'_, '_> {
    /// Two packets of one flow, twice, and two SYNs whose bits are in one word of the SYN memory.
    fn meet(&mut self) -> Result<()> {
        while self.made - self.freed.load(SeqCst).min(self.made) > WAITING {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.remember()?;
        let case = self.case(PINNED);
        let isn = self.open(&case)?;
        self.promote(&case, isn)?;
        self.node.age(&case.flow);
        self.made += 1;
        Ok(())
    }

    /// A SYN on both processors, the same or two different ones. Returns the isn that was taken.
    fn open(&mut self, case: &Case) -> Result<u32> {
        let isn = self.random.word();
        let other = if self.random.permille(500) { isn } else { self.random.word() };
        let (mut mine, mut theirs) = self.both(&case.segment(SYN, isn), case.segment(SYN, other));
        if isn == other && mine.is_none() != theirs.is_none() {
            // One of them did not get the lock: whoever had it may have been away for longer than anybody waits.
            self.busy += 1;
            let again = if mine.is_none() { &mut mine } else { &mut theirs };
            *again = self.node.send(&case.segment(SYN, isn));
        }
        let pins = self.node.pins(&case.flow);
        let told = || format!("SYNs {isn:x} and {other:x}: {mine:?} and {theirs:?}, pins {pins:x?}");
        let taken = match (mine, theirs) {
            (Some(_), Some(_)) if isn == other => isn,
            (Some(_), None) if isn != other => isn,
            (None, Some(_)) if isn != other => other,
            _ => anyhow::bail!("{}", told()),
        };
        let right = [mine, theirs].into_iter().flatten().all(|to| to == case.at());
        ensure!(right && pins == [[Some((taken, case.backend)), None]], "{}", told());
        Ok(taken)
    }

    /// The backend's answer on one processor, and on the other one whatever the client may send meanwhile.
    fn promote(&mut self, case: &Case, isn: u32) -> Result<()> {
        let answer = case.reply(isn.wrapping_add(1));
        let other = self.random.word();
        let meanwhile = match self.random.below(3) {
            0 => case.segment(ACK, isn.wrapping_add(1)),
            1 => case.segment(SYN, isn),
            _ => case.segment(SYN, other),
        };
        let (_, to) = self.both(&answer, meanwhile.clone());
        let pins = self.node.pins(&case.flow);
        let told = || format!("isn {isn:x}, {meanwhile:?} went to {to:?}, pins {pins:x?}");
        ensure!(pins.len() == 1, "{}", told());
        let [half, established] = pins[0];
        ensure!(established == Some((isn, case.backend)), "{}", told());
        let opens_another = meanwhile.sequence == other;
        ensure!(opens_another || to.is_some(), "{}", told());
        ensure!(to.is_none_or(|to| to == case.at()), "{}", told());
        match half {
            Some(half) if opens_another && to.is_some() => {
                ensure!(half == (other, case.backend), "{}", told());
            }
            // If the client's packet was marked at that moment, the half pin stays beside its twin.
            Some(half) => ensure!(half == (isn, case.backend), "{}", told()),
            None => ensure!(!opens_another || to.is_none(), "{}", told()),
        }
        Ok(())
    }

    /// Two SYNs that are remembered in one word.
    fn remember(&mut self) -> Result<()> {
        let maps = self.node.maps;
        let (mine, theirs) = (self.case(REMEMBERED), self.case(REMEMBERED));
        let mask = maps.node().recent_mask;
        let place = |case: &Case, isn| recent::place(&maps.node().key, mask, &case.flow, isn);
        let isn = self.random.word();
        let first = place(&mine, isn);
        let other = loop {
            let other = self.random.word();
            if place(&theirs, other).word == first.word {
                break other;
            }
        };
        let bits = first.bits | place(&theirs, other).bits;
        let index = recent::index(mask, SERVICES[usize::from(REMEMBERED)].deployment, 0, first.word);
        let word = maps.recent.get(index as usize).context("a word of RECENT")?;
        word.store(0, SeqCst);
        self.both(&mine.segment(SYN, isn), theirs.segment(SYN, other));
        let left = word.load(SeqCst);
        ensure!(left == bits, "bits of the SYN memory are lost: {left:x} of {bits:x}");
        Ok(())
    }

    /// Sends one segment here and one over there; returns where they went.
    fn both(&mut self, mine: &Segment, theirs: Segment) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let node = self.node;
        self.course.lead(Box::new(theirs), &mut self.random, || node.send(mine))
    }

    /// A flow that there has not been yet.
    fn case(&mut self, service: u16) -> Case {
        self.flows += 1;
        self.node.case(self.flows, service)
    }
}
