//! What can be wrong with a journal, each with what an operator can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// The way on without a journal.
macro_rules! without {
    () => {
        "put a good copy back; or move the state directory away: bgd then starts with what the kernel holds, \
         without history, and after a reboot from the configuration"
    };
}

/// A failure of the journal. None of them touches traffic.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses this user.
    #[error(
        "{act} {}: {source}\n  help: the journal must be writable for bgd: mend the owner and mode, or name another `state_dir` under [node]",
        path.display()
    )]
    Rights {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room.
    #[error(
        "{act} {}: {source}; what was there before is untouched\n  help: make room on that file system, and ask again",
        path.display()
    )]
    Full {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another failure of the file system.
    #[error("{act} {}: {source}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent holds the directory.
    #[error(
        "another bgd writes its journal in {}\n  help: stop that one first, or give this one another `state_dir`",
        .0.display()
    )]
    Locked(PathBuf),
    /// The file ends too early.
    #[error(
        "{} is truncated: {what}; it is left as it is, and traffic goes on\n  help: {help}",
        path.display(), help = without!()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The bytes are not those that were written.
    #[error(
        "{} is damaged: {what}; it is left as it is, and traffic goes on\n  help: {help}",
        path.display(), help = without!()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// Something else lies there.
    #[error(
        "{} is no journal of bluegreen; it is left as it is, and traffic goes on\n  help: {help}",
        .0.display(), help = without!()
    )]
    Foreign(PathBuf),
    /// A later bgd wrote it.
    #[error(
        "{} has version {found}, and this bgd reads version {known}; it is left as it is, and traffic goes on\n  help: start the newer bgd that wrote it; or {help}",
        path.display(), help = without!()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// A ring that the journal names is not there.
    #[error(
        "{} is missing, a ring that the journal names; traffic goes on\n  help: {help}",
        .0.display(), help = without!()
    )]
    RingMissing(PathBuf),
}

impl Error {
    /// Sorts a failure of the file system by what can be done about it.
    pub(super) fn file(act: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            PermissionDenied | ReadOnlyFilesystem => Self::Rights { act, path, source },
            StorageFull | QuotaExceeded => Self::Full { act, path, source },
            _ => Self::File { act, path, source },
        }
    }
}
