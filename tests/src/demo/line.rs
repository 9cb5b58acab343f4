//! A line of text with colours that knows how wide it looks.

/// The ink of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Dim,
    Bold,
    Blue,
    Green,
    /// Blue below, green above.
    BlueOnGreen,
    Red,
    Mark,
}

impl Ink {
    /// The escape sequence that selects it.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "\x1b[0m",
            Self::Dim => "\x1b[0;2m",
            Self::Bold => "\x1b[0;1m",
            Self::Blue => "\x1b[0;38;5;33m",
            Self::Green => "\x1b[0;38;5;35m",
            Self::BlueOnGreen => "\x1b[0;38;5;33;48;5;35m",
            Self::Red => "\x1b[0;1;38;5;160m",
            Self::Mark => "\x1b[0;7m",
        }
    }
}

/// A line under construction, as wide as it looks.
pub(crate) struct Line {
    pub(crate) cells: Vec<(char, Ink)>,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { cells: Vec::new() }
    }

    pub(crate) fn put(mut self, text: &str, ink: Ink) -> Self {
        self.cells.extend(text.chars().map(|one| (one, ink)));
        self
    }

    /// The text, cut to `width`, with escape sequences if `colour`.
    pub(crate) fn render(&self, width: usize, colour: bool) -> String {
        let mut out = String::new();
        let mut last = Ink::Plain;
        for &(character, ink) in self.cells.iter().take(width) {
            if colour && ink != last {
                out.push_str(ink.code());
                last = ink;
            }
            // Without colour the two environments differ by their texture.
            let plain = match (character, ink) {
                ('█', Ink::Green) if !colour => '░',
                _ => character,
            };
            out.push(plain);
        }
        if colour && last != Ink::Plain {
            out.push_str(Ink::Plain.code());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        let long = Line::new().put(&"x".repeat(50), Ink::Bold);
        assert_eq!(long.render(3, true), "\x1b[0;1mxxx\x1b[0m");
        assert_eq!(long.render(3, false), "xxx");
    }
}
