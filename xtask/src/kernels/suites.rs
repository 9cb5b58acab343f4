//! What runs in the virtual machines: test programs of `bg-tests`, one after the other, started by a shell script
//! that is the machine's first process.

use std::fmt::Write as _;

/// How much runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// What `cargo xtask test` has the time for.
    Quick,
    /// All of it.
    Whole,
}

/// A test program.
pub(super) struct Suite {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it is in the quick selection.
    quick: bool,
}

/// The test programs, in the order in which they run.
const SUITES: [Suite; 3] = [
    Suite { name: "verifier", quick: true },
    Suite { name: "packets", quick: true },
    Suite { name: "netns_kernels", quick: false },
];

/// Where the test programs are in the machine.
pub(super) const TESTS: &str = "/tests";
/// Where `bgd` and what else they start is.
pub(super) const PROGRAMS: &str = "/programs";
/// The module that makes pairs of network devices.
pub(super) const MODULE: &str = "/lib/veth.ko";
/// What busybox is called, of its many names. Not `ip`, which has another program.
pub(super) const APPLETS: [&str; 8] = ["sh", "mount", "mkdir", "insmod", "poweroff", "uname", "sleep", "cat"];

/// The suites of a selection.
pub(super) fn of(selection: Selection) -> impl Iterator<Item = &'static Suite> {
    SUITES.iter().filter(move |suite| selection == Selection::Whole || suite.quick)
}

/// The first process of the machine. It says on the second serial line what begins, what the tests print, and what
/// ends and how; the first is the kernel's own.
pub(super) fn script(selection: Selection) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         export PATH=/bin HOME=/ TMPDIR=/tmp BLUEGREEN_BIN_DIR={PROGRAMS}\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tmpfs tmp /tmp\n\
         mount -t tmpfs run /run\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         exec >/dev/ttyS1 2>&1 </dev/null\n\
         ulimit -n 16384\n\
         insmod {MODULE}\n\
         ip link set lo up\n\
         echo \"@kernel $(uname -r)\"\n"
    );
    for suite in of(selection) {
        let name = suite.name;
        writeln!(script, "echo '@begin {name}'; {TESTS}/{name} --test-threads=1; echo \"@end {name} $?\"")
            .expect("a string takes everything");
    }
    script.push_str("poweroff -f\n");
    script
}
