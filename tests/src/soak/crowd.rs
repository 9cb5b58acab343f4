//! The clients of a soak: opened at a steady rate from one thread in the client's namespace, half of them
//! over IPv6, a third of them silent ones that open only while a drain goes on, and some regulars that use
//! their ports again and again.

use super::client::{self, Plan};
use super::dice::Dice;
use super::record::{End, Manner, Record};
use super::timeline::Live;
use crate::lab::config::{PLAIN, STREAM, STREAM6};
use crate::lab::namespace::Namespace;
use crate::lab::topology::{CLIENTS, CLIENTS6, has_ipv6};
use crate::streamer::load::Orders;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const TURN: Duration = Duration::from_millis(20);
/// Ports of the regulars, below those that the kernel hands out.
const REGULAR_PORTS: std::ops::Range<u16> = 4000..4008;
/// A port in `TIME_WAIT` is free for a newer connection after a second.
const TIME_WAIT: Duration = Duration::from_millis(1100);

/// The counters that are shown while it runs, and the records.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Connections begun.
    pub(super) begun: AtomicU64,
    /// Of those, silent ones in a drain.
    pub(super) silent: AtomicU64,
    /// Of all, ended.
    pub(super) ended: AtomicU64,
    /// Ended otherwise than the client wished, a lost backend's included.
    pub(super) broken: AtomicU64,
    records: Mutex<Vec<Record>>,
}

impl Board {
    fn note(&self, record: Record) {
        self.ended.fetch_add(1, Relaxed);
        if matches!(record.end, End::Broken(_) | End::Moved(_)) {
            self.broken.fetch_add(1, Relaxed);
        }
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

/// A running crowd. Dropping it tells everybody to end.
pub(super) struct Crowd {
    orders: watch::Sender<Orders>,
    pub(super) board: Arc<Board>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Crowd {
    /// Opens so many connections a second in `namespace`, until told to stop.
    pub(super) fn start(namespace: &Namespace, seed: u64, rate: f64, live: Arc<Live>) -> Self {
        let (orders, receiver) = watch::channel(Orders::default());
        let board = Arc::new(Board::default());
        let opener = Opener { seed, number: 0, rate, live, board: Arc::clone(&board), orders: receiver };
        let thread = namespace.thread(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("make a runtime for the clients")?;
            runtime.block_on(opener.run());
            Ok(())
        });
        Self { orders, board, thread: Some(thread) }
    }

    /// Tells all of them something.
    pub(super) fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    /// Everybody ends; what became of each.
    pub(super) fn stop(mut self) -> Result<Vec<Record>> {
        self.order(|orders| orders.stop = true);
        match self.thread.take().context("the crowd was stopped before")?.join() {
            Ok(result) => result??,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let mut records = self.board.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *records))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = true);
    }
}

struct Opener {
    seed: u64,
    number: u64,
    rate: f64,
    live: Arc<Live>,
    board: Arc<Board>,
    orders: watch::Receiver<Orders>,
}

impl Opener {
    async fn run(mut self) {
        let mut tasks = JoinSet::new();
        // They are quick, and few connections of their kind are enough.
        let tenths = (1..=REGULAR_PORTS.end - REGULAR_PORTS.start).map(|count| f64::from(count) * 10.0);
        let regulars = tenths.filter(|rate| *rate <= self.rate).count().max(1);
        for (at, port) in REGULAR_PORTS.enumerate().take(regulars) {
            let (source, vip) = ends(at, port, at % 4 < 2, at % 2 == 0);
            let regular = regular(source, vip, self.dice(), Arc::clone(&self.board), self.orders.clone());
            tasks.spawn(regular);
        }
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut last, mut due, mut owed) = (Instant::now(), 0.0, 0_u64);
        while !self.orders.borrow().stop {
            turns.tick().await;
            due += last.elapsed().as_secs_f64().min(1.0) * self.rate;
            last = Instant::now();
            let mut burst = 0_u64;
            while due >= 1.0 {
                due -= 1.0;
                burst += 1;
                match self.manner() {
                    Manner::Silent => owed += 1,
                    other => self.open(&mut tasks, other),
                }
            }
            // Those who waited for a drain come faster, but not all at once.
            let mut room = 1 + 2 * burst;
            while owed > 0 && room > 0 && self.live.drains() {
                (owed, room) = (owed - 1, room - 1);
                self.open(&mut tasks, Manner::Silent);
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    /// More than a third is silent, because the regulars are not.
    fn manner(&mut self) -> Manner {
        match self.dice().below(24) {
            0..10 => Manner::Silent,
            10..13 => Manner::Stream,
            13..15 => Manner::Abort,
            15 => Manner::Abandon,
            _ => Manner::Short,
        }
    }

    fn dice(&mut self) -> Dice {
        self.number += 1;
        Dice::nth(self.seed, self.number)
    }

    fn open(&mut self, tasks: &mut JoinSet<()>, manner: Manner) {
        let mut dice = self.dice();
        let (source, vip) = ends(self.number as usize, 0, dice.percent(50), dice.percent(50));
        let plan = Plan::new(manner, source, vip, dice);
        let (board, orders) = (Arc::clone(&self.board), self.orders.clone());
        tasks.spawn(async move { drop(one(plan, &board, orders).await) });
    }
}

/// A client's address, by its number, with this port, and the virtual address that it connects to. Of a
/// kernel without IPv6 nobody asks for it.
fn ends(number: usize, port: u16, over_v6: bool, plain: bool) -> (SocketAddr, SocketAddr) {
    if over_v6 && has_ipv6() {
        return (SocketAddr::from((CLIENTS6[number % CLIENTS6.len()], port)), STREAM6.into());
    }
    let vip = if plain { PLAIN } else { STREAM };
    (SocketAddr::from((CLIENTS[number % CLIENTS.len()], port)), vip.into())
}

/// One connection. Says whether there was one.
async fn one(plan: Plan, board: &Board, orders: watch::Receiver<Orders>) -> Option<End> {
    board.begun.fetch_add(1, Relaxed);
    board.silent.fetch_add(u64::from(plan.manner == Manner::Silent), Relaxed);
    let Ok(record) = client::run(plan, orders).await else {
        board.begun.fetch_sub(1, Relaxed);
        return None;
    };
    let end = record.end.clone();
    board.note(record);
    Some(end)
}

/// A client that has one port and uses it again as soon as its kernel lets it.
async fn regular(
    source: SocketAddr,
    vip: SocketAddr,
    mut dice: Dice,
    board: Arc<Board>,
    orders: watch::Receiver<Orders>,
) {
    while !orders.borrow().stop {
        let plan = Plan::new(Manner::Again, source, vip, Dice::new(dice.next()));
        let rest = match one(plan, &board, orders.clone()).await {
            Some(End::Aborted) => dice.millis(0..30),
            Some(End::Kept) => TIME_WAIT,
            _ => Duration::from_millis(200),
        };
        sleep(rest).await;
    }
}
