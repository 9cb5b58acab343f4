//! What is wrong with a configuration file: every problem with its line, and what would mend it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a file yields no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("{}: cannot be read: {source}\n  help: {}", file.display(), read_help(source))]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read, and something in it is wrong.
    #[error("{}", Listing { file, problems })]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, by line; at least one.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, with what.
    pub what: String,
    /// What would mend it.
    pub help: String,
}

impl Error {
    pub(super) fn invalid(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self::Invalid { file: file.to_owned(), problems }
    }

    /// What is wrong inside the file; empty if it could not even be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }
}

struct Listing<'a> {
    file: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, Problem { line, what, help }) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{file}:{line}: {what}\n  help: {help}")?;
        }
        Ok(())
    }
}

fn read_help(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "give the path of the file, or write one from the example",
        io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
        io::ErrorKind::InvalidData => "the file must be UTF-8 text",
        _ => "give the path of a TOML file",
    }
}
