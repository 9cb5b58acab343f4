//! The terminal: how large it is, whether it has colours, and one picture that is drawn over and
//! over at the same place, so that the last one stays.

use super::line::Line;
use crate::lab::cleanup::{self, Ticket};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};

/// A terminal that shows a picture. Dropping it gives the cursor back.
pub(crate) struct Screen {
    drawn: usize,
    pub(crate) colour: bool,
    _cursor: Ticket,
}

impl Screen {
    /// The terminal behind standard error, if there is one.
    pub(crate) fn open() -> Option<Self> {
        if !stderr().is_terminal() {
            return None;
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if dumb {
            return None;
        }
        eprint!("\x1b[?25l");
        Some(Self {
            drawn: 0,
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            _cursor: cleanup::register(|| eprint!("\x1b[0m\x1b[?25h")),
        })
    }

    /// Columns and rows: COLUMNS and LINES if they are set, the terminal's own otherwise.
    pub(crate) fn size() -> (usize, usize) {
        let asked = |name: &str| -> Option<usize> { std::env::var(name).ok()?.parse().ok() };
        let own = rustix::termios::tcgetwinsize(stderr()).ok();
        let own = own.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (columns, rows) = own.map_or((80, 24), |size| (size.ws_col, size.ws_row));
        (
            asked("COLUMNS").unwrap_or_else(|| columns.into()).max(40),
            asked("LINES").unwrap_or_else(|| rows.into()).max(16),
        )
    }

    /// Draws these lines where the last ones were.
    pub(crate) fn draw(&mut self, lines: &[Line], columns: usize) {
        // In one write, between begin and end of a synchronized update: no flicker.
        let mut out = String::from("\x1b[?2026h\r");
        if self.drawn > 0 {
            // Writing to a string cannot fail.
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            out += &line.render(columns, self.colour);
            out += "\x1b[K\r\n";
        }
        out += "\x1b[J\x1b[?2026l";
        self.drawn = lines.len();
        let mut stderr = stderr().lock();
        // A terminal that is gone is no reason to stop measuring.
        stderr.write_all(out.as_bytes()).ok();
        stderr.flush().ok();
    }
}
