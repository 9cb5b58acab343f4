//! What happened when: the numbered marks under the picture, and the lines of progress where there
//! is no terminal.

use crate::lab::clock::realtime_ns;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a mark in the picture looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// New connections go elsewhere from here.
    Switch,
    /// The agent is gone.
    Down,
    /// The agent is back.
    Up,
    /// Anything else that is worth a line.
    Note,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at_ns: u64,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The story so far. Cheap to clone; all clones tell the same story.
#[derive(Clone)]
pub(super) struct Events {
    start_ns: u64,
    /// Whether every event is also printed at once, because nothing else shows it.
    printed: bool,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Events {
    pub(super) fn new(printed: bool) -> Self {
        Self { start_ns: realtime_ns(), printed, told: Arc::default() }
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.add(realtime_ns(), Kind::Note, text);
    }

    pub(super) fn add(&self, at_ns: u64, kind: Kind, text: impl Into<String>) {
        let text = text.into();
        if self.printed {
            let seconds = seconds(at_ns.saturating_sub(self.start_ns));
            eprintln!("{seconds:6.1}s  {text}");
        }
        self.lock().push(Event { at_ns, kind, text });
    }

    pub(super) fn all(&self) -> Vec<Event> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds as seconds, for people.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
