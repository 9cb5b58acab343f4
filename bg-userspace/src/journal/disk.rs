//! Replacing a file as a whole, so that whoever is killed at any point leaves the old one or the new one: a
//! temporary file beside it, fsync, rename, fsync of the directory.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::Error;
use crate::boundary;

/// What a temporary file's name ends with. One writer, so one is enough for each file.
const TEMPORARY: &str = ".new";
/// It holds the hash key.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The names of the boundaries of one replacement.
pub(super) struct Boundaries {
    pub(super) created: &'static str,
    pub(super) written: &'static str,
    pub(super) synced: &'static str,
    pub(super) renamed: &'static str,
    pub(super) durable: &'static str,
}

/// A directory that files are replaced in.
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
}

impl Directory {
    /// Opens it; makes it, durably, if it is not there. One that is there keeps its mode: it may be shared.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        make(path)?;
        let handle = File::open(path).map_err(|error| Error::file("opening", path, error))?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// Takes hold of it, until it is dropped.
    pub(super) fn lock(&self) -> Result<(), Error> {
        flock(&self.handle, FlockOperation::NonBlockingLockExclusive).map_err(|errno| {
            if errno == rustix::io::Errno::WOULDBLOCK {
                Error::Locked(self.path.clone())
            } else {
                Error::file("locking", &self.path, errno.into())
            }
        })
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names in it.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let fail = |error| Error::file("listing", &self.path, error);
        let entries = fs::read_dir(&self.path).map_err(fail)?;
        entries.map(|entry| Ok(entry.map_err(fail)?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Removes the temporary files of a killed agent that are for a file whose name is `ours`.
    pub(super) fn tidy(&self, ours: impl Fn(&str) -> bool) -> Result<(), Error> {
        for name in self.names()? {
            if name.strip_suffix(TEMPORARY).is_some_and(&ours) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.join(name);
        fs::remove_file(&path).map_err(|error| Error::file("removing", &path, error))
    }

    /// Reads a file; `None` if it is not there.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("reading", &path, error)),
        }
    }

    /// Makes `bytes` the content of `name`. When it returns, that survives a loss of power; when it fails, the
    /// old content is there, or the new one is and may not survive.
    pub(super) fn replace(&self, name: &str, bytes: &[u8], passes: &Boundaries) -> Result<(), Error> {
        let (path, temporary) = (self.join(name), self.join(&format!("{name}{TEMPORARY}")));
        let written = write(&temporary, bytes, passes);
        if written.is_err() {
            // It takes up room, which may be what is missing. If it stays, the next replacement empties it.
            drop(fs::remove_file(&temporary));
        }
        written?;
        fs::rename(&temporary, &path).map_err(|error| Error::file("renaming", &temporary, error))?;
        boundary::pass(passes.renamed);
        sync(&self.path, &self.handle)?;
        boundary::pass(passes.durable);
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], passes: &Boundaries) -> Result<(), Error> {
    let fail = |act| move |error| Error::file(act, path, error);
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    // A link that somebody laid there is not followed.
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let mut file = options.open(path).map_err(fail("making"))?;
    // One that was left there may have another mode.
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(fail("protecting"))?;
    boundary::pass(passes.created);
    file.write_all(bytes).map_err(fail("writing"))?;
    boundary::pass(passes.written);
    sync(path, &file)?;
    boundary::pass(passes.synced);
    Ok(())
}

fn sync(path: &Path, file: &File) -> Result<(), Error> {
    file.sync_all().map_err(|error| Error::file("making durable", path, error))
}

/// Makes a directory and those above it. Each is durable before the next.
fn make(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    make(parent)?;
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::file("making directory", path, error));
        }
        _ => {}
    }
    let handle = File::open(parent).map_err(|error| Error::file("opening", parent, error))?;
    sync(parent, &handle)
}
