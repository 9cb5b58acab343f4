//! Kernel settings that the data plane depends on.

use std::fs;
use std::path::Path;

use super::Error;
use crate::config::Config;

/// The kernel resolves a missing neighbour and forwards the packet itself; without forwarding it, and
/// the routing lookups of the program, answer nothing.
pub(super) fn require_ipv4(interfaces: &[String]) -> Result<(), Error> {
    require("/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward")?;
    for interface in interfaces {
        // In the name of a key, a dot of an interface's name is a slash.
        let key = format!("net.ipv4.conf.{}.forwarding", interface.replace('.', "/"));
        require(&format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"), &key)?;
    }
    Ok(())
}

/// The same for IPv6, where some service uses it. The kernel forwards where `all` says so, and the lookups
/// of the program answer where the interface says so. Other than in IPv4, a reply that is handed to the
/// kernel with the VIP as its source needs no setting: `ip6_forward` does not ask whose source it is.
pub(super) fn require_ipv6(config: &Config) -> Result<(), Error> {
    let node = &config.node;
    for interface in node.interfaces.iter().chain([&node.vip_interface]) {
        require_ipv6_on(interface)?;
    }
    require("/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding")?;
    for interface in &node.interfaces {
        let key = format!("net.ipv6.conf.{}.forwarding", interface.replace('.', "/"));
        require(&format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"), &key)?;
    }
    Ok(())
}

fn require_ipv6_on(interface: &str) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    // An interface whose MTU is below 1,280 has no IPv6, and no such file; nor has a kernel without it.
    let found = if Path::new(&path).exists() { read(&path)? } else { "not there".to_owned() };
    if found == "0" {
        return Ok(());
    }
    let key = format!("net.ipv6.conf.{}.disable_ipv6", interface.replace('.', "/"));
    let help = format!("sysctl -w {key}=0; or use no IPv6 address as a `vip`");
    Err(Error::NoIpv6 { path, found, help })
}

fn require(path: &str, key: &str) -> Result<(), Error> {
    let found = read(path)?;
    if found == "1" {
        return Ok(());
    }
    Err(Error::Setting { path: path.to_owned(), found, help: format!("sysctl -w {key}=1") })
}

/// Whether the kernel drops what does not come back the way it would go (RFC 3704, strict). Packets whose
/// neighbour is missing would be lost to that where routing is not symmetric.
pub(super) fn filters_strictly(interface: &str) -> Result<bool, Error> {
    // The larger of the two counts (`IN_DEV_RPFILTER` in linux/inetdevice.h).
    let all = read("/proc/sys/net/ipv4/conf/all/rp_filter")?;
    let own = read(&format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"))?;
    Ok(all.max(own) == "1")
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
