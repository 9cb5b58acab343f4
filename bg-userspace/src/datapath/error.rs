//! What can go wrong between the agent and the kernel, each with what an operator can do about it.

use std::path::{Path, PathBuf};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the data plane's control side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not enough rights.
    #[error("bgd needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: {0}")]
    Rights(&'static str),
    /// The pin directory is not on a bpffs.
    #[error(
        "{} is not on a bpf file system, so nothing can be pinned there\n  help: mount -t bpf bpf {}",
        directory.display(), mount.display()
    )]
    NoBpffs {
        /// The pin directory.
        directory: PathBuf,
        /// Where a bpffs is missing.
        mount: PathBuf,
    },
    /// A backend of mode dsr is not on a link of this node.
    #[error(
        "{backend}, a backend with mode = \"dsr\", is behind the router {gateway}, which would send packets to the VIP back here\n  help: use mode = \"ipip\", or bring the backend to a link of this node; `ip route get {backend}` shows the way"
    )]
    BehindRouter {
        /// The backend.
        backend: std::net::IpAddr,
        /// The router.
        gateway: std::net::IpAddr,
    },
    /// The host has a bpffs for the pin directory, which cannot be seen from here.
    #[error(
        "{} is not on a bpf file system here, but process 1 has one on {}: bgd was started in a mount namespace of its own, as `ip netns exec` makes one\n  help: nsenter --net=/run/netns/NAME bgd ... enters a network namespace and no other",
        directory.display(), hidden.display()
    )]
    HiddenBpffs {
        /// The pin directory.
        directory: PathBuf,
        /// The mount point of the host's bpffs.
        hidden: PathBuf,
    },
    /// The pin directory is on a bpffs that ends with whoever started the agent.
    #[error(
        "{} is on a bpf file system that process 1 does not have: it was mounted in a mount namespace of bgd's own, and what is pinned there would vanish with it, and end all traffic\n  help: {}",
        directory.display(), private_help(hosts.as_deref())
    )]
    PrivateBpffs {
        /// The pin directory.
        directory: PathBuf,
        /// Where the host has a bpffs, if it has one.
        hosts: Option<PathBuf>,
    },
    /// Whether the bpffs is the host's cannot be told.
    #[error(
        "it cannot be told whether {} is on the host's bpf file system ({why}); on another one, what is pinned would vanish with it, and end all traffic\n  help: let bgd see process 1: in a container `--pid=host` and the host's /sys/fs/bpf, in a systemd unit no `ProtectProc=`",
        directory.display()
    )]
    UnknownBpffs {
        /// The pin directory.
        directory: PathBuf,
        /// What is in the way.
        why: String,
    },
    /// Another agent holds the pin directory.
    #[error(
        "another bgd is running on this node: it holds {}\n  help: stop that one first, or give this one another `pin_dir` and other interfaces",
        .0.display()
    )]
    Locked(PathBuf),
    /// No such interface.
    #[error(
        "there is no interface `{name}` here\n  help: `ip link` lists them ({found}); mend `interfaces` or `vip_interface` under [node]"
    )]
    NoInterface {
        /// The name.
        name: String,
        /// Those that exist.
        found: String,
    },
    /// Something else sits on the interface.
    #[error(
        "interface `{name}` carries another XDP program already (id {program})\n  help: `ip link set dev {name} xdp off` removes one that nobody needs"
    )]
    Busy {
        /// The interface.
        name: String,
        /// Its program.
        program: u32,
    },
    /// The kernel would not attach the program.
    #[error("attaching to `{name}` in {mode} mode: {source}\n  help: {help}")]
    Attach {
        /// The interface.
        name: String,
        /// native or generic.
        mode: &'static str,
        /// What to try.
        help: String,
        /// Why.
        source: Source,
    },
    /// An interface changes frames before the program sees them.
    #[error("`{name}` {what}, which would break what the program forwards\n  help: {help}")]
    Offload {
        /// The interface.
        name: String,
        /// What it does.
        what: String,
        /// What mends it.
        help: String,
    },
    /// A file operation failed.
    #[error("{act} {}: {source}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An operation on a map failed.
    #[error("{act}, map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: Source,
    },
    /// The kernel refused the program, and lacks something that it needs.
    #[error(
        "this kernel lacks {what}, which bgd cannot do without: {source}\n  help: Debian's kernels have it from 6.1 on; where the kernel has it, a filter of system calls, of a container perhaps, is in the way"
    )]
    Lacks {
        /// What is missing.
        what: String,
        /// What the kernel said.
        source: Source,
    },
    /// The kernel refused the program.
    #[error("the kernel refused the program: {0}")]
    Program(#[source] Source),
    /// Some maps are pinned and some are not.
    #[error(
        "{} holds some of bluegreen's maps but not {missing}; traffic goes on by what is attached\n  help: somebody removed a pin; `bgd detach` clears the rest (traffic stops), then start bgd again",
        directory.display()
    )]
    Incomplete {
        /// The pin directory.
        directory: PathBuf,
        /// A map that is not there.
        missing: &'static str,
    },
    /// A pinned map has another shape.
    #[error(
        "{}: its {what} is {found}, this bgd needs {wanted}; nothing was touched and traffic goes on\n  help: [limits] are fixed at the first load: put the old values back, or `bgd detach` (traffic stops) and start anew",
        path.display()
    )]
    Shape {
        /// The pin.
        path: PathBuf,
        /// Which property.
        what: &'static str,
        /// What this agent needs.
        wanted: u32,
        /// What is there.
        found: u32,
    },
    /// The configuration does not fit what is loaded.
    #[error(
        "the configuration does not fit what is loaded: {what}; nothing was touched and traffic goes on\n  help: {help}"
    )]
    Mismatch {
        /// The difference.
        what: String,
        /// What to do.
        help: String,
    },
    /// A table has no room.
    #[error("no room in {table}: {what}\n  help: raise {limit} under [limits]")]
    Full {
        /// The table.
        table: &'static str,
        /// What did not fit.
        what: String,
        /// The limit.
        limit: &'static str,
    },
    /// A kernel setting is wrong.
    #[error("{path} is {found}, and packets that the kernel must forward would be lost\n  help: {help}")]
    Setting {
        /// The file under /proc/sys.
        path: String,
        /// Its value.
        found: String,
        /// The command that mends it.
        help: String,
    },
    /// A service needs IPv6, and an interface has none.
    #[error("{path} is {found}, and a service has an IPv6 address\n  help: {help}")]
    NoIpv6 {
        /// The file under /proc/sys.
        path: String,
        /// Its value, or that it is not there.
        found: String,
        /// What mends it.
        help: String,
    },
    /// The journal does not hold what it should.
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    /// A netlink request failed.
    #[error("{act}: {source}")]
    Netlink {
        /// What was tried.
        act: String,
        /// Why not.
        source: Source,
    },
}

fn private_help(hosts: Option<&Path>) -> String {
    let start = "start bgd outside of it (`nsenter --net=/run/netns/NAME bgd ...` enters a network namespace and no other)";
    match hosts {
        Some(at) => format!("{start}, with `pin_dir` on the host's, {}", at.display()),
        None => format!(
            "mount one for the host, `nsenter --mount=/proc/1/ns/mnt mount -t bpf bpf /sys/fs/bpf`; then {start}"
        ),
    }
}
