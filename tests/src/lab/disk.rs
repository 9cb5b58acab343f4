//! A disk of a few pages: a tmpfs that is easily filled, and can be made read-only.

use super::cleanup::{self, Ticket};
use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What takes up the room.
const BALLAST: &str = "ballast";

/// A mounted tmpfs. Dropping it unmounts it; the directory under it stays.
pub struct Disk {
    path: PathBuf,
    _ticket: Ticket,
}

impl Disk {
    /// Mounts one of so many KiB on `path`, which is made if need be.
    pub fn mount(path: &Path, kib: u32) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let options = std::ffi::CString::new(format!("size={kib}k,mode=0700")).context("mount options")?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), options.as_c_str())
            .with_context(|| format!("mount a tmpfs on {}; are you root?", path.display()))?;
        let mounted = path.to_owned();
        let ticket = cleanup::register(move || {
            if let Err(error) = unmount(&mounted, UnmountFlags::DETACH) {
                eprintln!("cannot unmount {}: {error}", mounted.display());
            }
        });
        Ok(Self { path: path.to_owned(), _ticket: ticket })
    }

    /// Takes up all the room that is left.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.path.join(BALLAST)).context("make the ballast")?;
        let block = [0; 4096];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
    }

    /// Gives the room back.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.path.join(BALLAST)).context("remove the ballast")
    }

    /// Makes it read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) -> Result<()> {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.path, flags, "").with_context(|| format!("remount {}", self.path.display()))
    }
}
