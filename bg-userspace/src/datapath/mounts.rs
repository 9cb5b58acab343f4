//! Whose bpffs it is. What is pinned lives as long as some mount of its file system does, and a mount that
//! was made in a private mount namespace ends with the last process in there: `ip netns exec`, `unshare
//! --mount`, and some service managers and containers make one. Process 1 outlives them all, so that a
//! bpffs is the host's if process 1 has it mounted too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Dev, makedev, stat};

use super::Error;

/// Readable by everyone who can see the process; `/proc/1/root` and `/proc/1/ns` ask for more.
const OF_PROCESS_1: &str = "/proc/1/mountinfo";

/// A bpffs that process 1 has mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bpffs {
    device: Dev,
    at: PathBuf,
}

/// Refuses a directory on a bpffs that is not the host's, or of which that cannot be told.
pub(super) fn require_hosts(directory: &Path) -> Result<(), Error> {
    let unknown = |why: String| Error::UnknownBpffs { directory: directory.into(), why };
    if std::process::id() == 1 {
        return Err(unknown("bgd is process 1 of a container itself".to_owned()));
    }
    let device = stat(directory)
        .map_err(|e| Error::File { act: "looking at", path: directory.into(), source: e.into() })?
        .st_dev;
    let hosts = hosts().map_err(|e| unknown(format!("reading {OF_PROCESS_1}: {e}")))?;
    if hosts.iter().any(|bpffs| bpffs.device == device) {
        return Ok(());
    }
    Err(Error::PrivateBpffs { directory: directory.into(), hosts: hosts.into_iter().next().map(|b| b.at) })
}

/// Where process 1 has a bpffs that holds `directory`, if it has one: then the caller, who finds something
/// else there, is in another mount namespace.
pub(super) fn hidden(directory: &Path) -> Option<PathBuf> {
    let hosts = hosts().unwrap_or_default();
    hosts.into_iter().map(|bpffs| bpffs.at).find(|at| directory.starts_with(at))
}

fn hosts() -> io::Result<Vec<Bpffs>> {
    Ok(fs::read_to_string(OF_PROCESS_1)?.lines().filter_map(parse).collect())
}

/// A line of `mountinfo`, if it is about a bpffs: number, parent, major:minor, root, mount point, options,
/// optional fields, a dash, type, source, options (`proc_pid_mountinfo(5)`).
fn parse(line: &str) -> Option<Bpffs> {
    let (mount, file_system) = line.split_once(" - ")?;
    if file_system.split(' ').next() != Some("bpf") {
        return None;
    }
    let mut fields = mount.split(' ').skip(2);
    let (high, low) = fields.next()?.split_once(':')?;
    let device = makedev(high.parse().ok()?, low.parse().ok()?);
    // Spaces and the like are escaped there; it is shown to people as it is written.
    Some(Bpffs { device, at: fields.nth(1)?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpffs_is_found() {
        let line = "31 24 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700";
        let expected = Bpffs { device: makedev(0, 27), at: "/sys/fs/bpf".into() };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("23 27 0:22 / /sys rw,relatime - sysfs sysfs rw"), None);
        assert_eq!(parse("23 27 0:22 / /bpf rw - tmpfs bpf rw"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_directory_on_no_bpffs_of_process_1_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            require_hosts(directory.path()),
            Err(Error::PrivateBpffs { .. } | Error::UnknownBpffs { .. })
        ));
    }
}
