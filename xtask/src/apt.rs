//! Installing packages with apt: nothing is removed, nothing is asked, and no daemon is started.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Package};
use crate::run::{answer, stopped_by, with_stderr};

/// Debian's switch: a package asks it before it starts its daemon, and 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

const REFUSE: &str = "#!/bin/sh\n# Made by `cargo xtask setup` while it installs packages; it removes this file again.\nexit 101\n";

/// Fetch the lists of packages. Gives back which of ours can be installed.
pub(crate) fn update() -> Result<BTreeSet<&'static str>> {
    let (status, said) = with_stderr(apt().args(["-q", "update"]))?;
    let offer = on_offer();
    // apt succeeds with old lists when it reaches no server; lists that have all we need will do.
    if (!status.success() || cannot_fetch(&said)) && offer.len() < packages::all().count() {
        bail!(explain("apt-get update", &said));
    }
    Ok(offer)
}

/// Install these packages.
pub(crate) fn install(packages: &[&Package]) -> Result<()> {
    let _quiet = NoDaemons::begin(Path::new(POLICY))?;
    let mut command = apt();
    command.args(["-q", "install", "--yes", "--no-install-recommends", "--no-remove"]);
    command.args(packages.iter().map(|package| package.name));
    let (status, said) = with_stderr(&mut command)?;
    if !status.success() {
        bail!(explain("apt-get install", &said));
    }
    Ok(())
}

/// apt-get, asking nothing.
pub(crate) fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt on this machine, an automatic upgrade say, is waited for.
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command
}

fn on_offer() -> BTreeSet<&'static str> {
    let mut command = Command::new("apt-cache");
    command.arg("policy").args(packages::all().map(|package| package.name)).env("LC_ALL", "C");
    let text = answer(&mut command).unwrap_or_default();
    packages::all().map(|package| package.name).filter(|name| has_candidate(&text, name)).collect()
}

/// Whether `apt-cache policy` lists a candidate for the package.
fn has_candidate(policy: &str, name: &str) -> bool {
    policy
        .lines()
        .skip_while(|line| line.strip_suffix(':') != Some(name))
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .is_some_and(|version| version != "(none)")
}

fn cannot_fetch(said: &str) -> bool {
    ["Failed to fetch", "Could not resolve", "Could not connect", "Temporary failure resolving"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// One sentence for what apt said at length.
pub(crate) fn explain(act: &str, said: &str) -> String {
    if stopped_by().is_some() {
        return "interrupted".to_owned();
    }
    if cannot_fetch(said) {
        return format!(
            "{act} cannot reach this machine's package servers: mend the network, or the servers \
             named in /etc/apt/sources.list and sources.list.d, and run it again"
        );
    }
    if said.contains("remove is disabled") {
        return format!(
            "{act} would have to remove a package that conflicts with a needed one, and setup \
             removes nothing: see the list above, remove it yourself, and run it again"
        );
    }
    let first = said.lines().find_map(|line| line.strip_prefix("E: ")).unwrap_or("no reason given");
    format!("{act} failed ({first}): mend that as apt says above, and run it again")
}

/// While this lives, packages that are installed do not start their daemons.
#[derive(Debug)]
struct NoDaemons {
    /// The switch, if it is ours to remove.
    ours: Option<PathBuf>,
}

impl NoDaemons {
    /// Puts the switch there. One that somebody else has put there is left as it is; one that an
    /// earlier run had to leave behind is taken over.
    fn begin(policy: &Path) -> Result<Self> {
        let mut new = fs::OpenOptions::new();
        match new.write(true).create_new(true).mode(0o755).open(policy) {
            Ok(mut file) => {
                let guard = Self { ours: Some(policy.to_owned()) };
                let written = file.write_all(REFUSE.as_bytes());
                written.with_context(|| format!("write {}", policy.display()))?;
                Ok(guard)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let left_behind = fs::read_to_string(policy).is_ok_and(|text| text == REFUSE);
                Ok(Self { ours: left_behind.then(|| policy.to_owned()) })
            }
            Err(error) => Err(error).with_context(|| format!("create {}", policy.display())),
        }
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        let Some(policy) = self.ours.take() else { return };
        if let Err(error) = fs::remove_file(&policy) {
            eprintln!(
                "warning: {} could not be removed ({error}); it keeps packages from starting their \
                 daemons: remove it",
                policy.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_is_read_per_package() {
        let text =
            "gcc:\n  Installed: (none)\n  Candidate: 12\nwrk:\n  Installed: (none)\n  Candidate: (none)\n";
        assert!(has_candidate(text, "gcc"));
        assert!(!has_candidate(text, "wrk"));
        assert!(!has_candidate(text, "curl"));
    }

    #[test]
    fn daemons_are_held_back_only_while_packages_are_installed() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        let guard = NoDaemons::begin(&policy).unwrap();
        let status = Command::new("sh").arg(&policy).status().unwrap();
        assert_eq!(status.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
    }

    #[test]
    fn switch_of_somebody_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 0\n").unwrap();
        drop(NoDaemons::begin(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\nexit 0\n");
    }

    #[test]
    fn switch_that_an_earlier_run_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        fs::write(&policy, REFUSE).unwrap();
        drop(NoDaemons::begin(&policy).unwrap());
        assert!(!policy.exists());
    }

    #[test]
    fn lack_of_network_is_told_apart_from_other_failures() {
        let offline = "W: Failed to fetch http://deb.example/InRelease  Could not resolve 'deb.example'\n";
        assert!(explain("apt-get update", offline).contains("cannot reach"));
        let broken = "E: dpkg was interrupted, run 'dpkg --configure -a'\n";
        assert!(explain("apt-get install", broken).contains("dpkg was interrupted"));
    }
}
