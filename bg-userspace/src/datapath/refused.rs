//! Why an interface does not take the program, what that means for the mode, and what an operator reads of it.

use aya::programs::ProgramError;
use aya::programs::xdp::XdpError;

use super::Error;

pub(super) type Source = Box<dyn std::error::Error + Send + Sync>;

/// What generic mode costs.
const COST: &str = "the kernel makes a socket buffer of every packet before the program sees it, which is most of what \
                    native mode saves";

/// An interface did not take the program.
#[derive(Debug)]
pub(super) enum Refused {
    /// It changes frames beforehand.
    Offload(Box<Error>),
    /// Its driver, or the kernel, would not have it.
    Driver {
        /// The interface.
        interface: String,
        /// The mode that was asked for.
        native: bool,
        /// What was said.
        source: Source,
        /// The number of the error, as the kernel returned it.
        number: Option<i32>,
    },
}

impl Refused {
    /// Whether another mode may be taken. Drivers without XDP say EOPNOTSUPP. Those that have it say that too, or
    /// EINVAL, ERANGE or ENOSPC, where it does not go with the MTU, the queues or the offloads that are set. What
    /// is left is no matter of the mode: rights, memory, another program.
    pub(super) fn falls_back(&self) -> bool {
        let Self::Driver { number: Some(number), native: true, .. } = self else { return false };
        [libc::EOPNOTSUPP, libc::EINVAL, libc::ERANGE, libc::ENOSPC].contains(number)
    }

    /// The error of an agent that can do nothing about it.
    pub(super) fn error(self, others_carry: bool) -> Error {
        match self {
            Self::Offload(error) => *error,
            Self::Driver { interface, native: true, source, .. } if others_carry => Error::Attach {
                name: interface,
                mode: word(true),
                help: "the other interfaces carry the program in native mode, from which nothing reaches an interface in \
                       generic mode; leave it out, or `bgd detach` (traffic stops) and start anew"
                    .to_owned(),
                source,
            },
            Self::Driver { interface, native, source, .. } => attach_error(&interface, native, source),
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offload(error) => error.fmt(f),
            Self::Driver { interface, source, number, .. } => {
                write!(f, "`{interface}` refused native mode: {} ({source})", meaning(*number))
            }
        }
    }
}

/// What a driver means by it.
fn meaning(number: Option<i32>) -> &'static str {
    match number {
        Some(libc::EOPNOTSUPP) => "its driver has no XDP, or none with its MTU and offloads",
        Some(libc::ERANGE) => {
            "its MTU, or that of the other end of a veth, is too large for its driver's XDP"
        }
        Some(libc::ENOSPC) => {
            "it has fewer receive queues than the other end of the veth has transmit queues"
        }
        _ => "its driver's XDP does not go with its MTU or queues",
    }
}

/// The number of the error that attaching ended with. aya tries an older way after EINVAL, which says the same.
pub(super) fn number(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}

/// What an operator reads where `auto` has become generic; `why` is not known of a program that was there already.
pub(super) fn fallen_back(why: Option<&str>) -> String {
    let why = why.map_or_else(
        || "as it was attached before; `bgd detach` (traffic stops) and starting anew tries native mode again".to_owned(),
        |why| format!("on all interfaces, because {why}"),
    );
    format!("the program runs in generic mode, {why}: {COST}")
}

pub(super) fn attach_error(interface: &str, native: bool, source: Source) -> Error {
    let help = if native {
        "does the driver support XDP, are its rx queues at least the peer's tx queues, is its MTU one that the driver's \
         XDP takes? `xdp_mode = \"auto\"` or \"generic\" under [node] works everywhere, slower"
    } else {
        "`dmesg | tail` may say more"
    };
    Error::Attach { name: interface.to_owned(), mode: word(native), help: help.to_owned(), source }
}

/// How a mode is called.
pub(super) const fn word(native: bool) -> &'static str {
    if native { "native" } else { "generic" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(number: i32) -> Refused {
        let source = std::io::Error::from_raw_os_error(number).into();
        Refused::Driver { interface: "eth0".to_owned(), native: true, source, number: Some(number) }
    }

    #[test]
    fn only_what_a_driver_says_of_native_mode_leads_to_the_other() {
        for number in [libc::EOPNOTSUPP, libc::EINVAL, libc::ERANGE, libc::ENOSPC] {
            assert!(driver(number).falls_back(), "{number}");
            assert!(fallen_back(Some(&driver(number).to_string())).contains("`eth0` refused native mode"));
        }
        for number in [libc::EPERM, libc::ENOMEM, libc::EBUSY, libc::EEXIST] {
            assert!(!driver(number).falls_back(), "{number}");
        }
    }

    #[test]
    fn an_interface_that_came_later_and_cannot_be_reached_is_told_apart() {
        assert!(driver(libc::EOPNOTSUPP).error(true).to_string().contains("the other interfaces carry"));
        assert!(driver(libc::EOPNOTSUPP).error(false).to_string().contains("xdp_mode = \"auto\""));
    }
}
