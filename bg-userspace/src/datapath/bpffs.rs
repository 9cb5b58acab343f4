//! The pin directory: that it lies on the host's bpffs, that one agent holds it, what is pinned in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bg_common::abi::ABI_VERSION;
use rustix::fs::{FlockOperation, flock, statfs};

use super::{Error, mounts};

/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// Pinned links begin with this; the interface's name follows.
const LINK: &str = "link-";

/// The directory with the pins of this layout, held against other agents while it lives.
pub(super) struct PinDirectory {
    path: PathBuf,
    _lock: File,
}

impl PinDirectory {
    /// Makes the directory if need be, and takes hold of it.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let existing = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let on_bpffs = statfs(existing)
            .map_err(|e| Error::File { act: "looking at", path: existing.into(), source: e.into() })?
            .f_type as i64
            == BPF_FS_MAGIC;
        if !on_bpffs {
            if let Some(hidden) = mounts::hidden(root) {
                return Err(Error::HiddenBpffs { directory: root.into(), hidden });
            }
            let mount = if existing.starts_with("/sys/fs/bpf") { Path::new("/sys/fs/bpf") } else { existing };
            return Err(Error::NoBpffs { directory: root.into(), mount: mount.into() });
        }
        mounts::require_hosts(existing)?;
        let path = root.join(format!("v{ABI_VERSION}"));
        fs::create_dir_all(&path).map_err(|source| Error::File {
            act: "making directory",
            path: path.clone(),
            source,
        })?;
        let lock = File::open(&path).map_err(|source| Error::File {
            act: "opening directory",
            path: path.clone(),
            source,
        })?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| {
            if e == rustix::io::Errno::WOULDBLOCK {
                Error::Locked(path.clone())
            } else {
                Error::File { act: "locking directory", path: path.clone(), source: e.into() }
            }
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Where the pins are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the link of an interface is pinned. A dot would be refused by the file system.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.path.join(format!("{LINK}{}", interface.replace('.', "%")))
    }

    /// The interfaces whose links are pinned.
    pub(super) fn links(&self) -> Result<Vec<String>, Error> {
        let names = self.names()?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_prefix(LINK))
            .map(|name| name.replace('%', "."))
            .collect())
    }

    /// The paths of the pins whose names begin so.
    pub(super) fn pinned(&self, begin: &str) -> Result<Vec<PathBuf>, Error> {
        let names = self.names()?;
        Ok(names.iter().filter(|name| name.starts_with(begin)).map(|name| self.path.join(name)).collect())
    }

    /// Removes everything that is pinned here.
    pub(super) fn clear(&self) -> Result<(), Error> {
        for name in self.names()? {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|source| Error::File { act: "removing pin", path, source })?;
        }
        Ok(())
    }

    /// Removes everything that is pinned here, and the directories that are empty then.
    pub(super) fn remove(self) -> Result<(), Error> {
        self.clear()?;
        let remove = |path: &Path| {
            fs::remove_dir(path).map_err(|source| Error::File {
                act: "removing directory",
                path: path.into(),
                source,
            })
        };
        remove(&self.path)?;
        match self.path.parent() {
            // Another layout may live beside this one, and the root of the file system stays.
            Some(root) if fs::read_dir(root).is_ok_and(|mut left| left.next().is_none()) => {
                match remove(root) {
                    Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::ResourceBusy => {
                        Ok(())
                    }
                    done => done,
                }
            }
            _ => Ok(()),
        }
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let fail = |source| Error::File { act: "listing", path: self.path.clone(), source };
        fs::read_dir(&self.path)
            .map_err(fail)?
            .map(|entry| Ok(entry.map_err(fail)?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}
