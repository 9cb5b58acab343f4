//! Watches while the demo runs: follows the servers' logs and the clients' counters, and draws the
//! picture where there is a terminal.

use super::chart::{Frame, numbered};
use super::events::{Events, seconds};
use super::history::{History, Rates};
use super::line::{Ink, Line};
use super::screen::Screen;
use crate::lab::Environment;
use crate::lab::clock::realtime_ns;
use crate::lab::config::{DEPLOYMENT, STREAM, WEB};
use crate::lab::fleet::Accepted;
use crate::lab::nginx::AccessLog;
use crate::lab::topology::Topology;
use crate::streamer::tally::Tally;
use anyhow::{Context, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const TURN: Duration = Duration::from_millis(100);

/// What is going on, told by whoever runs the demo.
#[derive(Clone, Default)]
pub(super) struct Now {
    /// What is being shown.
    pub(super) title: String,
    /// Left edge of the picture, nanoseconds since 1970.
    pub(super) from_ns: u64,
    /// How long it will take, seconds.
    pub(super) expected_s: f64,
    /// The agent, in a word or two.
    pub(super) agent: String,
    /// Whether that is something to point out.
    pub(super) agent_is_down: bool,
    /// The stream clients.
    pub(super) streams: Vec<Arc<Tally>>,
    /// The dated requests.
    pub(super) http: Arc<Tally>,
}

/// The thread that watches. Dropping it ends it.
pub(super) struct Watch {
    now: Arc<Mutex<Now>>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<Vec<AccessLog>>>>,
}

impl Watch {
    pub(super) fn start(topology: &Topology, events: Events, screen: Option<Screen>) -> Self {
        let now: Arc<Mutex<Now>> = Arc::default();
        let (end, ended) = channel();
        let mut watcher = Watcher {
            now: Arc::clone(&now),
            logs: AccessLog::all(topology),
            history: History::default(),
            seen: [0; 2],
            events,
            screen,
        };
        let thread = std::thread::spawn(move || watcher.run(&ended).map(|()| watcher.logs));
        Self { now, end: Some(end), thread: Some(thread) }
    }

    /// Changes what is shown.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Now)) {
        change(&mut lock(&self.now));
    }

    /// Reads the logs to their end, draws the last picture, and returns every web connection that
    /// was accepted, and how many requests were answered with anything but 200.
    pub(super) fn finish(mut self) -> Result<(Vec<Accepted>, u64)> {
        drop(self.end.take());
        let thread = self.thread.take().context("nobody watched")?;
        let logs = match thread.join() {
            Ok(logs) => logs?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let refused = logs.iter().map(|log| log.refused).sum();
        let accepted = logs.into_iter().flat_map(|log| log.accepted);
        Ok((accepted.collect(), refused))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Its error is returned by finish(); here something else has failed already.
            thread.join().ok();
        }
    }
}

struct Watcher {
    now: Arc<Mutex<Now>>,
    logs: Vec<AccessLog>,
    history: History,
    /// Stream answers of blue and green that are in the history already.
    seen: [u64; 2],
    events: Events,
    screen: Option<Screen>,
}

impl Watcher {
    fn run(&mut self, ended: &Receiver<()>) -> Result<()> {
        loop {
            let last = ended.recv_timeout(TURN) != Err(RecvTimeoutError::Timeout);
            let now = lock(&self.now).clone();
            self.follow(&now)?;
            if now.from_ns > 0 {
                self.draw(&now);
            }
            if last {
                return Ok(());
            }
        }
    }

    fn follow(&mut self, now: &Now) -> Result<()> {
        for log in &mut self.logs {
            let environment = log.environment();
            let history = &mut self.history;
            log.follow(|ended_ms| history.add(environment, ended_ms, 1))?;
        }
        let at_ms = realtime_ns() / 1_000_000;
        for (environment, seen) in [Environment::Blue, Environment::Green].into_iter().zip(&mut self.seen) {
            let answers = now.streams.iter().map(|tally| tally.answers(environment));
            let answers = answers.sum::<u64>();
            // Fewer than before: another run has begun.
            self.history.add(environment, at_ms, answers.saturating_sub(*seen));
            *seen = answers;
        }
        Ok(())
    }

    fn draw(&mut self, now: &Now) {
        let Some(screen) = &mut self.screen else { return };
        let (columns, rows) = Screen::size();
        let events = self.events.all();
        let told = numbered(&events, now.from_ns);
        let mut told: Vec<Line> = told
            .map(|(number, event)| {
                let at = seconds(event.at_ns - now.from_ns);
                let line = Line::new().put(" ", Ink::Plain);
                let line = match number {
                    Some(number) => line.put(&number.to_string(), Ink::Mark),
                    None => line.put("·", Ink::Dim),
                };
                line.put(&format!(" {at:5.1} s  "), Ink::Dim).put(&event.text, Ink::Plain)
            })
            .collect();
        // Title, rates, axis, clock, counters, two gaps and the line of the cursor.
        let free = rows.saturating_sub(8);
        // Even, so that the middle has a line of its own.
        let height = (free / 2).clamp(4, 16) & !1;
        let room = free.saturating_sub(height);
        told.drain(..told.len().saturating_sub(room));
        let now_ns = realtime_ns();
        let frame = Frame {
            history: &self.history,
            events: &events,
            from_ns: now.from_ns,
            now_ns,
            expected_s: now.expected_s,
            columns,
            height,
            colour: screen.colour,
        };
        let known = now_ns / 1_000_000 - 400;
        let rates = self.history.rates(known - 1000, known);
        let mut lines = vec![title(now, now_ns), legend(rates)];
        lines.extend(frame.chart());
        lines.push(Line::new());
        lines.push(counters(now));
        lines.extend(told);
        screen.draw(&lines, columns);
    }
}

fn title(now: &Now, now_ns: u64) -> Line {
    let elapsed = seconds(now_ns.saturating_sub(now.from_ns));
    Line::new()
        .put(&format!(" {}", now.title), Ink::Bold)
        .put(&format!("   {DEPLOYMENT}: web {WEB} + stream {STREAM}   {elapsed:.0} s"), Ink::Dim)
}

fn legend(rates: Rates) -> Line {
    Line::new()
        .put(" answers/s  ", Ink::Plain)
        .put("██", Ink::Blue)
        .put(&format!(" blue v1 {:>6.0}   ", rates.blue), Ink::Plain)
        .put("██", Ink::Green)
        .put(&format!(" green v2 {:>6.0}", rates.green), Ink::Plain)
}

fn counters(now: &Now) -> Line {
    let sum = |count: &dyn Fn(&Tally) -> u64| now.streams.iter().map(|tally| count(tally)).sum();
    let blue: u64 = sum(&|tally| tally.open(Environment::Blue));
    let green: u64 = sum(&|tally| tally.open(Environment::Green));
    let moved: u64 = sum(&|tally| tally.fates().moved);
    let broken: u64 = sum(&|tally| tally.fates().broken);
    let failed = now.http.failed();
    let alarm = |count: u64| if count == 0 { Ink::Plain } else { Ink::Red };
    let agent = if now.agent_is_down { Ink::Red } else { Ink::Bold };
    Line::new()
        .put(&format!(" streams open: blue {blue:>3}, green {green:>3}   "), Ink::Plain)
        .put(&format!("moved {moved}   "), alarm(moved))
        .put(&format!("broken {broken}   "), alarm(broken))
        .put(&format!("failed requests {failed}   "), alarm(failed))
        .put("bgd ", Ink::Plain)
        .put(&now.agent, agent)
}

fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}
