//! Counting tests from what cargo prints: the `test result:` line at the end of every test program.

/// What the test programs of one step said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that were not run because they are marked so.
    pub(crate) ignored: u64,
}

impl Tally {
    /// Nothing counted.
    pub(crate) const NONE: Self = Self { passed: 0, failed: 0, ignored: 0 };

    /// A check that counts as one test.
    pub(crate) const fn one(passed: bool) -> Self {
        Self { passed: passed as u64, failed: !passed as u64, ignored: 0 }
    }

    /// Both together.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }

    /// The verdict on a step that ended with this tally: a step that fails without a failed test
    /// (nothing compiled, a test program crashed) is one failure more, and so is, where every test has to run
    /// (`strict`), each ignored one.
    pub(crate) const fn verdict(self, succeeded: bool, strict: bool) -> Self {
        let crashed = if !succeeded && self.failed == 0 { 1 } else { 0 };
        let ignored = if strict { self.ignored } else { 0 };
        Self { passed: self.passed, failed: self.failed + crashed + ignored, ignored: self.ignored - ignored }
    }
}

/// Reads a stream in pieces and adds up the result lines in it.
#[derive(Default)]
pub(crate) struct Counter {
    line: Vec<u8>,
    tally: Tally,
}

impl Counter {
    /// Take the next piece.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = plain(&String::from_utf8_lossy(&self.line));
                self.tally = self.tally.plus(result(&line).unwrap_or(Tally::NONE));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
    }

    /// All that was counted so far.
    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }
}

/// The numbers of a result line, `None` for any other line.
fn result(line: &str) -> Option<Tally> {
    let (_verdict, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::NONE;
    for part in numbers.split(';') {
        let (count, what) = part.trim().split_once(' ')?;
        match what {
            "passed" => tally.passed = count.parse().ok()?,
            "failed" => tally.failed = count.parse().ok()?,
            "ignored" => tally.ignored = count.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

/// The line without the colours that a terminal would show.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // "ESC [ parameters letter", or "ESC ( letter", which libtest ends a colour with.
            let _ = characters.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else if character != '\r' {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
    const BAD: &str =
        "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";

    fn count(text: &str) -> Tally {
        let mut counter = Counter::default();
        // In the smallest pieces, as a pipe may deliver them.
        text.bytes().for_each(|byte| counter.read(&[byte]));
        counter.tally()
    }

    #[test]
    fn result_lines_add_up() {
        let text = format!("running 13 tests\ntest a ... ok\n{GOOD}\n\n{BAD}\n");
        assert_eq!(count(&text), Tally { passed: 14, failed: 5, ignored: 1 });
    }

    #[test]
    fn colours_do_not_hide_a_result_line() {
        let text = GOOD.replace("ok", "\x1b[32mok\x1b(B\x1b[m");
        assert_eq!(count(&format!("{text}\r\n")).passed, 12);
    }

    #[test]
    fn only_a_whole_line_counts() {
        assert_eq!(count(&format!("said: {GOOD}\n{GOOD}")), Tally::NONE);
    }

    #[test]
    fn line_with_a_broken_number_counts_nothing() {
        assert_eq!(count("test result: ok. many passed; 0 failed\n"), Tally::NONE);
    }

    #[test]
    fn step_that_dies_without_a_result_is_a_failure() {
        assert_eq!(Tally::NONE.verdict(false, false), Tally::one(false));
    }

    #[test]
    fn failed_tests_are_not_counted_again_for_the_exit_code() {
        assert_eq!(count(&format!("{BAD}\n")).verdict(false, false).failed, 5);
    }

    #[test]
    fn ignored_test_is_a_failure_only_where_every_test_has_to_run() {
        let tally = count(&format!("{GOOD}\n"));
        assert_eq!(tally.verdict(true, false), Tally { passed: 12, failed: 0, ignored: 1 });
        assert_eq!(tally.verdict(true, true), Tally { passed: 12, failed: 1, ignored: 0 });
    }
}
