//! In the agent that is to die: every boundary that it passes is written down, and at the one that was
//! ordered it ends itself by SIGKILL, so that nothing of it runs any more, no destructor and no handler.

use bg_userspace::boundary;
use rustix::process::{Signal, getpid, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Names the file that every boundary is appended to, a line each, before anything else happens there.
pub const LOG: &str = "BLUEGREEN_BOUNDARIES";
/// The boundary at which the agent ends, counted from 1 at its start.
pub const KILL_AT: &str = "BLUEGREEN_KILL_AT";
/// Names a file with an order `COUNT NAME`: the agent ends when it passes that name for the `COUNT`th
/// time since the order was first seen. So a test can wait with it until the act that it means.
pub const KILL_FILE: &str = "BLUEGREEN_KILL_FILE";

/// How far this agent has come.
struct Watch {
    passed: u64,
    order: String,
    seen: u64,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch { passed: 0, order: String::new(), seen: 0 });

/// Watches every boundary from now on.
pub fn begin() {
    boundary::watch(pass);
}

fn pass(name: &'static str) {
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    watch.passed += 1;
    if let Some(path) = path(LOG) {
        let log = File::options().append(true).create(true).open(&path);
        log.and_then(|mut log| writeln!(log, "{name}"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let number = std::env::var(KILL_AT).ok().and_then(|number| number.parse().ok());
    if number == Some(watch.passed) || watch.ordered(name) {
        die();
    }
}

impl Watch {
    fn ordered(&mut self, name: &str) -> bool {
        let Some(order) = path(KILL_FILE).and_then(|path| fs::read_to_string(path).ok()) else {
            return false;
        };
        if order != self.order {
            self.order.clone_from(&order);
            self.seen = 0;
        }
        let Some((count, wanted)) = order.split_once(' ') else { return false };
        self.seen += u64::from(wanted == name);
        wanted == name && count.parse() == Ok(self.seen)
    }
}

fn path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    loop {
        std::thread::park();
    }
}
