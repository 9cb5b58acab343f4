//! Words and numbers for people: colours, durations, counts.

use std::time::Duration;

use crate::api::types::Environment;

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    /// In the colour that it names.
    pub(super) fn environment(self, environment: Environment, text: &str) -> String {
        match environment {
            Environment::Blue => self.with("34", text),
            Environment::Green => self.with("32", text),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

pub(super) const fn name(environment: Environment) -> &'static str {
    match environment {
        Environment::Blue => "blue",
        Environment::Green => "green",
    }
}

pub(super) const fn other(environment: Environment) -> Environment {
    match environment {
        Environment::Blue => Environment::Green,
        Environment::Green => Environment::Blue,
    }
}

/// Text from elsewhere on one line, with nothing in it that a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `3s`, `4m12s`, `2h04m`, `3d02h`.
pub(super) fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

pub(super) fn duration(duration: Duration) -> String {
    seconds(duration.as_secs())
}

/// `1,204`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 flow`, `2 flows`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = [0, 59, 60, 252, 3600, 7_440, 86_400, 266_400].map(seconds);
        assert_eq!(shown, ["0s", "59s", "1m00s", "4m12s", "1h00m", "2h04m", "1d00h", "3d02h"]);
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 999, 1_000, 1_204_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "1,204,567"]);
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(1_000, "flow"), "1,000 flows");
    }

    #[test]
    fn text_from_elsewhere_commands_no_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a [2Jb c");
    }

    #[test]
    fn without_colour_nothing_is_added() {
        assert_eq!(Paint::new(false).bad("x"), "x");
        assert_eq!(Paint::new(true).bad("x"), "\x1b[31mx\x1b[0m");
    }
}
