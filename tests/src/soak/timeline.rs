//! Where new connections could be sent at every moment of a run: the control word and the rings that it
//! names, sampled from the kernel's own maps every millisecond. Whether a connection went right is judged
//! against this, slot by slot, and not against what the agent says.

use super::maps::{Maps, Rings, Service};
use crate::lab::Environment;
use crate::lab::clock::realtime_ns;
use anyhow::{Context, Result};
use bg_common::abi::{Address, BackendId, NO_BACKEND};
use bg_common::control::{self, Control, Phase};
use bg_common::flow::Flow;
use bg_common::ring;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_millis(1);
/// The rings of a word are read again so often: the slots of a dead backend are given away in place.
const REREAD: Duration = Duration::from_millis(200);
/// A packet that was under way when a store happened may still go by the older word.
const IN_FLIGHT_NS: u64 = 1_000_000;

/// A span in which one word and its rings held.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When what was before was seen last.
    pub(super) from_ns: u64,
    /// When what came after was seen first.
    pub(super) until_ns: u64,
    pub(super) word: Control,
    base: Arc<Rings>,
    current: Arc<Rings>,
    /// The environment that all of the current rings lead to, if it is one.
    pub(super) leads_to: Option<Environment>,
    /// The environment that the latest switch led to, if that was a flip.
    pub(super) flipped_to: Option<Environment>,
    /// Words may have come and gone unseen.
    pub(super) hidden: bool,
}

/// What the word is right now, for whoever steers clients by it.
#[derive(Debug, Default)]
pub(super) struct Live {
    word: AtomicU64,
    /// Flips so far.
    pub(super) flips: AtomicU64,
}

impl Live {
    pub(super) fn word(&self) -> Control {
        Control(self.word.load(Relaxed))
    }

    /// Whether connections are being opened that need pins.
    pub(super) fn drains(&self) -> bool {
        let word = self.word();
        word.phase() == Phase::Drain && word.base().slot != word.current().slot
    }
}

/// The thread that samples.
pub(super) struct Watch {
    pub(super) live: Arc<Live>,
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<Timeline>>,
}

impl Watch {
    /// Starts to sample, and returns when the first word is known.
    pub(super) fn start(maps: Maps) -> Result<Self> {
        let live = Arc::new(Live::default());
        let end = Arc::new(AtomicBool::new(false));
        let mut sampler = Sampler::new(maps, Arc::clone(&live))?;
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            while !ended.load(Relaxed) {
                sampler.sample()?;
                std::thread::sleep(SAMPLE);
            }
            sampler.sample()?;
            Ok(sampler.finish())
        });
        Ok(Self { live, end, thread })
    }

    /// Ends it, and gives what was seen.
    pub(super) fn finish(self) -> Result<Timeline> {
        self.end.store(true, Relaxed);
        match self.thread.join() {
            Ok(timeline) => timeline.context("sample the control word"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Sampler {
    maps: Maps,
    live: Arc<Live>,
    moments: Vec<Moment>,
    sampled_ns: u64,
    read: Instant,
    read_ns: u64,
}

impl Sampler {
    fn new(maps: Maps, live: Arc<Live>) -> Result<Self> {
        let now = realtime_ns();
        let mut sampler =
            Self { maps, live, moments: Vec::new(), sampled_ns: now, read: Instant::now(), read_ns: now };
        let word = sampler.maps.control()?;
        sampler.push(word, now, false)?;
        Ok(sampler)
    }

    fn sample(&mut self) -> Result<()> {
        let before = self.sampled_ns;
        let word = self.maps.control()?;
        self.sampled_ns = realtime_ns();
        let last = self.moments.last().context("there is no first word")?;
        if word != last.word {
            let hidden = word.epoch().wrapping_sub(last.word.epoch()) > 1;
            return self.push(word, before, hidden);
        }
        if self.read.elapsed() >= REREAD {
            let (base, current) = self.rings(word)?;
            let since = self.read_ns;
            self.read = Instant::now();
            self.read_ns = self.sampled_ns;
            let last = self.moments.last().context("there is no first word")?;
            if *last.base != *base || *last.current != *current {
                return self.push(word, since, false);
            }
        }
        Ok(())
    }

    fn push(&mut self, word: Control, from_ns: u64, hidden: bool) -> Result<()> {
        let (base, current) = self.rings(word)?;
        // A ring that the word names is not written; one that it named two words ago may be.
        let hidden = hidden || self.maps.control()?.epoch().wrapping_sub(word.epoch()) > 1;
        let now = realtime_ns();
        self.live.word.store(word.0, Relaxed);
        (self.read, self.read_ns) = (Instant::now(), now);
        let flipped_to = self.flipped_to(word);
        let leads_to = leads_to(&current, &self.maps.hosts);
        if let Some(last) = self.moments.last_mut() {
            last.until_ns = now;
            let flipped = flipped_to.is_some() && flipped_to != last.flipped_to;
            self.live.flips.fetch_add(flipped.into(), Relaxed);
        }
        self.moments.push(Moment {
            from_ns,
            until_ns: u64::MAX,
            word,
            base,
            current,
            leads_to,
            flipped_to,
            hidden,
        });
        Ok(())
    }

    /// A flip changes the environment of new connections to another than base's; going back to base's is
    /// a rollback, and everything else leaves the last one's standing.
    fn flipped_to(&self, word: Control) -> Option<Environment> {
        let last = self.moments.last()?;
        let (was, is) = (last.word.current().environment, word.current().environment);
        if was == is { last.flipped_to } else { (is != word.base().environment).then(|| environment(is)) }
    }

    fn rings(&self, word: Control) -> Result<(Arc<Rings>, Arc<Rings>)> {
        let base = Arc::new(self.maps.rings(word.base().slot)?);
        if word.base().slot == word.current().slot {
            return Ok((Arc::clone(&base), base));
        }
        Ok((base, Arc::new(self.maps.rings(word.current().slot)?)))
    }

    fn finish(self) -> Timeline {
        let Maps { key, services, hosts, .. } = self.maps;
        Timeline { moments: self.moments, key, services, hosts }
    }
}

/// Everything that was seen.
pub(super) struct Timeline {
    pub(super) moments: Vec<Moment>,
    key: [u64; 4],
    services: Vec<Service>,
    hosts: HashMap<BackendId, String>,
}

/// The place of a client's connections in the rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    service: usize,
    slot: usize,
}

impl Timeline {
    /// Where this client's connections to this virtual address are in the rings.
    pub(super) fn place(&self, client: SocketAddr, vip: SocketAddr) -> Option<Place> {
        let service = self.services.iter().position(|service| service.vip == vip)?;
        let Service { id, size, .. } = self.services[service];
        let port = client.port().to_be_bytes();
        let flow = match client.ip() {
            IpAddr::V4(address) => Flow::v4(&self.key, address.octets(), port, id),
            IpAddr::V6(address) => Flow::v6(&self.key, &Address(address.octets()), port, id),
        };
        Some(Place { service, slot: ring::slot(flow.hash, size) as usize })
    }

    /// What may have held at any time of a span.
    pub(super) fn during(&self, from_ns: u64, to_ns: u64) -> &[Moment] {
        let first = self.moments.partition_point(|one| one.until_ns.saturating_add(IN_FLIGHT_NS) < from_ns);
        let end = self.moments.partition_point(|one| one.from_ns <= to_ns);
        self.moments.get(first..end).unwrap_or_default()
    }

    /// The hosts that base or current named for this place in these moments. `None`: not all of it was seen.
    pub(super) fn hosts(&self, place: Place, moments: &[Moment]) -> Option<BTreeSet<&str>> {
        let mut found = BTreeSet::new();
        for moment in moments {
            if moment.hidden {
                return None;
            }
            found.extend(self.host(&moment.base, place));
            found.extend(self.host(&moment.current, place));
        }
        Some(found)
    }

    /// The hosts that base and current named for this place.
    pub(super) fn ways(&self, place: Place, moment: &Moment) -> [Option<&str>; 2] {
        [&moment.base, &moment.current].map(|rings| self.host(rings, place))
    }

    fn host(&self, rings: &Rings, place: Place) -> Option<&str> {
        let id = rings.get(place.service)?.get(place.slot)?;
        self.hosts.get(id).map(String::as_str)
    }
}

fn leads_to(rings: &Rings, hosts: &HashMap<BackendId, String>) -> Option<Environment> {
    let ids: BTreeSet<BackendId> = rings.iter().flatten().copied().filter(|id| *id != NO_BACKEND).collect();
    let mut environments = ids.iter().filter_map(|id| hosts.get(id)).map(|host| environment_of(host));
    let first = environments.next()?;
    environments.all(|one| one == first).then_some(first)
}

/// The environment of a host, which its name begins with.
pub(super) fn environment_of(host: &str) -> Environment {
    if host.starts_with("blue") { Environment::Blue } else { Environment::Green }
}

/// As the API says it.
pub(super) fn environment(environment: control::Environment) -> Environment {
    match environment {
        control::Environment::Blue => Environment::Blue,
        control::Environment::Green => Environment::Green,
    }
}
