//! Starting other programs: what they print is passed on as it comes, and a signal that is meant to
//! end us ends them first, so that a child always cleans up before we are gone.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How often a silent child is looked after.
const TICK: Duration = Duration::from_millis(50);

/// How long the output of what a child left behind is waited for.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// The last signal that asked us to stop; 0 for none.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// The children that run now, by number. A pidfd, because it can never mean another process.
static CHILDREN: Mutex<Vec<(u32, OwnedFd)>> = Mutex::new(Vec::new());

/// Take over SIGINT, SIGTERM and SIGHUP. A terminal sends Ctrl-C to the child as well; every other
/// sender may have meant only us, so those signals are handed on.
pub(crate) fn catch_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("catch signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            STOPPED_BY.store(signal, Ordering::SeqCst);
            if signal != SIGINT || !has_terminal() {
                hand_on(signal);
            }
        }
    });
    Ok(())
}

/// The signal that asked us to stop, if one did.
pub(crate) fn stopped_by() -> Option<i32> {
    Some(STOPPED_BY.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
}

/// The exit code that shells use for a program ended by `signal`.
pub(crate) fn code_of_signal(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// The exit code of a child, or that of the signal that ended it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, signal) => code_of_signal(signal.unwrap_or(0)),
    }
}

/// Run to the end, with our own input and output.
pub(crate) fn passed_through(command: &mut Command) -> Result<ExitStatus> {
    watched(spawn(command)?)
}

/// Run to the end; what it prints goes to standard error, which leaves standard output to results.
pub(crate) fn on_stderr(command: &mut Command) -> Result<ExitStatus> {
    let stderr = io::stderr().as_fd().try_clone_to_owned().context("duplicate standard error")?;
    passed_through(command.stdin(Stdio::null()).stdout(stderr))
}

/// Run to the end; standard error is passed on, and given back as well.
pub(crate) fn with_stderr(command: &mut Command) -> Result<(ExitStatus, String)> {
    let stderr = io::stderr().as_fd().try_clone_to_owned().context("duplicate standard error")?;
    let mut child = spawn(command.stdin(Stdio::null()).stdout(stderr).stderr(Stdio::piped()))?;
    let pipe = child.stderr.take();
    let mut seen = Vec::new();
    let mut keep = |bytes: &[u8]| seen.extend_from_slice(bytes);
    let status = copied(child, pipe, io::stderr(), &mut keep)?;
    Ok((status, String::from_utf8_lossy(&seen).into_owned()))
}

/// Run to the end; standard output is passed on byte by byte, and shown to `look` as well.
pub(crate) fn with_stdout(command: &mut Command, look: &mut dyn FnMut(&[u8])) -> Result<ExitStatus> {
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let pipe = child.stdout.take();
    copied(child, pipe, io::stdout(), look)
}

/// Run to the end; standard output is only shown to `look`.
pub(crate) fn shown_to(command: &mut Command, look: &mut dyn FnMut(&[u8])) -> Result<ExitStatus> {
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let pipe = child.stdout.take();
    copied(child, pipe, io::sink(), look)
}

/// Run quietly and give back standard output; `None` if it cannot run or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Start, and remember as one that signals are handed on to. To be waited for by [`watched`].
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    if stopped_by().is_some() {
        bail!("interrupted");
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("start {name}"))?;
    let handle = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let handle = handle.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.extend(handle.map(|handle| (child.id(), handle)));
    Ok(child)
}

/// Wait for a child.
pub(crate) fn watched(mut child: Child) -> Result<ExitStatus> {
    let number = child.id();
    let status = child.wait().context("wait for a child");
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != number);
    status
}

fn hand_on(signal: i32) {
    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    for (_, child) in children.iter() {
        // A child that is already over is just what the signal wanted.
        let _ = pidfd_send_signal(child, signal);
    }
}

fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Wait for the child while its output is copied. The output ends with the child, or a little later:
/// a process that it left behind may hold the pipe open for ever, and is not waited for.
fn copied(
    mut child: Child,
    pipe: Option<impl Read + Send + 'static>,
    mut to: impl Write,
    look: &mut dyn FnMut(&[u8]),
) -> Result<ExitStatus> {
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || pipe.map(|pipe| send(pipe, &sender)));
    let mut patience = STRAGGLERS;
    while !patience.is_zero() {
        match pieces.recv_timeout(TICK) {
            Ok(bytes) => {
                look(&bytes);
                to.write_all(&bytes).and_then(|()| to.flush()).context("print")?;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if child.try_wait().context("look after a child")?.is_some() {
                    patience = patience.saturating_sub(TICK);
                }
            }
        }
    }
    watched(child)
}

fn send(mut pipe: impl Read, pieces: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let length = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if pieces.send(buffer[..length].to_vec()).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_of_a_child_is_passed_on() {
        let status = passed_through(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(code(status), 7);
    }

    #[test]
    fn child_ended_by_a_signal_gives_the_code_that_a_shell_gives() {
        let status = passed_through(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap();
        assert_eq!(code(status), 143);
    }

    #[test]
    fn program_that_is_not_there_is_named() {
        let error = passed_through(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(error.to_string(), "start no-such-program-here");
    }

    #[test]
    fn output_held_open_by_a_process_left_behind_is_not_waited_for() {
        let mut seen = Vec::new();
        let mut look = |bytes: &[u8]| seen.extend_from_slice(bytes);
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 5 & echo done"]);
        assert!(with_stdout(&mut command, &mut look).unwrap().success());
        assert_eq!(seen, b"done\n");
    }
}
