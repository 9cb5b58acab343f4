//! What a virtual machine says, line by line: which suite begins, what its tests print, and how it ends.

use std::time::{Duration, Instant};

use crate::tally::{Counter, Tally};

/// The reader of one machine's lines.
#[derive(Default)]
pub(super) struct Console {
    suite: Option<Suite>,
}

struct Suite {
    name: String,
    began: Instant,
    counter: Counter,
    output: String,
}

/// Something that happened in the machine.
pub(super) enum Event {
    /// It has booted, and has this kernel.
    Booted(String),
    /// A suite has ended.
    Ended(Ended),
}

/// A suite that has ended.
pub(super) struct Ended {
    /// Its name.
    pub(super) name: String,
    /// What it counted; a suite that fails without a failed test, or in which no test ran, is one failure.
    pub(super) tally: Tally,
    /// How long it took.
    pub(super) took: Duration,
    /// What it printed.
    pub(super) output: String,
}

impl Console {
    /// Takes the next line.
    pub(super) fn line(&mut self, line: &str) -> Option<Event> {
        let line = line.trim_end();
        if let Some(kernel) = line.strip_prefix("@kernel ") {
            return Some(Event::Booted(kernel.to_owned()));
        }
        if let Some(name) = line.strip_prefix("@begin ") {
            let (counter, output) = (Counter::default(), String::new());
            self.suite = Some(Suite { name: name.to_owned(), began: Instant::now(), counter, output });
            return None;
        }
        if let Some(end) = line.strip_prefix("@end ") {
            return self.end(end.ends_with(" 0"));
        }
        let suite = self.suite.as_mut()?;
        for text in [line, "\n"] {
            suite.counter.read(text.as_bytes());
            suite.output.push_str(text);
        }
        None
    }

    /// The suite that was under way when the machine ended, if one was.
    pub(super) fn end(&mut self, succeeded: bool) -> Option<Event> {
        let suite = self.suite.take()?;
        let tally = suite.counter.tally().verdict(succeeded, true);
        let tally = if tally.passed + tally.failed == 0 { Tally::one(false) } else { tally };
        let took = suite.began.elapsed();
        Some(Event::Ended(Ended { name: suite.name, tally, took, output: suite.output }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";

    fn ended(lines: &[&str]) -> Ended {
        let mut console = Console::default();
        let events: Vec<_> = lines.iter().filter_map(|line| console.line(line)).collect();
        let events: Vec<_> = events.into_iter().chain(console.end(false)).collect();
        let [Event::Ended(_)] = &events[..] else { panic!("not one suite ended") };
        let Some(Event::Ended(ended)) = events.into_iter().next() else { unreachable!() };
        ended
    }

    #[test]
    fn suite_that_passes_counts_its_tests() {
        let ended = ended(&["@begin packets\r", "running 12 tests\r", GOOD, "@end packets 0\r"]);
        assert_eq!((ended.name.as_str(), ended.tally.passed, ended.tally.failed), ("packets", 12, 0));
        assert!(ended.output.starts_with("running 12 tests\n"));
    }

    #[test]
    fn suite_that_crashes_after_its_tests_is_a_failure() {
        assert_eq!(ended(&["@begin packets", GOOD, "@end packets 134"]).tally.failed, 1);
    }

    #[test]
    fn suite_that_is_cut_short_is_a_failure() {
        assert_eq!(ended(&["@begin packets", "test a ... ok"]).tally, Tally::one(false));
    }

    #[test]
    fn suite_without_a_test_is_a_failure() {
        let none =
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0s";
        assert_eq!(ended(&["@begin packets", none, "@end packets 0"]).tally, Tally::one(false));
    }
}
