//! The picture: answers per second of blue and green over time, stacked, with the switches marked.
//! Lines of text in, lines of text out; nothing here knows a terminal.

use super::events::{Event, Kind, seconds};
use super::history::{BUCKET_MS, History, Rates};
use super::line::{Ink, Line};
use std::fmt::Write;

/// Columns to the left of the picture, for the scale.
const MARGIN: usize = 8;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What part of the story to draw, and how large.
pub(super) struct Frame<'a> {
    pub(super) history: &'a History,
    pub(super) events: &'a [Event],
    /// Left edge, nanoseconds since 1970.
    pub(super) from_ns: u64,
    /// What has happened so far.
    pub(super) now_ns: u64,
    /// How long the whole is expected to be, seconds.
    pub(super) expected_s: f64,
    pub(super) columns: usize,
    pub(super) height: usize,
    pub(super) colour: bool,
}

impl Frame<'_> {
    /// The chart with its axes, top line first.
    pub(super) fn chart(&self) -> Vec<Line> {
        let columns = self.rates();
        let highest = columns.iter().map(|rates| rates.sum()).fold(1.0, f64::max);
        let top = round_up(highest);
        let marks = self.marks();
        let mut lines = Vec::new();
        for row in (0..self.height).rev() {
            let label = if row + 1 == self.height {
                format!("{top:>6.0} ┤")
            } else if (row + 1) * 2 == self.height {
                format!("{:>6.0} ┤", top / 2.0)
            } else {
                "       │".to_owned()
            };
            let mut line = Line::new().put(&label, Ink::Dim);
            for (column, rates) in columns.iter().enumerate() {
                let (mut text, mut ink) = self.cell(*rates, row, top);
                if text == ' ' && marks.iter().any(|(at, _)| *at == column) {
                    (text, ink) = ('┊', Ink::Dim);
                }
                line.cells.push((text, ink));
            }
            lines.push(line);
        }
        lines.push(self.axis(&marks));
        lines.push(self.clock());
        lines
    }

    /// One cell: how much of it blue fills, and green above.
    fn cell(&self, rates: Rates, row: usize, top: f64) -> (char, Ink) {
        let eighths = |rate: f64| -> usize {
            #[expect(clippy::cast_precision_loss, reason = "the height of a terminal")]
            let scaled = (rate / top * (self.height * 8) as f64).round();
            #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
            let scaled = scaled as usize;
            scaled
        };
        let blue = eighths(rates.blue).saturating_sub(row * 8).min(8);
        let all = eighths(rates.sum()).saturating_sub(row * 8).min(8);
        match (blue, all) {
            (8, _) => ('█', Ink::Blue),
            (0, all) => (EIGHTHS[all], Ink::Green),
            (blue, 8) if self.colour => (EIGHTHS[blue], Ink::BlueOnGreen),
            (blue, all) if blue * 2 >= all => (EIGHTHS[all], Ink::Blue),
            (_, all) => (EIGHTHS[all], Ink::Green),
        }
    }

    fn axis(&self, marks: &[(usize, usize)]) -> Line {
        let mut line = Line::new().put("     0 ┼", Ink::Dim);
        let mut column = 0;
        while column < self.width() {
            let mark = marks.iter().find(|(at, _)| *at == column);
            let (text, ink) = match mark {
                Some((_, number)) => (number.to_string(), Ink::Mark),
                None => ("─".to_owned(), Ink::Dim),
            };
            column += text.chars().count();
            line = line.put(&text, ink);
        }
        line
    }

    fn clock(&self) -> Line {
        let mut text = " ".repeat(MARGIN);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a minute")]
        let per_second = 1000.0 / self.column_ms() as f64;
        for second in (0..).step_by(10) {
            #[expect(clippy::cast_sign_loss, reason = "both factors are positive")]
            let at = MARGIN + (f64::from(second) * per_second) as usize;
            if at + 5 > self.columns {
                break;
            }
            let width = text.chars().count();
            if at >= width {
                text.extend(std::iter::repeat_n(' ', at - width));
                // Writing to a string cannot fail.
                let _ = write!(text, "{second} s");
            }
        }
        Line::new().put(&text, Ink::Dim)
    }

    /// The events that are marked in the picture: column and number, from 1.
    fn marks(&self) -> Vec<(usize, usize)> {
        let marked = numbered(self.events, self.from_ns);
        let place = |event: &Event| {
            let ms = (event.at_ns - self.from_ns) / 1_000_000;
            usize::try_from(ms / self.column_ms()).unwrap_or(usize::MAX)
        };
        marked.filter_map(|(number, event)| Some((place(event), number?))).collect()
    }

    fn rates(&self) -> Vec<Rates> {
        let from_ms = self.from_ns / 1_000_000;
        // Servers write their logs five times a second: the last moments are not known yet.
        let known_ms = (self.now_ns / 1_000_000).saturating_sub(400);
        let step = self.column_ms();
        let columns = (0..self.width() as u64)
            .map(|column| from_ms + column * step)
            .take_while(|start| start + step <= known_ms);
        columns.map(|start| self.history.rates(start, start + step)).collect()
    }

    fn width(&self) -> usize {
        self.columns.saturating_sub(MARGIN + 1).max(10)
    }

    /// How much time one column shows, whole buckets.
    fn column_ms(&self) -> u64 {
        let elapsed = seconds(self.now_ns.saturating_sub(self.from_ns));
        #[expect(clippy::cast_precision_loss, reason = "the width of a terminal")]
        let buckets = self.expected_s.max(elapsed) * 1000.0 / BUCKET_MS as f64 / self.width() as f64;
        #[expect(clippy::cast_sign_loss, reason = "not negative")]
        let buckets = buckets.ceil().max(1.0) as u64;
        buckets * BUCKET_MS
    }
}

/// Events since a moment; those that the picture marks are numbered, from 1.
pub(super) fn numbered(events: &[Event], from_ns: u64) -> impl Iterator<Item = (Option<usize>, &Event)> {
    let mut number = 0;
    let since = events.iter().filter(move |event| event.at_ns >= from_ns);
    since.map(move |event| {
        let marked = event.kind != Kind::Note;
        number += usize::from(marked);
        (marked.then_some(number), event)
    })
}

/// The next number of the form 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let found = steps.iter().find(|step| *step * power >= value);
    found.unwrap_or(&10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Environment;

    fn frame<'a>(history: &'a History, events: &'a [Event], colour: bool) -> Frame<'a> {
        Frame {
            history,
            events,
            from_ns: 0,
            now_ns: 10_000_000_000,
            expected_s: 10.0,
            columns: MARGIN + 1 + 20,
            height: 4,
            colour,
        }
    }

    #[test]
    fn blue_gives_way_to_green_at_the_mark() {
        let mut history = History::default();
        for bucket in 0..100 {
            let environment = if bucket < 50 { Environment::Blue } else { Environment::Green };
            history.add(environment, bucket * BUCKET_MS, 100);
        }
        let flip = Event { at_ns: 5_000_000_000, kind: Kind::Switch, text: String::new() };
        let lines = frame(&history, std::slice::from_ref(&flip), false).chart();
        let drawn: Vec<String> = lines.iter().map(|line| line.render(29, false)).collect();
        assert_eq!(drawn[0], "  1000 ┤██████████░░░░░░░░░");
        assert_eq!(drawn[4], "     0 ┼──────────1─────────");
        assert_eq!(drawn[5], "        0 s");
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        let history = History::default();
        for line in frame(&history, &[], false).chart() {
            assert!(line.render(29, false).chars().count() <= 29);
        }
    }

    #[test]
    fn scales_end_in_round_numbers() {
        for (value, top) in [(0.0, 1.0), (999.0, 1000.0), (1001.0, 1500.0), (4200.0, 5000.0)] {
            assert!((round_up(value) - top).abs() < 1e-9, "{value}");
        }
    }
}
