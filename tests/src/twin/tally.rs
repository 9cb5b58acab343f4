//! How many packets went through the twin, by version of IP, phase and reason, and what has not been seen
//! often enough.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use bg_common::abi::mode;
use bg_common::control::Phase;
use bg_common::meta::Meta;
use bg_common::reason::Reason;

use super::world::{self, SERVICES};

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that were compared.
    pub packets: u64,
    /// Packets that were not, because the clock moved on meanwhile.
    pub left_out: u64,
    /// Acts of the agent.
    pub acts: BTreeMap<&'static str, u64>,
    /// Over IPv4, and over IPv6.
    versions: [Seen; 2],
    /// Over neither.
    others: u64,
    /// Over IPv6, with extension headers that were walked: sent on.
    walked: u64,
    /// Pins of flows whose replies are not seen, each once at every look at them: half pins, and established ones.
    one_way: [u64; 2],
}

/// What was seen of one version of IP.
#[derive(Debug, Default)]
struct Seen {
    phases: [u64; 4],
    reasons: BTreeMap<u8, u64>,
    /// Later fragments that followed a first one.
    followed: u64,
    /// Of those to services of mode dsr, and of mode ipip.
    direct: [BTreeMap<u8, u64>; 2],
}

/// What comes of packets to services of modes dsr and ipip.
const DIRECT: [(&str, u8, &[Reason]); 2] = [
    (
        "dsr",
        mode::DSR,
        &[
            Reason::Forwarded,
            Reason::NoNeighbour,
            Reason::NotOnLink,
            Reason::FragmentationNeeded,
            Reason::DirectFragment,
            Reason::ErrorForwarded,
        ],
    ),
    (
        "ipip",
        mode::IPIP,
        &[
            Reason::Encapsulated,
            Reason::ForwardedByKernel,
            Reason::FragmentationNeeded,
            Reason::TimeExceeded,
            Reason::NoRoute,
            Reason::DirectFragment,
            Reason::ErrorForwarded,
            Reason::ErrorTtl,
        ],
    ),
];

/// No test run ends for one of these reasons, over these versions of IP.
const UNREACHABLE: [(Reason, &[&str], &str); 4] = [
    (
        Reason::Failed,
        &NAMES,
        "a test run leaves more room in front of a packet than an answer takes, cuts what it is told to, and the \
         routing table answers every question of a device that forwards",
    ),
    (Reason::Hairpin, &NAMES, "no client of this world is a backend"),
    (Reason::Unanswered, &NAMES, "no more is answered here than a processor may answer"),
    (Reason::NoChecksum, &[NAMES[V4]], "over IPv4 a datagram need not have one"),
];

const PHASES: [Phase; 4] = [Phase::Off, Phase::Steady, Phase::Drain, Phase::Seal];

impl Tally {
    /// Counts a packet. The phase counts for those that got as far as the rule.
    pub(super) fn packet(&mut self, phase: Phase, reason: Reason, bytes: &[u8]) {
        self.packets += 1;
        let Some((version, ip)) = payload(bytes) else {
            self.others += 1;
            return;
        };
        let seen = &mut self.versions[version];
        *seen.reasons.entry(reason as u8).or_default() += 1;
        for ((_, mode, _), reasons) in DIRECT.iter().zip(&mut seen.direct) {
            if mode_of(version, ip) == Some(*mode) {
                *reasons.entry(reason as u8).or_default() += 1;
            }
        }
        if later_fragment(version, ip) && matches!(reason, Reason::Forwarded | Reason::Returned) {
            seen.followed += 1;
        }
        if ruled(reason) {
            seen.phases[phase as usize] += 1;
            self.walked +=
                u64::from(version == V6 && ip.get(6).is_some_and(|next| ![TCP, UDP].contains(next)));
        }
    }

    /// Counts a pin that is there.
    pub(super) fn pin(&mut self, meta: Meta, established: bool) {
        if meta.is_one_way() {
            self.one_way[usize::from(established)] += 1;
        }
    }

    /// What was not seen `least` times, and what was seen though it cannot be.
    pub fn gaps(&self, least: u64) -> Vec<String> {
        let mut gaps = Vec::new();
        for (name, seen) in NAMES.into_iter().zip(&self.versions) {
            for phase in PHASES {
                let count = seen.phases[phase as usize];
                if count < least {
                    gaps.push(format!("{phase:?} over {name}: {count}"));
                }
            }
            if seen.followed < least {
                gaps.push(format!("later fragments that followed over {name}: {}", seen.followed));
            }
            for ((mode, _, reasons), direct) in DIRECT.iter().zip(&seen.direct) {
                for reason in *reasons {
                    let count = direct.get(&(*reason as u8)).copied().unwrap_or(0);
                    if count < least / 5 {
                        gaps.push(format!("{} in mode {mode} over {name}: {count}", reason.name()));
                    }
                }
            }
            for &reason in Reason::ALL {
                let count = seen.of(reason);
                let unreachable =
                    UNREACHABLE.iter().any(|(other, over, _)| *other == reason && over.contains(&name));
                if if unreachable { count > 0 } else { count < least } {
                    gaps.push(format!("{} over {name}: {count}", reason.name()));
                }
            }
        }
        if self.one_way.iter().any(|&count| count < least) {
            gaps.push(format!("pins of flows whose replies are not seen: {:?}", self.one_way));
        }
        if self.walked < least {
            gaps.push(format!("extension headers that were walked: {}", self.walked));
        }
        gaps
    }
}

impl Seen {
    fn of(&self, reason: Reason) -> u64 {
        self.reasons.get(&(reason as u8)).copied().unwrap_or(0)
    }
}

/// The version of IP of a frame, and the packet in it, behind up to two tags.
fn payload(frame: &[u8]) -> Option<(usize, &[u8])> {
    let tags = [0, 4]
        .into_iter()
        .take_while(|at| matches!(frame.get(12 + at..14 + at), Some([0x81, 0] | [0x88, 0xa8])));
    let (ethertype, payload) = frame.get(12 + 4 * tags.count()..)?.split_at_checked(2)?;
    match ethertype {
        [0x08, 0x00] => Some((V4, payload)),
        [0x86, 0xdd] => Some((V6, payload)),
        _ => None,
    }
}

/// The mode of the first service at a packet's destination.
fn mode_of(version: usize, ip: &[u8]) -> Option<u8> {
    let destination = ip.get(if version == V4 { 16..20 } else { 24..40 })?;
    let at = |service: &&world::Service| match service.at.ip() {
        IpAddr::V4(vip) => version == V4 && vip.octets() == destination,
        IpAddr::V6(vip) => version == V6 && vip.octets() == destination,
    };
    SERVICES.iter().find(at).map(|service| service.mode)
}

/// Whether a packet is a later fragment, as far as its first headers say.
fn later_fragment(version: usize, ip: &[u8]) -> bool {
    let offset = match version {
        V4 => ip.get(6..8).map(|bytes| [bytes[0] & 0x1f, bytes[1]]),
        _ if ip.get(6) == Some(&FRAGMENT) => ip.get(42..44).map(|bytes| [bytes[0], bytes[1] & 0xf8]),
        _ => None,
    };
    offset.is_some_and(|offset| offset != [0; 2])
}

const FRAGMENT: u8 = 44;
const V4: usize = 0;
const V6: usize = 1;
const NAMES: [&str; 2] = ["IPv4", "IPv6"];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether such packets went through the rule.
const fn ruled(reason: Reason) -> bool {
    use Reason::{
        Encapsulated, Forwarded, ForwardedByKernel, FragmentationNeeded, NoBackend, NoNeighbour, NoRoute,
        NotOnLink, NotReady, PinBusy, Refused, Returned, ReturnedByKernel, Sealed,
    };
    matches!(
        reason,
        Encapsulated
            | Forwarded
            | ForwardedByKernel
            | FragmentationNeeded
            | NoBackend
            | NoNeighbour
            | NoRoute
            | NotOnLink
            | NotReady
            | PinBusy
            | Refused
            | Returned
            | ReturnedByKernel
            | Sealed
    )
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets compared, {} left out at a tick of the clock", self.packets, self.left_out)?;
        for (name, seen) in NAMES.into_iter().zip(&self.versions) {
            write!(f, "{name}, phases:")?;
            PHASES.iter().try_for_each(|&phase| write!(f, " {phase:?} {}", seen.phases[phase as usize]))?;
            write!(f, "\n  reasons:")?;
            Reason::ALL.iter().try_for_each(|&reason| write!(f, " {} {}", reason.name(), seen.of(reason)))?;
            writeln!(f, "; later fragments that followed: {}", seen.followed)?;
            for ((mode, _, reasons), direct) in DIRECT.iter().zip(&seen.direct) {
                write!(f, "  mode {mode}:")?;
                let count = |reason: Reason| direct.get(&(reason as u8)).copied().unwrap_or(0);
                reasons.iter().try_for_each(|&reason| write!(f, " {} {}", reason.name(), count(reason)))?;
                writeln!(f)?;
            }
        }
        write!(f, "neither: {}; extension headers that were walked: {}", self.others, self.walked)?;
        write!(f, "; pins of flows whose replies are not seen: {:?}", self.one_way)?;
        write!(f, "\nacts:")?;
        self.acts.iter().try_for_each(|(act, count)| write!(f, " {act} {count}"))
    }
}
