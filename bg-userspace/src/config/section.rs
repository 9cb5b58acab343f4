//! A TOML tree with places: tables that know which of their keys were asked for, so that what
//! nobody asked for is reported, and values that know their line. Mistakes are collected, never
//! returned: the reader goes on and finds the next one.

use std::{cell::RefCell, collections::BTreeMap};

use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// The lines of a text, and what was found wrong in it.
pub(super) struct Notes {
    starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl Notes {
    pub(super) fn new(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { starts, problems: RefCell::default() }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset) + 1
    }

    pub(super) fn problem(&self, line: usize, what: impl Into<String>, help: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { line, what: what.into(), help: help.into() });
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// What is wrong with a value, apart from where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) help: String,
}

impl Complaint {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

/// A value with its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// A table.
pub(super) struct Section<'a> {
    notes: &'a Notes,
    path: String,
    line: usize,
    entries: BTreeMap<&'a str, Entry<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn root(notes: &'a Notes, table: &'a DeTable<'a>) -> Self {
        Self::new(notes, String::new(), 1, table)
    }

    fn new(notes: &'a Notes, path: String, line: usize, table: &'a DeTable<'a>) -> Self {
        let entries = table.iter().map(|(key, value)| {
            let name: &str = key.get_ref();
            let path = join(&path, name);
            let line = notes.line(key.span().start);
            let value = value.get_ref();
            (name, Entry { notes, path, line, value })
        });
        let entries = entries.collect();
        Self { notes, path, line, entries, asked: Vec::new() }
    }

    /// Where it begins.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// Its full name.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn problem(&self, line: usize, what: impl Into<String>, help: impl Into<String>) {
        self.notes.problem(line, what, help);
    }

    /// The value of a key, which is a valid key from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.asked.push(key);
        self.entries.remove(key)
    }

    /// As [`take`](Self::take), and its absence is a problem.
    pub(super) fn require(&mut self, key: &'static str, help: &str) -> Option<Entry<'a>> {
        let entry = self.take(key);
        if entry.is_none() {
            let path = join(&self.path, key);
            self.problem(self.line, format!("`{path}` is missing"), help);
        }
        entry
    }

    /// The table of a key; an empty one if it is absent or no table.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let found = self.take(key).and_then(|entry| entry.section());
        found.unwrap_or_else(|| Self {
            notes: self.notes,
            path: join(&self.path, key),
            line: self.line,
            entries: BTreeMap::new(),
            asked: Vec::new(),
        })
    }

    /// Every key and its table, where the keys are names that the operator chooses.
    pub(super) fn named_sections(self) -> Vec<(&'a str, Self)> {
        let entries = self.entries.into_iter();
        entries.filter_map(|(name, entry)| Some((name, entry.section()?))).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let place = match self.path.as_str() {
            "" => "at the top of the file".to_owned(),
            path => format!("in [{path}]"),
        };
        for (key, entry) in &self.entries {
            let what = format!("unknown key `{key}` {place}");
            self.problem(entry.line, what, suggest(key, &self.asked, "`"));
        }
    }
}

/// A value of a table.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    notes: &'a Notes,
    path: String,
    line: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Entry<'a> {
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    pub(super) const fn value(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// The value as `read` understands it; what it complains about becomes a problem.
    pub(super) fn read<T>(&self, read: impl FnOnce(&DeValue<'_>) -> Result<T, Complaint>) -> Option<At<T>> {
        match read(self.value) {
            Ok(value) => Some(At { line: self.line, value }),
            Err(Complaint { what, help }) => {
                self.complain(&what, help);
                None
            }
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self, help: &str) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else {
            self.complain(&format!("must be a list, not {}", kind(self.value)), help);
            return None;
        };
        let elements = array.iter().enumerate().map(|(index, element)| Self {
            notes: self.notes,
            path: format!("{}[{index}]", self.path),
            line: self.notes.line(element.span().start),
            value: element.get_ref(),
        });
        Some(elements.collect())
    }

    pub(super) fn complain(&self, what: &str, help: impl Into<String>) {
        self.notes.problem(self.line, format!("`{}` {what}", self.path), help);
    }

    /// The table that it is.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        if let DeValue::Table(table) = self.value {
            return Some(Section::new(self.notes, self.path.clone(), self.line, table));
        }
        let help = format!("write it as a section, [{}]", self.path);
        self.complain(&format!("must be a section, not {}", kind(self.value)), help);
        None
    }
}

/// What a value is, for messages.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// Names the nearest of the valid words; all of them where none is near.
pub(super) fn suggest(word: &str, valid: &[&str], quote: &str) -> String {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let distance = |known: &&&str| strsim::damerau_levenshtein(&plain(word), &plain(known));
    match valid.iter().min_by_key(distance) {
        Some(near) if distance(&near) <= 2.max(near.len() / 3) => {
            format!("did you mean {quote}{near}{quote}?")
        }
        _ => {
            let quoted = valid.iter().map(|known| format!("{quote}{known}{quote}"));
            format!("valid here: {}", quoted.collect::<Vec<_>>().join(", "))
        }
    }
}

fn join(path: &str, key: &str) -> String {
    // A key with a dot or a space in it can only be written in quotes; so it is shown.
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key = if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
