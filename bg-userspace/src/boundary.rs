//! The boundaries of an act: points at which a killed agent leaves something behind. Tests enumerate them
//! and kill the agent at each one; in an agent that is not built for that, passing one is nothing at all.

/// Passes the boundary `name`: what the name says has just happened, and nothing after it.
#[cfg(not(feature = "boundaries"))]
#[inline(always)]
pub fn pass(_name: &'static str) {}

#[cfg(feature = "boundaries")]
pub use self::watched::pass;

#[cfg(feature = "boundaries")]
mod watched {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    /// Names the file that every passed boundary is appended to, a line each.
    const LOG: &str = "BLUEGREEN_BOUNDARIES";
    /// The boundary at which this process kills itself, counted from 1 at its start.
    const KILL_AT: &str = "BLUEGREEN_KILL_AT";
    /// Names a file with an order: `COUNT NAME` kills this process when it passes that name for the
    /// `COUNT`th time since the order was first seen. So a test can wait with it until the act that it means.
    const KILL_FILE: &str = "BLUEGREEN_KILL_FILE";

    struct Watch {
        passed: u64,
        order: String,
        seen: u64,
    }

    static WATCH: Mutex<Watch> = Mutex::new(Watch { passed: 0, order: String::new(), seen: 0 });

    /// Passes the boundary `name`: writes it down, and dies here if that was asked for.
    pub fn pass(name: &'static str) {
        let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        watch.passed += 1;
        if let Some(path) = path(LOG) {
            let log = File::options().append(true).create(true).open(path);
            // Whoever counts the lines will miss it.
            drop(log.and_then(|mut log| writeln!(log, "{name}")));
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
            let Some((count, wanted)) = order.trim_end().split_once(' ') else { return false };
            self.seen += u64::from(wanted == name);
            wanted == name && count.parse() == Ok(self.seen)
        }
    }

    fn path(variable: &str) -> Option<PathBuf> {
        std::env::var_os(variable).map(PathBuf::from)
    }

    fn die() -> ! {
        // It cannot fail for a process's own id; if it did, going on would be worse than waiting.
        kill_process(getpid(), Signal::KILL).ok();
        loop {
            std::thread::park();
        }
    }
}
