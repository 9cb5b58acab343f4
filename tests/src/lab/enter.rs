//! Ways into a network namespace: for a child between fork and exec, and for a thread. `ip netns
//! exec` is no such way: it makes a private mount namespace and remounts /sys, so that whatever is
//! pinned to a bpffs from inside vanishes at its exit.
#![expect(unsafe_code, reason = "the hook between fork and exec has no safe form")]

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// Makes the child of `command` start in `namespace` (ours if absent), and die with the thread that
/// started it: nothing survives even a SIGKILL of this process.
pub(super) fn prepare(command: &mut Command, namespace: Option<Arc<OwnedFd>>) {
    let parent = getpid();
    let hook = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            // The parent died before the line above took effect.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        match &namespace {
            Some(namespace) => enter(namespace.as_fd()),
            None => Ok(()),
        }
    };
    // SAFETY: between fork and exec only prctl, getppid and setns run, straight system calls that
    // take no lock and allocate nothing; the descriptor is kept open by the Arc in the closure.
    unsafe {
        command.pre_exec(hook);
    }
}

/// Moves the calling thread into `namespace`, for good. Sockets that it opens from then on live there.
pub(super) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}
