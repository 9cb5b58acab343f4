//! The agent frees the very pin that packets are using, again and again within the time that they take: it
//! lingers between its steps, and now and then it is killed there. What was true for one packet of a connection
//! is true for every later one, whenever the next agent finishes what is left.

use std::convert::Infallible;
use std::hint::spin_loop;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use anyhow::{Result, ensure};
use bg_common::clear::Agent;
use bg_common::control::Environment::{Blue, Green};
use bg_common::flow::TOMB;
use bg_common::tables::Tables as _;

use super::{Case, LIFETIMES, Node, PINNED, Seen};
use crate::lab::namespace::Namespace;
use crate::packets::craft::Segment;
use crate::packets::craft::flags::{ACK, SYN};
use crate::twin::pair;
use crate::twin::race::Course;
use crate::twin::random::Random;

/// Buckets of `PINS`: few, so that the agent comes by often.
pub(super) const BUCKETS: u32 = 32;
/// Flows whose pins are freed before somebody waits for a grace period.
const BATCH: u64 = 20;
/// Turns of a loop that the agent lingers for at most.
const LINGER: u32 = 600;
/// Of a thousand steps of the agent, how many are its last.
const DEATHS: u32 = 20;

/// What the agent does: pins are over, or they are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freeing {
    Expire,
    Clear,
}

/// So many rounds.
pub(super) fn rounds(
    node: &Node<'_>,
    namespace: &Namespace,
    seed: u64,
    rounds: u64,
    sums: &mut Seen,
) -> Result<()> {
    let course = Course::new();
    let sent = AtomicBool::new(false);
    let killed = AtomicU64::new(0);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.inside(|| {
                pair::stay_on(1);
                let mut random = Random::new(!seed);
                course.follow(seed, |freeing| {
                    if !walks(node, freeing, &mut random, &sent) {
                        killed.fetch_add(1, SeqCst);
                    }
                });
            })
        });
        let result = namespace.inside(|| {
            pair::stay_on(0);
            let mut leader =
                Leader { node, course: &course, sent: &sent, random: Random::new(seed), flows: 0 };
            (0..rounds.div_ceil(BATCH)).try_for_each(|batch| {
                let freeing = if batch % 2 == 0 { Freeing::Expire } else { Freeing::Clear };
                leader.batch(freeing, sums)
            })
        });
        course.end();
        result
    });
    sums.killed = killed.load(SeqCst);
    result?
}

/// Goes over the pins until the packets of a round are sent; never as far as to the grace period. `false`: it
/// was killed.
fn walks(node: &Node<'_>, freeing: Freeing, random: &mut Random, sent: &AtomicBool) -> bool {
    let lives = catch_unwind(AssertUnwindSafe(|| {
        while !sent.load(SeqCst) {
            let mut agent = Lingers(random);
            // What is buried waits for the end of the batch.
            let _ = match freeing {
                Freeing::Expire => node.agent().expire(&mut agent, |_| Some(LIFETIMES)),
                Freeing::Clear => node.agent().clear(&mut agent, 0, node.maps.control(0)),
            };
        }
    }));
    lives.is_ok()
}

struct Lingers<'r>(&'r mut Random);

impl Agent for Lingers<'_> {
    type Error = ();

    fn grace(&mut self) -> Result<(), ()> {
        Err(())
    }

    fn boundary(&mut self, _: &'static str) {
        if self.0.permille(DEATHS) {
            // As a panic does, but nothing is said of it.
            resume_unwind(Box::new(()));
        }
        let turns = self.0.below(2 * LINGER).saturating_sub(LINGER);
        (0..turns).for_each(|_| spin_loop());
    }
}

/// The next agent, after a grace period: nobody else is about.
struct Alone;

impl Agent for Alone {
    type Error = Infallible;

    fn grace(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Leader<'n, 'k> {
    node: &'n Node<'k>,
    course: &'n Course<Freeing, ()>,
    /// The packets of this round are sent.
    sent: &'n AtomicBool,
    random: Random,
    /// Flows that were made up.
    flows: u32,
}

/// What became of a flow.
struct Told {
    case: Case,
    /// The SYNs that somebody has answered, and the one that was sent while the agent was there.
    first: u32,
    second: Option<u32>,
    /// What was sent and where it went.
    sent: Vec<(Segment, Option<SocketAddr>)>,
}

impl Leader<'_, '_> {
    /// Some flows, one after the other; then the agent finishes, or the next one does.
    fn batch(&mut self, freeing: Freeing, sums: &mut Seen) -> Result<()> {
        let mut flows = Vec::new();
        for _ in 0..BATCH {
            self.node.store(Blue, Green);
            flows.push(self.meet(freeing, sums));
        }
        let finished = |told: &Told| self.judge(freeing, told);
        flows.iter().try_for_each(finished)?;
        let buried = |node: &Node<'_>| {
            let pins = node.maps.pins.iter().flatten();
            pins.filter(|pin| pin.tag.load(SeqCst) == TOMB || pin.given_up()).count() as u64
        };
        sums.freed[1] += buried(self.node);
        let Ok(()) = self.node.agent().exhume(&mut Alone);
        ensure!(buried(self.node) == 0, "something is left of what was given up");
        if freeing == Freeing::Clear {
            // The next flip: what was opened before stays where it is.
            self.node.store(Green, Blue);
        }
        for told in &mut flows {
            self.later(told);
            self.judge(freeing, told)?;
        }
        // Every batch begins with nothing.
        let pins = self.node.maps.pins.iter().flatten();
        for word in pins.flat_map(|pin| [&pin.half, &pin.established, &pin.meta, &pin.tag]) {
            word.store(0, SeqCst);
        }
        self.node.maps.recent.iter().for_each(|word| word.store(0, SeqCst));
        Ok(())
    }

    /// A connection; then, with the agent at its pin, more of it, or another one, or both.
    fn meet(&mut self, freeing: Freeing, sums: &mut Seen) -> Told {
        let first = self.random.word();
        self.flows += 1;
        let case = self.node.case(self.flows, PINNED);
        self.node.send(&case.segment(SYN, first));
        self.node.send(&case.reply(first.wrapping_add(1)));
        match freeing {
            Freeing::Expire => self.node.age(&case.flow),
            Freeing::Clear => self.node.store(Green, Green),
        }
        let second = match self.random.below(8) {
            0 => None,
            1 => Some(first),
            _ => Some(first.wrapping_add(0x4000_0000)),
        };
        let mut segments = Vec::new();
        let data = if second.is_none() { 2 } else { self.random.below(3) };
        segments.extend((0..data).map(|_| case.segment(ACK, first.wrapping_add(1))));
        if let Some(second) = second {
            segments.extend([case.segment(SYN, second), case.segment(ACK, second.wrapping_add(1))]);
        }
        let act = || {
            let went: Vec<_> = segments.iter().map(|segment| self.node.send(segment)).collect();
            self.sent.store(true, SeqCst);
            went
        };
        self.sent.store(false, SeqCst);
        let (went, ()) = self.course.lead(freeing, &mut self.random, act);
        let sent: Vec<_> = segments.into_iter().zip(went).collect();
        if freeing == Freeing::Expire {
            sums.revived += u64::from(data > 0 && sent[0].1 == Some(case.at()));
            sums.late +=
                u64::from(second.is_some() && sent.last().is_some_and(|(_, to)| *to != Some(case.at())));
        }
        Told { case, first, second, sent }
    }

    /// When all is freed, the same once more.
    fn later(&self, told: &mut Told) {
        let data = |isn: u32| told.case.segment(ACK, isn.wrapping_add(1));
        let again = match told.second {
            Some(second) => vec![told.case.segment(SYN, second), data(second)],
            None => vec![data(told.first)],
        };
        for segment in again {
            let to = self.node.send(&segment);
            told.sent.push((segment, to));
        }
    }

    /// Every packet of a connection goes to one place.
    fn judge(&self, freeing: Freeing, told: &Told) -> Result<()> {
        let pins = self.node.pins(&told.case.flow);
        let say = || {
            let sent: Vec<_> = told.sent.iter().map(|(s, to)| (s.flags, s.sequence, to)).collect();
            format!("{freeing:?}: {sent:x?}, of {}, pins {pins:x?}", told.case.at())
        };
        ensure!(pins.len() <= 1, "two pins: {}", say());
        ensure!(told.sent.iter().all(|(_, to)| to.is_some()), "dropped: {}", say());
        // All before the SYN belongs to the first connection, all from there on to the second.
        let syn = told.sent.iter().position(|(segment, _)| segment.flags == SYN);
        let (first, second) = told.sent.split_at(syn.unwrap_or(told.sent.len()));
        let whole = |part: &[(Segment, _)]| part.windows(2).all(|pair| pair[0].1 == pair[1].1);
        ensure!(whole(first) && whole(second), "parted: {}", say());
        // A pin that a packet has used lives, and holds the next connection too.
        let at = Some(told.case.at());
        let kept = told.sent.iter().skip_while(|(_, to)| *to != at);
        ensure!(kept.clone().all(|(_, to)| *to == at), "a pin was lost: {}", say());
        ensure!(freeing == Freeing::Expire || told.sent.len() == kept.count(), "lost: {}", say());
        Ok(())
    }
}
