//! What a switch costs: the store, the wait for processors that hold the older word, the ring of a large
//! environment; and how soon a flip counts for packets that arrive meanwhile.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::Xdp;
use bg_common::control::Environment;
use bg_userspace::datapath::InstalledBackend;
use bg_userspace::maglev;
use serde::Serialize;

use super::cases::{CASES, Stage};
use super::ground::{Ground, Size, environment};
use super::kind::Kind;
use super::place::{HOSTS, VIPS, Version};
use super::processor;
use super::report::{median, round};
use crate::lab::namespace::Namespace;
use crate::packets::Action;
use crate::packets::rig::run_once;

/// Services of the deployment that is flipped.
const SERVICES: u16 = 100;
/// Backends of the large environment.
const BACKENDS: u16 = 1000;
/// The largest ring that the configuration takes.
const RING: u32 = 65_521;
/// Between two stores, at least; and so many new connections, at least.
const PAUSE: Duration = Duration::from_micros(300);
const ARRIVALS: usize = 8;
/// Where in an IPv4 frame its destination is.
const DESTINATION: usize = 30;
/// Where its source port is.
const SOURCE_PORT: usize = 34;

/// What a switch costs.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// One store of a control word, nanoseconds.
    pub store_ns: f64,
    /// Services that one store flipped, each of them seen to have followed it.
    pub flipped_services: u16,
    /// The wait until no processor holds the older word, milliseconds, median.
    pub grace_ms: f64,
    /// The ring of an environment of 1000 backends, milliseconds, median.
    pub ring_ms: f64,
    /// Flips under packets.
    pub flips: u32,
    /// New connections that arrived meanwhile.
    pub connections: usize,
    /// From the store until the last new connection to the old environment was done with, microseconds;
    /// half of the flips took no longer.
    pub flip_us_p50: f64,
    /// Of a hundred, 99 took no longer.
    pub flip_us_p99: f64,
}

impl Control {
    pub(super) fn text(&self) -> String {
        let Self { store_ns, flipped_services, grace_ms, ring_ms, flips, connections, .. } = self;
        format!(
            "store of a control word: {store_ns} ns, which flips {flipped_services} services\n\
             wait for processors that hold the older one: {grace_ms} ms\n\
             ring of {BACKENDS} backends, {RING} slots: {ring_ms} ms\n\
             {flips} flips under {connections} new connections: until the last one to the old environment \
             {} us (p50), {} us (p99)",
            self.flip_us_p50, self.flip_us_p99
        )
    }
}

/// A new connection, and where it went.
struct Sent {
    ended: Instant,
    to: Environment,
}

/// Measures all of it, with so many flips under packets.
pub(super) fn measure(flips: u32, namespace: &Namespace) -> Result<Control> {
    let size = Size { services: SERVICES, backends: SERVICES * 2, flows: 1 << 20 };
    let mut ground = Ground::new(Kind::TCP4, size, namespace)?;
    let grace = median_of(21, || {
        let took = ground.bare.grace.wait().context("wait for a grace period")?;
        Ok(took.as_secs_f64() * 1e3)
    })?;
    flip_all(&mut ground)?;
    let (mut latencies, connections) = flip_under_packets(&mut ground, flips)?;
    latencies.sort_unstable_by(f64::total_cmp);
    let part = |of_hundred: usize| latencies[(latencies.len() - 1) * of_hundred / 100];
    Ok(Control {
        store_ns: round(store(&ground)?),
        flipped_services: SERVICES,
        grace_ms: round(grace),
        ring_ms: round(ring()?),
        flips,
        connections,
        flip_us_p50: round(part(50)),
        flip_us_p99: round(part(99)),
    })
}

/// Stores of a word that no service looks at, by the million.
fn store(ground: &Ground) -> Result<f64> {
    const STORES: u32 = 1 << 20;
    let word = ground.bare.maps.control.get(1).context("a second deployment")?;
    median_of(9, || {
        let start = Instant::now();
        for i in 0..STORES {
            word.store(black_box(u64::from(i)), SeqCst);
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(STORES))
    })
}

fn ring() -> Result<f64> {
    let backend = |id: u16| InstalledBackend {
        id,
        environment: Environment::Blue,
        address: HOSTS.member(Version::V4, id.into()),
        weight: 100,
        leaving: false,
    };
    let backends: Vec<_> = (0..BACKENDS).map(backend).collect();
    median_of(9, || {
        let start = Instant::now();
        let ring = maglev::ring(RING, black_box(&backends));
        let took = start.elapsed();
        let named: HashSet<_> = ring.into_iter().collect();
        ensure!(named.len() == backends.len(), "the ring names {} backends", named.len());
        Ok(took.as_secs_f64() * 1e3)
    })
}

/// One store, and every service of the deployment sends its next connection to green.
fn flip_all(ground: &mut Ground) -> Result<()> {
    ground.forget();
    for (stage, expected, client) in
        [(Stage::Steady, Environment::Blue, 1_u8), (Stage::Unpinned, Environment::Green, 2)]
    {
        ground.stage(stage);
        for service in 0..SERVICES {
            // The destination decides which service it is, and what the checksums are does not matter here.
            let mut frame = syn();
            // Another client: the SYN of one that was sent to blue would be remembered.
            frame[DESTINATION - 1] = client;
            let vip = VIPS.first(Version::V4) + u32::from(service);
            frame[DESTINATION..DESTINATION + 4].copy_from_slice(&vip.to_be_bytes());
            let sent = send(ground.bare.program(), ground.interface, &frame)?;
            ensure!(sent.to == expected, "service {service} sent a new connection to {:?}", sent.to);
        }
    }
    Ok(())
}

/// Flips again and again while another thread opens connections as fast as it can. Returns how long each flip
/// took to count, in microseconds, and how many connections there were.
fn flip_under_packets(ground: &mut Ground, flips: u32) -> Result<(Vec<f64>, usize)> {
    processor::stay_on(1)?;
    let interface = ground.interface;
    let [steady, drain] = [Stage::Steady, Stage::Unpinned].map(Ground::word);
    let (done, arrived) = (AtomicBool::new(false), AtomicUsize::new(0));
    ground.forget();
    ground.stage(Stage::Steady);
    let (program, maps, _) = ground.bare.parts();
    let word = maps.control.get(0).context("a first deployment")?;
    let (flipped, sent) = thread::scope(|scope| {
        let client = scope.spawn(|| {
            processor::stay_on(0)?;
            let mut sent = Vec::new();
            let mut frame = syn();
            for tuple in 0_u32.. {
                if done.load(Relaxed) {
                    break;
                }
                // A connection of its own each: another port, or another client.
                frame[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&(tuple as u16).to_be_bytes());
                frame[DESTINATION - 2..DESTINATION].copy_from_slice(&((tuple >> 16) as u16).to_be_bytes());
                sent.push(send(program, interface, &frame)?);
                arrived.store(sent.len(), Relaxed);
            }
            anyhow::Ok(sent)
        });
        let pause = || {
            let before = arrived.load(Relaxed);
            thread::sleep(PAUSE);
            while arrived.load(Relaxed) < before + ARRIVALS && !client.is_finished() {
                thread::sleep(PAUSE);
            }
        };
        let mut flipped = Vec::new();
        for _ in 0..flips {
            pause();
            let from = Instant::now();
            word.store(drain.0, SeqCst);
            pause();
            flipped.push((from, Instant::now()));
            word.store(steady.0, SeqCst);
        }
        done.store(true, Relaxed);
        let sent = client.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        anyhow::Ok((flipped, sent))
    })?;
    ensure!(ground.look.now()?.overflow() == 0, "there was no room for a pin");
    let latencies = flipped.iter().map(|(from, until)| {
        // Those that had ended before the next store; one that saw the last one's word is not among the later
        // ones, because it is one client, and others of its packets have come since.
        let seen = &sent[..sent.partition_point(|sent| sent.ended <= *until)];
        ensure!(seen.last().is_some_and(|sent| sent.to == Environment::Green), "the flip did not count");
        let last = seen.iter().rfind(|sent| sent.to == Environment::Blue);
        let until = last.map_or(Duration::ZERO, |sent| sent.ended.saturating_duration_since(*from));
        Ok(until.as_secs_f64() * 1e6)
    });
    Ok((latencies.collect::<Result<_>>()?, sent.len()))
}

/// A client's SYN to the first service.
fn syn() -> Vec<u8> {
    let case = CASES.iter().find(|case| case.opens()).expect("a case with SYNs");
    case.frame()
}

/// Lets it arrive, and sees where it goes.
fn send(program: &Xdp, interface: u32, frame: &[u8]) -> Result<Sent> {
    let received = run_once(program, interface, frame);
    let ended = Instant::now();
    ensure!(received.action == Action::Redirect, "a SYN ended with {:?}", received.action);
    let destination = received.bytes.get(DESTINATION..DESTINATION + 4).context("a cut packet")?;
    let number = u32::from_be_bytes(destination.try_into()?) - HOSTS.first(Version::V4);
    Ok(Sent { ended, to: environment(number as u16) })
}

fn median_of(times: u32, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let values: Vec<_> = (0..times).map(|_| measure()).collect::<Result<_>>()?;
    Ok(median(values.into_iter()))
}
