//! Kernel settings that the data plane depends on.

use std::fs;

use super::Error;

/// The kernel resolves a missing neighbour and forwards the packet itself; without forwarding it, and
/// the routing lookups of the program, answer nothing.
pub(super) fn require_forwarding() -> Result<(), Error> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    let found = read(path)?;
    if found == "1" {
        return Ok(());
    }
    Err(Error::Setting { path: path.to_owned(), found, help: "sysctl -w net.ipv4.ip_forward=1".to_owned() })
}

/// A reply whose next neighbour is missing goes to the kernel with the VIP as its source, an address of
/// the node itself; the kernel takes that for a martian unless told otherwise. Returns whether the
/// setting had to be changed.
pub(super) fn accept_local(interface: &str) -> Result<bool, Error> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/accept_local");
    if read(&path)? == "1" {
        return Ok(false);
    }
    write(&path, "1")?;
    Ok(true)
}

/// Takes [`accept_local`] back.
pub(super) fn restore_accept_local(interface: &str) -> Result<(), Error> {
    write(&format!("/proc/sys/net/ipv4/conf/{interface}/accept_local"), "0")
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| Error::File {
        act: "reading",
        path: path.into(),
        source,
    })
}

fn write(path: &str, value: &str) -> Result<(), Error> {
    fs::write(path, value).map_err(|source| Error::File { act: "writing", path: path.into(), source })
}
