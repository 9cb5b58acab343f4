//! A program of a few instructions that puts a VLAN tag on every frame that leaves an interface, as the kernel does
//! for a VLAN device: beside the frame, unless `txvlan` is off.

use super::bpf;
use super::namespace::Namespace;
use super::pass::{LICENSE, LINK_CREATE, LinkCreate, PROG_LOAD, ProgLoad, index};
use anyhow::{Context, Result};
use std::os::fd::{AsRawFd, OwnedFd};

const PROG_TYPE_SCHED_CLS: u32 = 3;
const ATTACH_TYPE_TCX_EGRESS: u32 = 47;

/// `skb_vlan_push(skb, 0x8100, 7)`; `r0 = TCX_PASS; exit`.
static TAG: [u64; 5] = [
    0x0000_0081_0000_02b7, // r2 = 802.1Q, in network order
    0x0000_0007_0000_03b7, // r3 = VLAN 7
    0x0000_0012_0000_0085, // call bpf_skb_vlan_push
    0x0000_0000_0000_00b7, // r0 = TCX_PASS
    0x0000_0000_0000_0095, // exit
];

/// Tags what leaves this interface until the returned link is dropped.
pub fn tag(namespace: &Namespace, interface: &str) -> Result<OwnedFd> {
    namespace.inside(|| attach(interface))?
}

fn attach(interface: &str) -> Result<OwnedFd> {
    let program = ProgLoad {
        prog_type: PROG_TYPE_SCHED_CLS,
        insn_cnt: u32::try_from(TAG.len())?,
        insns: TAG.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log: [0; 2],
        kern_version: 0,
        prog_flags: 0,
    };
    let program = bpf::call(PROG_LOAD, &program).context("load a tagging program; are you root?")?;
    let link = LinkCreate {
        prog_fd: u32::try_from(program.as_raw_fd()).context("a negative descriptor")?,
        target_ifindex: index(interface)?,
        attach_type: ATTACH_TYPE_TCX_EGRESS,
        flags: 0,
    };
    bpf::call(LINK_CREATE, &link).with_context(|| format!("attach a tagging program to {interface}"))
}
