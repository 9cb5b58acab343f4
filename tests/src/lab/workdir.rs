//! The directory of one run: configuration, sockets, logs, and a bpffs of its own, so that nothing
//! is ever pinned where a real agent of this machine would look.

use super::cleanup::{self, Ticket};
use super::namespace::maker_is_dead;
use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const PREFIX: &str = "bluegreen-";
const BPFFS: &str = "bpf";

/// A temporary directory with a bpffs in it. Dropping it removes both.
pub struct Workdir {
    path: PathBuf,
    _ticket: Ticket,
}

impl Workdir {
    /// Makes `bluegreen-<pid>-<random>` in the directory for temporary files.
    pub fn create() -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir()
            .context("make a temporary directory")?;
        let path = made.keep();
        let doomed = path.clone();
        let ticket = cleanup::register(move || {
            if let Err(error) = remove(&doomed) {
                eprintln!("cannot remove {}: {error:#}", doomed.display());
            }
        });
        // The agent is also started without privileges, and must then be able to read its file.
        fs::set_permissions(&path, Permissions::from_mode(0o755))
            .with_context(|| format!("open {} to others", path.display()))?;
        let bpffs = path.join(BPFFS);
        fs::create_dir(&bpffs).with_context(|| format!("make {}", bpffs.display()))?;
        mount("bpf", &bpffs, "bpf", MountFlags::empty(), None)
            .with_context(|| format!("mount a bpffs on {}; are you root?", bpffs.display()))?;
        Ok(Self { path, _ticket: ticket })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or directory in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The mounted bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.path.join(BPFFS)
    }

    /// Writes a file in it and returns the path.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Opens a log file in it as a child's standard output or error; it is appended to.
    pub fn log(&self, name: &str) -> Result<Stdio> {
        let path = self.join(name);
        let file = File::options().create(true).append(true).open(&path);
        Ok(file.with_context(|| format!("open {}", path.display()))?.into())
    }
}

/// Unmounts and removes. Nothing is removed while something is still mounted in it.
fn remove(path: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("list what is mounted")?;
    // Newest first: one may lie in another.
    for mounted in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(mounted).starts_with(path) {
            unmount(mounted, UnmountFlags::DETACH).with_context(|| format!("unmount {mounted}"))?;
        }
    }
    fs::remove_dir_all(path).context("remove the directory")
}

/// Removes the directories that killed runs left behind, and no others.
pub(super) fn reap() -> Result<()> {
    let temporary = std::env::temp_dir();
    let entries = fs::read_dir(&temporary).with_context(|| format!("list {}", temporary.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if ours.is_some_and(maker_is_dead) {
            remove(&entry.path()).with_context(|| format!("clear {}", entry.path().display()))?;
        }
    }
    Ok(())
}
