//! A virtual machine from its start to its end. Its first serial line is the kernel's, its second one is the tests';
//! the emulator ends with this process, however that ends.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::binaries::Binaries;
use super::console::{Console, Ended, Event};
use super::parts::{self, Cache, Part};
use super::suites::{MODULE, SUITES};
use crate::run;
use crate::tally::Tally;
use crate::test::say;

/// How long a machine may take for all that it has to do: some three minutes, if it has a processor for itself.
const PATIENCE: Duration = Duration::from_mins(20);
/// How often it is looked after while it is silent.
const TICK: Duration = Duration::from_millis(200);
/// Lines of the kernel's that are kept, for when it dies.
const LAST_WORDS: usize = 40;

/// Runs the suites in a kernel, and says what comes of them while it does.
pub(super) fn run(cache: &Cache, kernel: &Part, binaries: &Binaries) -> Result<Tally> {
    let image = binaries.scratch.path().join(format!("{}.cpio", kernel.name));
    fs::write(&image, content(cache, kernel, binaries)?)
        .with_context(|| format!("write {}", image.display()))?;
    let began = Instant::now();
    let mut machine = Machine::start(emulator(cache, kernel, &image)?)?;
    let mut report = Report { kernel: kernel.name, began, ended: Vec::new() };
    let mut console = Console::default();
    let cut_short = loop {
        match machine.lines.recv_timeout(TICK) {
            Ok(line) => report.take(console.line(&line))?,
            Err(RecvTimeoutError::Disconnected) => break None,
            // It began after the signal went round.
            Err(RecvTimeoutError::Timeout) if run::stopped_by().is_some() => {
                machine.child.kill().context("end a virtual machine")?;
                break None;
            }
            Err(RecvTimeoutError::Timeout) if began.elapsed() > PATIENCE => {
                machine.child.kill().context("end a virtual machine")?;
                break Some(format!("it was not done after {} s and was ended", PATIENCE.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    let last_words = machine.end()?;
    if run::stopped_by().is_some() {
        bail!("interrupted");
    }
    report.take(console.end(false))?;
    let missing: Vec<_> =
        SUITES.iter().filter(|name| !report.ended.iter().any(|(done, _)| done == *name)).collect();
    if cut_short.is_some() || !missing.is_empty() {
        let why = cut_short.unwrap_or_else(|| "it ended too early".to_owned());
        say(&format!("kernel {:<5} {why}; the last that it said:\n{last_words}", kernel.name))?;
    }
    let counted = report.ended.iter().fold(Tally::NONE, |sum, (_, tally)| sum.plus(*tally));
    Ok(missing.iter().fold(counted, |sum, _| sum.plus(Tally::one(false))))
}

/// What came of the suites so far.
struct Report {
    kernel: &'static str,
    began: Instant,
    ended: Vec<(String, Tally)>,
}

impl Report {
    fn take(&mut self, event: Option<Event>) -> Result<()> {
        let kernel = self.kernel;
        match event {
            Some(Event::Booted(release)) => {
                let took = self.began.elapsed().as_secs_f64();
                say(&format!("kernel {kernel:<5} {release} booted after {took:.1} s"))
            }
            Some(Event::Ended(Ended { name, tally, took, output })) => {
                if tally.failed > 0 {
                    say(&format!("kernel {kernel:<5} {name} said:\n{output}"))?;
                }
                let (passed, failed, took) = (tally.passed, tally.failed, took.as_secs_f64());
                say(&format!(
                    "kernel {kernel:<5} {name:<16} {passed:>3} passed {failed:>3} failed {took:>7.1} s"
                ))?;
                self.ended.push((name, tally));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A running machine.
struct Machine {
    child: Child,
    lines: mpsc::Receiver<String>,
    kernel: JoinHandle<String>,
}

impl Machine {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = run::spawn(&mut command)?;
        let (tests, kernel) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = mpsc::channel();
        // It ends with the machine, which holds the other end of the pipe; nobody listens after that.
        thread::spawn(move || {
            tests.map(|tests| read_lines(tests, &mut |line| sender.send(line).map_err(io::Error::other)))
        });
        let kernel = thread::spawn(move || {
            let mut last = VecDeque::new();
            let kept = kernel.map(|kernel| {
                read_lines(kernel, &mut |line| {
                    last.push_back(line);
                    last.drain(..last.len().saturating_sub(LAST_WORDS));
                    Ok(())
                })
            });
            if let Some(Err(error)) = kept {
                last.push_back(format!("(the rest could not be read: {error})"));
            }
            Vec::from(last).join("\n")
        });
        Ok(Self { child, lines, kernel })
    }

    /// Waits until it is gone. Returns what the kernel said at last.
    fn end(self) -> Result<String> {
        run::watched(self.child)?;
        Ok(self.kernel.join().unwrap_or_default())
    }
}

fn read_lines(from: impl Read, take: &mut dyn FnMut(String) -> io::Result<()>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        take(String::from_utf8_lossy(&line).trim_end().to_owned())?;
        line.clear();
    }
    Ok(())
}

/// The file system of a machine with this kernel.
fn content(cache: &Cache, kernel: &Part, binaries: &Binaries) -> Result<Vec<u8>> {
    let mut archive = binaries.archive.clone();
    archive.file(MODULE, &module(cache, kernel)?);
    Ok(archive.finish())
}

/// The kernel's module for pairs of network devices.
fn module(cache: &Cache, kernel: &Part) -> Result<Vec<u8>> {
    let modules = cache.folder(kernel).join("lib/modules");
    let mut releases = fs::read_dir(&modules).with_context(|| format!("list {}", modules.display()))?;
    let release = releases.find_map(Result::ok).context("a kernel without modules")?.path();
    let plain = release.join("kernel/drivers/net/veth.ko");
    if plain.exists() {
        return fs::read(&plain).with_context(|| format!("read {}", plain.display()));
    }
    let packed = plain.with_extension("ko.xz");
    let busybox = cache.witness(&parts::SHELL).context("there is no busybox here")?;
    let mut unpack = Command::new(busybox);
    let output = unpack.args(["unxz", "-c"]).arg(&packed).output().context("run busybox")?;
    if !output.status.success() {
        bail!("{} cannot be unpacked: {}", packed.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The emulator with a kernel and the file system that it begins with.
fn emulator(cache: &Cache, kernel: &Part, image: &Path) -> Result<Command> {
    let program = cache.witness(&parts::EMULATOR).context("there is no emulator here")?;
    let linux = cache.witness(kernel).with_context(|| format!("there is no kernel {} here", kernel.name))?;
    // The kernel ends it when this thread does, even by a SIGKILL of the process.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(&program);
    let folder = cache.folder(&parts::EMULATOR);
    if program.starts_with(&folder) {
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| folder.join(path));
        command.env("LD_LIBRARY_PATH", joined(&libraries));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(folder.join(data));
        }
    }
    command.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-serial", "file:/dev/stderr", "-serial", "stdio"]);
    command.arg("-kernel").arg(linux).arg("-initrd").arg(image);
    command.args(["-append", "console=ttyS0 quiet panic=-1"]);
    Ok(command)
}

fn joined(folders: &[PathBuf]) -> std::ffi::OsString {
    std::env::join_paths(folders).unwrap_or_default()
}
