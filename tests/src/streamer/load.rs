//! A load of many clients: long-lived streams (some of them silent), streams that come and go, and
//! short HTTP requests. It runs on one thread, in whatever namespace that thread is in.

use super::requests;
use super::stream::{self, Plan};
use super::tally::Tally;
use crate::lab::Environment;
use crate::lab::namespace::Namespace;
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// What the clients are told, all at once.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "orders do not exclude each other")]
pub struct Orders {
    /// The silent ones speak again.
    pub speak: bool,
    /// Connections to blue end.
    pub end_blue: bool,
    /// Connections to green end.
    pub end_green: bool,
    /// Nothing new is opened, everything ends.
    pub stop: bool,
}

impl Orders {
    pub(crate) fn ends(self, environment: Environment) -> bool {
        let side = match environment {
            Environment::Blue => self.end_blue,
            Environment::Green => self.end_green,
        };
        self.stop || side
    }
}

/// The clients of one load.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The addresses that they come from, in turn; the kernel's choice if empty.
    pub sources: Vec<IpAddr>,
    /// The stream service.
    pub streams: Option<Streams>,
    /// The HTTP service.
    pub http: Option<Http>,
}

/// Clients of the stream service.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Where it is.
    pub target: SocketAddr,
    /// Connections that stay until they are told to end.
    pub long_lived: u32,
    /// Whether every third of those is silent.
    pub silent_third: bool,
    /// Between two blocks of one connection.
    pub pace: Duration,
    /// A connection of a few blocks is opened every so often; none if absent.
    pub churn: Option<Duration>,
}

/// Clients of the HTTP service.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it is.
    pub target: SocketAddr,
    /// Clients that keep their connection for a hundred requests.
    pub keep_alive: u32,
    /// Clients that open a connection for each request.
    pub closing: u32,
    /// Between two requests of one client.
    pub pace: Duration,
}

/// A load that is running. Dropping it stops it without waiting.
pub struct Load {
    orders: watch::Sender<Orders>,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Load {
    /// Starts the clients inside `namespace`.
    pub fn start(namespace: &Namespace, clients: Clients) -> Self {
        let (orders, receiver) = watch::channel(Orders::default());
        let tally = Arc::new(Tally::default());
        let counted = Arc::clone(&tally);
        let thread = namespace.thread(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("make a runtime for the load")?;
            runtime.block_on(run(clients, counted, receiver));
            Ok(())
        });
        Self { orders, tally, thread: Some(thread) }
    }

    /// The counters, live.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Tells the clients something.
    pub fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    /// Ends every connection by FINs both ways, and waits for that.
    pub fn stop(mut self) -> Result<Arc<Tally>> {
        self.order(|orders| orders.stop = true);
        let thread = self.thread.take().context("the load was stopped before")?;
        match thread.join() {
            Ok(result) => result??,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Arc::clone(&self.tally))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = true);
    }
}

/// Runs the clients until they are told to stop and have ended.
pub async fn run(clients: Clients, tally: Arc<Tally>, mut orders: watch::Receiver<Orders>) {
    let mut tasks = JoinSet::new();
    let mut sources = Sources::new(&clients.sources);
    if let Some(http) = &clients.http {
        requests::start(http, &mut sources, &mut tasks, &tally, &orders);
    }
    let mut every = match &clients.streams {
        Some(streams) => {
            for number in 0..streams.long_lived {
                let silent = streams.silent_third && number % 3 == 0;
                let plan = plan(streams, sources.next(), u64::from(number), silent, None);
                launch(&mut tasks, plan, &tally, &orders);
            }
            streams.churn.map(interval)
        }
        None => None,
    };
    if let Some(every) = &mut every {
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut seed = 1 << 32;
    loop {
        let turn = async {
            match &mut every {
                Some(every) => every.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = turn => {
                if let Some(streams) = &clients.streams {
                    seed += 1;
                    let life = streams.pace * u32::try_from(seed % 8).unwrap_or(0);
                    let plan = plan(streams, sources.next(), seed, false, Some(life));
                    launch(&mut tasks, plan, &tally, &orders);
                }
            }
            // An error means that nobody is left who could say stop.
            changed = orders.changed() => if changed.is_err() || orders.borrow().stop { break },
        }
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

fn plan(streams: &Streams, source: Option<IpAddr>, seed: u64, silent: bool, life: Option<Duration>) -> Plan {
    Plan { source, target: streams.target, seed, pace: streams.pace, silent, life }
}

fn launch(tasks: &mut JoinSet<()>, plan: Plan, tally: &Arc<Tally>, orders: &watch::Receiver<Orders>) {
    let (tally, orders) = (Arc::clone(tally), orders.clone());
    tasks.spawn(async move { stream::run(plan, &tally, orders).await });
}

/// Hands out source addresses in turn.
pub(super) struct Sources {
    addresses: Vec<IpAddr>,
    next: usize,
}

impl Sources {
    fn new(addresses: &[IpAddr]) -> Self {
        Self { addresses: addresses.to_vec(), next: 0 }
    }

    pub(super) fn next(&mut self) -> Option<IpAddr> {
        self.next += 1;
        let turn = self.next % self.addresses.len().max(1);
        self.addresses.get(turn).copied()
    }
}
