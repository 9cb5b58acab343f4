//! What this machine has and lacks: looked up once, and then decided upon without looking again.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kernels::parts::{self, Cache, Part};
use crate::packages;
use crate::run::answer;
use crate::toolchain::{self, Compiler, Linker};

/// Everything that the decision what to install depends on.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked for by name")]
pub(crate) struct Machine {
    /// Run by root.
    pub(crate) root: bool,
    /// The name of the distribution, for people.
    pub(crate) distribution: String,
    /// Debian, Ubuntu, or a child of theirs.
    pub(crate) debian: bool,
    /// The kernel describes its types (BTF), which loading the program needs.
    pub(crate) btf: bool,
    /// Namespaces can be made here, and a bpffs can be mounted in them.
    pub(crate) sandbox: bool,
    /// rustup is there.
    pub(crate) rustup: bool,
    /// The distribution's own package of rustup is there, beside which [`packages::COMPILER`] cannot be.
    pub(crate) rustup_package: bool,
    /// Components that the default toolchain lacks.
    pub(crate) components: Vec<&'static str>,
    /// Packages whose witness is there, by name.
    pub(crate) present: BTreeSet<&'static str>,
    /// Parts of virtual machines that are there, by name.
    pub(crate) parts: BTreeSet<&'static str>,
    /// The toolchain that rustup knows under [`toolchain::NAME`].
    pub(crate) linked: Option<Compiler>,
    /// Nightly toolchains that rustup has.
    pub(crate) nightlies: Vec<Compiler>,
    /// The distribution's compiler.
    pub(crate) system: Option<Compiler>,
    /// The newest bpf-linker; our builds are made to find it.
    pub(crate) linker: Option<Linker>,
    /// Packages that apt can install, of those we know; absent before apt was asked.
    pub(crate) on_offer: Option<BTreeSet<&'static str>>,
}

impl Machine {
    /// Look at this machine. Takes a few hundredths of a second, and changes nothing.
    pub(crate) fn probe() -> Self {
        let (distribution, debian) =
            read_os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default());
        let toolchains = toolchain::rustup_home().join("toolchains");
        Self {
            root: rustix::process::geteuid().is_root(),
            distribution,
            debian,
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            sandbox: can_sandbox(),
            rustup: find_program("rustup").is_some(),
            rustup_package: Path::new("/var/lib/dpkg/info/rustup.list").exists(),
            components: toolchain::missing_components(),
            present: packages::all().filter(|p| p.is_here()).map(|p| p.name).collect(),
            parts: parts_here(),
            linked: Compiler::at(&toolchains.join(toolchain::NAME)),
            nightlies: toolchain::nightlies(&toolchains),
            system: Compiler::at(Path::new("/usr")),
            linker: Linker::find(),
            on_offer: None,
        }
    }
}

/// Where a program is: on the PATH, or in a folder that root has there and others may not.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    find_programs(name).into_iter().next()
}

/// Every place where a program is, in the order in which the PATH is searched.
pub(crate) fn find_programs(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .filter(|file| file.is_file())
        .collect()
}

fn parts_here() -> BTreeSet<&'static str> {
    let cache = Cache::find().ok();
    let here = |part: &&Part| cache.as_ref().is_some_and(|cache| cache.witness(part).is_some());
    parts::all().filter(here).map(|part| part.name).collect()
}

/// The name of the distribution, and whether it is of Debian's family.
fn read_os_release(text: &str) -> (String, bool) {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value.trim().trim_matches('"'))
    };
    let name = [value("PRETTY_NAME"), value("NAME"), "an unknown system"]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default();
    let family = value("ID_LIKE").split(' ').chain([value("ID")]);
    (name.to_owned(), family.into_iter().any(|id| id == "debian" || id == "ubuntu"))
}

/// Tries what the tests do, in namespaces that are gone when the program ends.
fn can_sandbox() -> bool {
    let mut attempt = Command::new("unshare");
    attempt.args(["--mount", "--net", "mount", "-t", "bpf", "bpf", "/sys/fs"]);
    answer(&mut attempt).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_recognized() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(read_os_release(text), ("Debian GNU/Linux 12 (bookworm)".to_owned(), true));
    }

    #[test]
    fn child_of_ubuntu_is_recognized() {
        let text = "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        assert_eq!(read_os_release(text), ("Linux Mint".to_owned(), true));
    }

    #[test]
    fn other_family_is_named_and_told_apart() {
        let text = "NAME=Fedora\nID=fedora\nID_LIKE=\"rhel centos\"\n";
        assert_eq!(read_os_release(text), ("Fedora".to_owned(), false));
    }

    #[test]
    fn system_without_a_name_is_unknown() {
        assert_eq!(read_os_release(""), ("an unknown system".to_owned(), false));
    }

    #[test]
    fn every_package_has_a_name_of_its_own() {
        let names: BTreeSet<_> = packages::all().map(|package| package.name).collect();
        assert_eq!(names.len(), packages::all().count());
    }
}
