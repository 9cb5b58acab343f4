//! What runs in the virtual machines: test programs of `bg-tests`, one after the other, started by a shell script
//! that is the machine's first process.

use std::fmt::Write as _;

/// The test programs, in the order in which they run.
pub(super) const SUITES: [&str; 3] = ["verifier", "packets", "netns_kernels"];

/// Where the test programs are in the machine.
pub(super) const TESTS: &str = "/tests";
/// Where `bgd` and what else they start is.
pub(super) const PROGRAMS: &str = "/programs";
/// The module that makes pairs of network devices.
pub(super) const MODULE: &str = "/lib/veth.ko";
/// What busybox is called, of its many names. Not `ip`, which has another program.
pub(super) const APPLETS: [&str; 8] = ["sh", "mount", "mkdir", "insmod", "poweroff", "uname", "sleep", "cat"];

/// The first process of the machine. It says on the second serial line what begins, what the tests print, and what
/// ends and how; the first is the kernel's own.
pub(super) fn script() -> String {
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
         echo \"@kernel $(uname -r) $(uname -v)\"\n"
    );
    for name in SUITES {
        writeln!(script, "echo '@begin {name}'; {TESTS}/{name} --test-threads=1; echo \"@end {name} $?\"")
            .expect("a string takes everything");
    }
    script.push_str("poweroff -f\n");
    script
}
