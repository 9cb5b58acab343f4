//! `cargo xtask test`: every check and every test, one step after the other, all of them even when
//! one fails, and one count at the end.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::plan::Goal;
use crate::tally::{Counter, Tally};
use crate::{build, fuzz, kernels, run, setup};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains this; the checks of the code and other kernels are left out.
    filter: Option<String>,

    /// Run only this step; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Step>,
}

/// The steps, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Is the code formatted?
    Format,
    /// Is clippy content?
    Lint,
    /// Tests that need no privilege.
    Host,
    /// Packets that libFuzzer makes up, on the host.
    Fuzz,
    /// Tests in this kernel: packets through the loaded program, namespaces, real servers.
    Kernel,
    /// Tests in other kernels, in virtual machines: what `cargo xtask kernels` runs.
    Kernels,
}

const STEPS: [Step; 6] = [Step::Format, Step::Lint, Step::Host, Step::Fuzz, Step::Kernel, Step::Kernels];

/// The tests of this package go through the kernel and share it, so they run one by one.
const KERNEL_TESTS: &str = "bg-tests";

/// Packets are made up for so long; `cargo xtask fuzz` goes on.
const FUZZ_SECONDS: u64 = 10;

/// Runs the steps; exit code 0 only when something ran and nothing failed.
pub(crate) fn command(options: &Options) -> Result<u8> {
    setup::if_needed(Goal::Run)?;
    let strict = env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    let mut report = Vec::new();
    let mut unwelcome = false;
    for step in STEPS.into_iter().filter(|step| options.includes(*step)) {
        say(&format!("\n== {}", step.headline()))?;
        let started = Instant::now();
        let (counted, succeeded) = step.run(options)?;
        if run::stopped_by().is_some() {
            bail!("interrupted");
        }
        let elapsed = started.elapsed().as_secs_f64();
        let tally = counted.verdict(succeeded, strict);
        unwelcome |= strict && counted.ignored > 0;
        let line = format!(
            "{:<7} {:>5} passed {:>3} failed {:>3} ignored {elapsed:>7.1} s",
            step.name(),
            tally.passed,
            tally.failed,
            tally.ignored
        );
        say(&format!("== {line}"))?;
        report.push((line, tally));
    }
    say("")?;
    report.iter().try_for_each(|(line, _)| say(line))?;
    let total = report.iter().fold(Tally::NONE, |sum, (_, tally)| sum.plus(*tally));
    if unwelcome {
        say("(an ignored test counts as a failure here, because CI is set)")?;
    }
    say(&format!("{} passed, {} failed", total.passed, total.failed))?;
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

impl Options {
    fn includes(&self, step: Step) -> bool {
        let narrowed =
            self.filter.is_some() && matches!(step, Step::Format | Step::Lint | Step::Fuzz | Step::Kernels);
        if self.only.is_empty() { !narrowed } else { self.only.contains(&step) }
    }
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Host => "host",
            Self::Fuzz => "fuzz",
            Self::Kernel => "kernel",
            Self::Kernels => "kernels",
        }
    }

    const fn headline(self) -> &'static str {
        match self {
            Self::Format => "format: cargo fmt",
            Self::Lint => "lint: cargo clippy",
            Self::Host => "host: tests that need no privilege",
            Self::Fuzz => "fuzz: packets that libFuzzer makes up, on the host",
            Self::Kernel => "kernel: tests in this kernel, one by one",
            Self::Kernels => "kernels: tests in other kernels, in virtual machines",
        }
    }

    /// What the step counted, and whether it succeeded.
    fn run(self, options: &Options) -> Result<(Tally, bool)> {
        match self {
            Self::Format => check(&["fmt", "--all", "--check"]),
            Self::Lint => {
                check(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
            }
            Self::Host => tests(&["--workspace", "--exclude", KERNEL_TESTS], &[], options),
            Self::Fuzz => {
                let right = fuzz::host(FUZZ_SECONDS, None)?.right;
                Ok((Tally::one(right), right))
            }
            Self::Kernel => {
                // They start the real bgd and bgctl, which cargo does not build for another package's tests.
                if let Err(error) = build::binaries(&["--package", "bg-userspace", "--package", KERNEL_TESTS])
                {
                    eprintln!("error: {error:#}");
                    return Ok((Tally::NONE, false));
                }
                tests(&["--package", KERNEL_TESTS], &["--test-threads=1"], options)
            }
            Self::Kernels => other_kernels(),
        }
    }
}

/// A check that passes or fails as a whole: one test.
fn check(arguments: &[&str]) -> Result<(Tally, bool)> {
    let mut command = build::cargo();
    let status = run::passed_through(command.args(arguments).stdin(std::process::Stdio::null()))?;
    Ok((Tally::one(status.success()), status.success()))
}

/// A run in other kernels. Where there are none to be had, that is one failed test.
fn other_kernels() -> Result<(Tally, bool)> {
    if let Err(error) = setup::if_needed(Goal::Kernels) {
        eprintln!("error: no other kernels here: {error:#}");
        return Ok((Tally::one(false), false));
    }
    let tally = kernels::run_all(&[])?;
    Ok((tally, tally.failed == 0))
}

/// A run of `cargo test`, with its output passed on as it comes.
fn tests(which: &[&str], how: &[&str], options: &Options) -> Result<(Tally, bool)> {
    let mut command: Command = build::cargo();
    command.args(["test", "--locked", "--no-fail-fast"]).args(which).arg("--").args(how);
    if io::stdout().is_terminal() {
        command.arg("--color=always");
    }
    command.args(&options.filter);
    let mut counter = Counter::default();
    let status = run::with_stdout(&mut command, &mut |bytes| counter.read(bytes))?;
    Ok((counter.tally(), status.success()))
}

/// A line of the report, in order with what the tests print.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print the report")
}
