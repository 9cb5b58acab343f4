//! The boundaries of an act: points at which a killed agent leaves something behind. A test's agent watches
//! them, writes them down, and kills itself at the one that the test asks for; in any other agent passing one
//! is nothing but a look at an empty place.

use std::sync::OnceLock;

static WATCHER: OnceLock<fn(&'static str)> = OnceLock::new();

/// Passes the boundary `name`: what the name says has just happened, and nothing after it.
pub fn pass(name: &'static str) {
    if let Some(watcher) = WATCHER.get() {
        watcher(name);
    }
}

/// Has `watcher` called at every boundary from now on. The first watcher stays.
pub fn watch(watcher: fn(&'static str)) {
    // Two watchers would be two tests in one agent.
    WATCHER.set(watcher).ok();
}
