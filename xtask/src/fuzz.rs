//! `cargo xtask fuzz`: packets that nobody would send. On the host libFuzzer makes them up, guided by which branches of
//! the packet path they take, with `AddressSanitizer` where the compiler has it; through the kernel go bent packets, and
//! the host beside it has to do the same.
//!
//! libFuzzer is linked as a crate, and the compiler's flags are set here: what cargo-fuzz and bolero do, without a
//! program to install or a nightly to fetch. `AddressSanitizer` is an unstable option, which the stable compiler takes
//! when it is told to (`RUSTC_BOOTSTRAP`), for this program alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::plan::Goal;
use crate::test::say;
use crate::{build, run, setup};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only one of them; both, one after the other, without it.
    #[arg(value_enum)]
    side: Option<Side>,

    /// How long each of them runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Run one case: a file that libFuzzer left, or one case's bytes in hexadecimal.
    #[arg(long, requires = "side")]
    replay: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// Any bytes, in plain memory, guided by coverage.
    Host,
    /// Bent packets, through the kernel and in plain memory.
    Kernel,
    /// Runs nothing: writes the cases that both begin with, which are checked in, anew.
    Seeds,
}

/// The cases that both begin with.
const SEEDS: &str = "tests/fuzz/corpus";
const PACKAGE: &str = "bg-fuzz";

/// Runs one side, or both; exit code 0 only when no rule was broken and there was no difference.
pub(crate) fn command(options: &Options) -> Result<u8> {
    setup::if_needed(Goal::Run)?;
    let mut lines = Vec::new();
    let mut right = true;
    if options.side == Some(Side::Seeds) {
        let folder = root()?.join(SEEDS);
        let mut command = kernel_side();
        return Ok(run::code(run::passed_through(command.arg("seeds").arg(folder))?));
    }
    if options.side != Some(Side::Kernel) {
        let end = host(options.seconds, options.replay.as_deref())?;
        right &= end.right;
        lines.push(end.line);
    }
    if options.side != Some(Side::Host) && run::stopped_by().is_none() {
        let mut command = kernel_side();
        command.arg("kernel");
        match &options.replay {
            Some(case) => command.args(["--replay", case]),
            None => command.args(["--seconds", &options.seconds.to_string()]),
        };
        let (status, said) = run::with_stderr(&mut command)?;
        right &= status.success();
        lines.extend(said.lines().last().map(str::to_owned));
    }
    if run::stopped_by().is_some() {
        bail!("interrupted");
    }
    lines.iter().try_for_each(|line| say(line))?;
    Ok(u8::from(!right))
}

fn kernel_side() -> Command {
    let mut cargo = build::cargo();
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "bg-tests", "--bin", "fuzz", "--"]);
    cargo
}

/// How a run on the host ended.
pub(crate) struct End {
    /// No rule was broken.
    pub(crate) right: bool,
    line: String,
}

/// Runs the host's side so long, or one case.
pub(crate) fn host(seconds: u64, replay: Option<&str>) -> Result<End> {
    let root = root()?;
    let folder = root.join("target/fuzz");
    let (corpus, failures) = (folder.join("corpus"), folder.join("failures"));
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let sanitizer = has_address_sanitizer();
    if !sanitizer {
        eprintln!(
            "fuzz: this compiler brings no AddressSanitizer; what is written beside a packet is not seen"
        );
    }
    let triple = triple()?;
    let mut cargo = build::cargo();
    cargo.args(["build", "--locked", "--release", "--package", PACKAGE, "--features", "libfuzzer"]);
    cargo.args(["--bin", "fuzz-host", "--target", &triple, "--target-dir"]).arg(&folder);
    cargo.env("RUSTFLAGS", flags(sanitizer)).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if sanitizer {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    if !run::on_stderr(&mut cargo)?.success() {
        bail!("the fuzzer could not be built: see the compiler's messages above");
    }

    let mut fuzzer = Command::new(folder.join(&triple).join("release/fuzz-host"));
    // What libFuzzer keeps for itself to the end is no leak.
    fuzzer.current_dir(&folder).env("ASAN_OPTIONS", "detect_leaks=0");
    if let Some(case) = replay {
        let (status, _) = run::with_stderr(fuzzer.arg(case_file(case, &failures)?))?;
        let right = status.success();
        let line = if right { "host: 1 case, no rule broken" } else { "host: 1 case, a rule broken" };
        return Ok(End { right, line: line.to_owned() });
    }
    fuzzer.arg(&corpus).arg(root.join(SEEDS));
    fuzzer.arg(format!("-artifact_prefix={}/", failures.display()));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.args(["-max_len=6000", "-timeout=10", "-print_final_stats=1", "-print_pcs=0"]);
    let (status, said) = run::with_stderr(&mut fuzzer)?;
    let right = status.success();
    let cases = stat(&said, "stat::number_of_executed_units:").unwrap_or("no");
    let line = if right {
        let kept = fs::read_dir(&corpus).map_or(0, Iterator::count);
        format!("host: {cases} cases, {kept} kept for the way they took, no rule broken")
    } else {
        let file = stat(&said, "Test unit written to").unwrap_or("no file");
        format!("host: {cases} cases, a rule broken; again: cargo xtask fuzz host --replay {file}")
    };
    Ok(End { right, line })
}

/// The instrumentation that libFuzzer wants, and checks of arithmetic and more.
fn flags(sanitizer: bool) -> String {
    let coverage = [
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        "-Cdebug-assertions=yes",
        "-Ccodegen-units=1",
    ];
    let address = sanitizer.then_some("-Zsanitizer=address");
    coverage.into_iter().chain(address).collect::<Vec<_>>().join(" ")
}

/// Whether the compiler in use has the library of `AddressSanitizer`.
fn has_address_sanitizer() -> bool {
    let folder = run::answer(Command::new("rustc").args(["--print", "target-libdir"])).unwrap_or_default();
    let files = fs::read_dir(folder.trim()).into_iter().flatten().flatten();
    files.map(|file| file.file_name()).any(|name| name.to_string_lossy().ends_with("_rt.asan.a"))
}

/// With its name cargo leaves build scripts as they are: they run here, too, but are not what is fuzzed.
fn triple() -> Result<String> {
    let version = run::answer(Command::new("rustc").arg("-vV")).unwrap_or_default();
    stat(&version, "host:").map(str::to_owned).context("rustc does not say for which machine it compiles")
}

/// The file of a case that is given as one, or in hexadecimal.
fn case_file(case: &str, folder: &Path) -> Result<PathBuf> {
    if let Ok(file) = fs::canonicalize(case) {
        return Ok(file);
    }
    let bytes: Option<Vec<u8>> =
        (0..case.len()).step_by(2).map(|at| u8::from_str_radix(case.get(at..at + 2)?, 16).ok()).collect();
    let bytes = bytes.with_context(|| format!("{case} is neither a file nor a case in hexadecimal"))?;
    let file = folder.join("replayed");
    fs::write(&file, bytes).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// The word behind a key in what a program said.
fn stat<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.split_once(key)).and_then(|(_, rest)| rest.split_whitespace().next())
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_owned).context("the workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_says_is_read() {
        let said = "#2 pulse\nDone 5 runs\nstat::number_of_executed_units: 512\n\
                    artifact_prefix='x/'; Test unit written to x/crash-1\n";
        assert_eq!(stat(said, "stat::number_of_executed_units:"), Some("512"));
        assert_eq!(stat(said, "Test unit written to"), Some("x/crash-1"));
        assert_eq!(stat(said, "stat::peak_rss_mb:"), None);
    }

    #[test]
    fn a_case_is_a_file_or_hexadecimal() {
        let folder = tempfile::tempdir().unwrap();
        let file = case_file("00ff10", folder.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), [0, 255, 16]);
        assert_eq!(
            case_file(&file.display().to_string(), folder.path()).unwrap(),
            fs::canonicalize(&file).unwrap()
        );
        assert!(case_file("0g", folder.path()).is_err());
        assert!(case_file("é", folder.path()).is_err());
    }
}
