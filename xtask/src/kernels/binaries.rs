//! What goes into every virtual machine: the test programs, the agent and what else they start, without debugging
//! information, and the few tools of this machine that they use.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::archive::Archive;
use super::files::{add_libraries, add_program};
use super::parts::{self, Cache};
use super::suites::{self, APPLETS, PROGRAMS, SUITES, TESTS};
use crate::machine::find_program;
use crate::{build, run};

/// Begins the name of the folder of a run; the number of its process follows.
const SCRATCH: &str = "run-";
/// What the tests start.
const STARTED: [&str; 3] = ["bgd", "bgctl", "streamer"];
/// What they need of this machine.
const TOOLS: [&str; 2] = ["ip", "ethtool"];
const FAILED: &str = "the build failed: see the compiler's messages above";

/// The content of every machine, and a folder for what this run needs.
pub(super) struct Binaries {
    /// All but the kernel's module.
    pub(super) archive: Archive,
    /// Removed at the end of the run.
    pub(super) scratch: TempDir,
}

impl Binaries {
    /// Builds the programs, and puts everything together.
    pub(super) fn build(cache: &Cache) -> Result<Self> {
        fs::create_dir_all(cache.path()).with_context(|| format!("make {}", cache.path().display()))?;
        remove_old(cache.path())?;
        let scratch = tempfile::Builder::new()
            .prefix(&format!("{SCRATCH}{}-", std::process::id()))
            .tempdir_in(cache.path())
            .context("make a folder for this run")?;
        build_started()?;
        let target = cache.path().parent().context("the target folder lies nowhere")?;
        let mut archive = Archive::default();
        let mut libraries = BTreeSet::new();
        for name in STARTED {
            let stripped = strip(&target.join("debug").join(name), scratch.path())?;
            add_program(&mut archive, &mut libraries, &stripped, &format!("{PROGRAMS}/{name}"))?;
        }
        for (name, program) in tests()? {
            let stripped = strip(&program, scratch.path())?;
            add_program(&mut archive, &mut libraries, &stripped, &format!("{TESTS}/{name}"))?;
        }
        for name in TOOLS {
            let program = find_program(name).with_context(|| format!("there is no `{name}` here"))?;
            add_program(&mut archive, &mut libraries, &program, &format!("/bin/{name}"))?;
        }
        let busybox = cache.witness(&parts::SHELL).context("there is no busybox here")?;
        add_program(&mut archive, &mut libraries, &busybox, "/bin/busybox")?;
        for applet in APPLETS {
            archive.link(&format!("/bin/{applet}"), "busybox");
        }
        add_libraries(&mut archive, &libraries)?;
        for folder in ["/proc", "/sys", "/tmp", "/run", "/etc"] {
            archive.folder(folder);
        }
        archive.link("/var/run", "/run");
        // The kernel opens it for the first process.
        archive.device("/dev/console", (5, 1));
        archive.file("/init", suites::script().as_bytes());
        Ok(Self { archive, scratch })
    }
}

fn build_started() -> Result<()> {
    let mut cargo = build::cargo();
    cargo.args(["build", "--locked", "--package", "bg-userspace", "--package", "bg-tests"]);
    cargo.args(STARTED.iter().flat_map(|name| ["--bin", name]));
    if !run::on_stderr(&mut cargo)?.success() {
        bail!(FAILED);
    }
    Ok(())
}

/// The test programs by name, built.
fn tests() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--no-run", "--locked", "--package", "bg-tests"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.args(SUITES.iter().flat_map(|name| ["--test", name]));
    let mut said = Vec::new();
    let status = run::shown_to(cargo.stderr(Stdio::inherit()), &mut |bytes| said.extend_from_slice(bytes))?;
    if !status.success() {
        bail!(FAILED);
    }
    let said = String::from_utf8_lossy(&said);
    let built: Vec<_> = said.lines().filter_map(executable).collect();
    SUITES
        .iter()
        .map(|suite| {
            let found = built.iter().find(|(name, _)| name == suite);
            let (_, path) = found.with_context(|| format!("cargo built no test program {suite}"))?;
            Ok((*suite, path.clone()))
        })
        .collect()
}

/// Name and file of a test program, from a line of cargo's.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let name = message["target"]["name"].as_str()?.to_owned();
    is_test.then_some((name, PathBuf::from(message["executable"].as_str()?)))
}

fn strip(program: &Path, into: &Path) -> Result<PathBuf> {
    let stripped = into.join(program.file_name().context("a program without a name")?);
    let (status, said) = run::with_stderr(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    if !status.success() {
        bail!("strip {} failed: {}", program.display(), said.trim());
    }
    Ok(stripped)
}

/// Removes what a run left that was killed.
fn remove_old(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let process = name.strip_prefix(SCRATCH).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|number| !Path::new("/proc").join(number).exists()) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_libraries_and_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"packets"},"profile":{"test":true},"executable":"/t/packets-1"}"#;
        assert_eq!(executable(line), Some(("packets".to_owned(), PathBuf::from("/t/packets-1"))));
        let library = line.replace("true", "false");
        assert_eq!(executable(&library), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let own = format!("{SCRATCH}{}-x", std::process::id());
        // Above any number that a process can have.
        for name in [own.as_str(), "run-4194305-x", "6.1"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        remove_old(folder.path()).unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!([left(&own), left("run-4194305-x"), left("6.1")], [true, false, true]);
    }
}
