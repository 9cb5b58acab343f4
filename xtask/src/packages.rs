//! The packages that bluegreen's development needs on Debian and Ubuntu, each with the reason why.

use std::path::Path;

/// A package, and how to see whether what it brings is there, wherever it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// Its name for apt.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) why: &'static str,
    /// A program that it brings, or the full path of another file.
    witness: &'static str,
}

impl Package {
    const fn new(name: &'static str, witness: &'static str, why: &'static str) -> Self {
        Self { name, why, witness }
    }

    /// Whether its witness is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        if self.witness.starts_with('/') {
            Path::new(self.witness).exists()
        } else {
            crate::machine::find_program(self.witness).is_some()
        }
    }
}

/// To compile anything at all.
pub(crate) const BUILD: &[Package] = &[
    Package::new("gcc", "cc", "links Rust programs"),
    Package::new("libc6-dev", "/usr/include/stdio.h", "links Rust programs"),
];

/// To run the demo and the kernel tests.
pub(crate) const RUN: &[Package] = &[
    Package::new("iproute2", "ip", "makes the network namespaces and the links between them"),
    Package::new("ethtool", "ethtool", "turns off the offloads of the virtual links"),
    Package::new("nginx-light", "nginx", "a real server behind the load balancer"),
    Package::new("wrk", "wrk", "HTTP load"),
    Package::new("tcpdump", "tcpdump", "captures at the client: an independent witness"),
    Package::new("nftables", "nft", "loses packets in the soak, and is compared with"),
    Package::new("haproxy", "haproxy", "is compared with"),
    Package::new("g++", "c++", "compiles libFuzzer"),
    Package::new("curl", "curl", "speaks to the control socket from outside"),
];

/// A compiler for the kernel program, with the source of its own standard library.
pub(crate) const COMPILER: &[Package] = &[
    Package::new("rustc-web", "/usr/bin/rustc", "a compiler whose standard library source is packaged"),
    Package::new("cargo-web", "/usr/bin/cargo", "the same release of cargo"),
    Package::new(
        "rust-web-src",
        "/usr/lib/rustlib/src/rust/library/core/src/lib.rs",
        "the source of `core`, which is compiled for the kernel",
    ),
];

/// To build bpf-linker.
pub(crate) const LINKER: &[Package] = &[Package::new(
    "llvm-22-dev",
    "/usr/lib/llvm-22/bin/llvm-config",
    "the LLVM that bpf-linker is built against",
)];

/// All of the above.
pub(crate) fn all() -> impl Iterator<Item = &'static Package> {
    [BUILD, RUN, COMPILER, LINKER].into_iter().flatten()
}
