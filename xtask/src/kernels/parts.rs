//! What the virtual machines are made of: an emulator, a shell, and kernels. They are packages that are unpacked in
//! the target folder and not installed, so that they change nothing on this machine and get in nobody's way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::machine::find_program;

/// A part, and the packages that it is in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name, and that of its folder.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) why: &'static str,
    /// How to come by it.
    pub(crate) source: Source,
    /// Where in its folder one sees that it is there; a star stands for the rest of a name.
    witness: &'static str,
}

/// Packages that are unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This one, with the libraries that it needs and this machine lacks.
    WithLibraries(&'static str),
    /// The newest whose name begins and ends so, with a number and what belongs to it between; and of its files only
    /// those whose names begin so.
    Newest(&'static str, &'static str, &'static [&'static str]),
}

/// The machine.
pub(crate) const EMULATOR: Part = Part {
    name: "qemu",
    why: "emulates the machines in which other kernels run",
    source: Source::WithLibraries("qemu-system-x86"),
    witness: "usr/bin/qemu-system-x86_64",
};

/// What runs first in it.
pub(crate) const SHELL: Part = Part {
    name: "busybox",
    why: "the shell in those machines",
    source: Source::WithLibraries("busybox-static"),
    witness: "bin/busybox",
};

/// The kernels, by the name that people give them.
pub(crate) const KERNELS: [Part; 2] =
    [kernel("6.1", "linux-image-6.1."), kernel("6.12", "linux-image-6.12.")];

/// All of the above.
pub(crate) fn all() -> impl Iterator<Item = &'static Part> {
    [&EMULATOR, &SHELL].into_iter().chain(&KERNELS)
}

const fn kernel(name: &'static str, begin: &'static str) -> Part {
    Part {
        name,
        why: "a kernel of Debian's",
        source: Source::Newest(begin, "-cloud-amd64", &["vmlinuz-", "veth.ko"]),
        witness: "boot/vmlinuz-*",
    }
}

/// The folder with the unpacked parts, in the target folder.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Where it is; it need not be there.
    pub(crate) fn find() -> Result<Self> {
        let own = env::current_exe().context("find the running program")?;
        let target = own.ancestors().nth(2).context("the running program lies nowhere")?;
        Ok(Self { folder: target.join("kernels") })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Where a part is unpacked.
    pub(crate) fn folder(&self, part: &Part) -> PathBuf {
        self.folder.join(part.name)
    }

    /// The file by which one sees that a part is there.
    pub(crate) fn witness(&self, part: &Part) -> Option<PathBuf> {
        let Some(begin) = part.witness.strip_suffix('*') else {
            let name = Path::new(part.witness).file_name()?.to_str()?;
            return Some(self.folder(part).join(part.witness))
                .filter(|path| path.exists())
                .or_else(|| find_program(name));
        };
        let begin = self.folder(part).join(begin);
        let wanted = begin.file_name()?.to_str()?;
        let entries = fs::read_dir(begin.parent()?).ok()?.filter_map(Result::ok);
        entries.map(|entry| entry.path()).find(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(wanted))
        })
    }
}
