//! An XDP program of two instructions that lets every packet pass, for the far ends of veth pairs:
//! what a program sends with `XDP_TX` or redirects arrives at a veth only if its far end takes
//! frames that way, which a real NIC always does.

use super::bpf;
use anyhow::{Context, Result};
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) const PROG_LOAD: libc::c_long = 5;
pub(super) const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// Without it a veth takes no large MTU.
const XDP_HAS_FRAGS: u32 = 1 << 5;

/// `r0 = XDP_PASS; exit`.
static PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
pub(super) static LICENSE: &[u8; 4] = b"GPL\0";

/// The attributes of `BPF_PROG_LOAD`, up to where this program needs them (linux/bpf.h).
#[repr(C)]
pub(super) struct ProgLoad {
    pub(super) prog_type: u32,
    pub(super) insn_cnt: u32,
    pub(super) insns: u64,
    pub(super) license: u64,
    pub(super) log: [u64; 2],
    pub(super) kern_version: u32,
    pub(super) prog_flags: u32,
}

/// The attributes of `BPF_LINK_CREATE` (linux/bpf.h).
#[repr(C)]
pub(super) struct LinkCreate {
    pub(super) prog_fd: u32,
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
}

/// Attaches the program to `interface` of the calling thread's namespace, until the returned link
/// is dropped.
pub(super) fn attach(interface: &str) -> Result<OwnedFd> {
    let index = index(interface)?;
    let program = bpf::call(
        PROG_LOAD,
        &ProgLoad {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: 2,
            insns: PASS.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log: [0; 2],
            kern_version: 0,
            prog_flags: XDP_HAS_FRAGS,
        },
    )
    .context("load a passing XDP program; are you root?")?;
    bpf::call(
        LINK_CREATE,
        &LinkCreate {
            prog_fd: u32::try_from(program.as_raw_fd()).context("a negative descriptor")?,
            target_ifindex: index,
            attach_type: ATTACH_TYPE_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        },
    )
    .with_context(|| format!("attach a passing XDP program to {interface}"))
}

/// The number of an interface of the calling thread's namespace.
pub(super) fn index(interface: &str) -> Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    rustix::net::netdevice::name_to_index(socket, interface)
        .with_context(|| format!("find the interface {interface}"))
}
