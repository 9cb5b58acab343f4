//! Everything that is printed goes through here: answers to stdout, failures and progress to
//! stderr. A reader that has gone away ends no command with a panic: `bgctl status | head -1` is
//! fine, and a flip whose output nobody reads is still a flip.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{
    args::Format,
    exit::{Exit, Failure},
    text::Paint,
};

/// Where and how to print.
pub(super) struct Output {
    format: Format,
    paint: Paint,
    progress: bool,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        // See no-color.org: any value but the empty one asks for none.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = !unwanted && !dumb && io::stdout().is_terminal();
        Self { format, paint: Paint::new(colour), progress: !dumb && io::stderr().is_terminal() }
    }

    /// For text that will be an answer.
    pub(super) const fn paint(&self) -> Paint {
        self.paint
    }

    /// Prints the answer, as JSON or as `text` has it.
    pub(super) fn answer(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => text(),
            Format::Json => serde_json::to_string_pretty(value)
                .map_err(|error| Failure::local(&format!("the answer is no JSON: {error}")))?,
        };
        print(io::stdout().lock(), &text)
            .map_err(|error| Failure::local(&format!("cannot write the answer: {error}")))
    }

    /// Prints a failure, and says which exit code it has.
    pub(super) fn failure(&self, failure: &Failure) -> Exit {
        let printed = match self.format {
            Format::Json => {
                let body = serde_json::json!({ "error": failure.json });
                print(io::stdout().lock(), &format!("{body:#}"))
            }
            Format::Table => {
                let next = failure.next.as_ref().map(|next| format!("\n  next: {next}"));
                let text = format!("bgctl: {}{}", failure.message, next.unwrap_or_default());
                print(io::stderr().lock(), &text)
            }
        };
        // Nobody is left to be told; the exit code still says it.
        drop(printed);
        failure.exit
    }

    /// Replaces the line that shows how far a wait has come, on a terminal.
    pub(super) fn progress(&self, text: &str) {
        if self.progress {
            // One line, never wrapped: otherwise it could not be replaced.
            let line: String = text.chars().take(usize::from(terminal_width()) - 1).collect();
            to_terminal(&format!("\r\x1b[2K{line}"));
        }
    }

    /// Removes that line.
    pub(super) fn progress_end(&self) {
        if self.progress {
            to_terminal("\r\x1b[2K");
        }
    }
}

fn to_terminal(text: &str) {
    let mut stderr = io::stderr().lock();
    let shown = stderr.write_all(text.as_bytes());
    // Progress that cannot be shown is no failure.
    drop(shown.and_then(|()| stderr.flush()));
}

fn terminal_width() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(80, |size| size.ws_col).max(20)
}

fn print(mut stream: impl io::Write, text: &str) -> io::Result<()> {
    let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(io::ErrorKind);

    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn reader_that_went_away_is_no_failure() {
        print(Gone(io::ErrorKind::BrokenPipe), "text").unwrap();
    }

    #[test]
    fn full_disk_is_a_failure() {
        print(Gone(io::ErrorKind::StorageFull), "text").unwrap_err();
    }
}
