//! How many packets went through the twin, by phase and by reason, and what has not been seen often enough.

use std::collections::BTreeMap;
use std::fmt;

use bg_common::control::Phase;
use bg_common::reason::Reason;

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that were compared.
    pub packets: u64,
    /// Packets that were not, because the clock moved on meanwhile.
    pub left_out: u64,
    /// Acts of the agent.
    pub acts: BTreeMap<&'static str, u64>,
    phases: [u64; 4],
    reasons: BTreeMap<u8, u64>,
}

/// No test run ends for one of these reasons.
const UNREACHABLE: [(Reason, &str); 1] = [(
    Reason::Failed,
    "a test run leaves more room in front of a packet than an answer takes, cuts what it is told to, and the \
     routing table answers every question of a device that forwards",
)];

const PHASES: [Phase; 4] = [Phase::Off, Phase::Steady, Phase::Drain, Phase::Seal];

impl Tally {
    /// Counts a packet. The phase counts for those that got as far as the rule.
    pub(super) fn packet(&mut self, phase: Phase, reason: Reason) {
        self.packets += 1;
        *self.reasons.entry(reason as u8).or_default() += 1;
        if ruled(reason) {
            self.phases[phase as usize] += 1;
        }
    }

    /// Packets that ended for a reason.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons.get(&(reason as u8)).copied().unwrap_or(0)
    }

    /// Packets that the rule decided in a phase.
    pub const fn phase(&self, phase: Phase) -> u64 {
        self.phases[phase as usize]
    }

    /// What was not seen `least` times, and what was seen though it cannot be.
    pub fn gaps(&self, least: u64) -> Vec<String> {
        let unreachable = |reason| UNREACHABLE.iter().any(|(other, _)| *other == reason);
        let phases = PHASES.into_iter().filter(|&phase| self.phase(phase) < least);
        let reasons = Reason::ALL.iter().copied().filter(|&reason| {
            let seen = self.reason(reason);
            if unreachable(reason) { seen > 0 } else { seen < least }
        });
        phases
            .map(|phase| format!("{phase:?}: {}", self.phase(phase)))
            .chain(reasons.map(|reason| format!("{}: {}", reason.name(), self.reason(reason))))
            .collect()
    }
}

/// Whether such packets went through the rule.
const fn ruled(reason: Reason) -> bool {
    use Reason::{
        Forwarded, ForwardedByKernel, FragmentationNeeded, NoBackend, NoRoute, NotReady, PinBusy, Returned,
        ReturnedByKernel, Sealed,
    };
    matches!(
        reason,
        Forwarded
            | ForwardedByKernel
            | FragmentationNeeded
            | NoBackend
            | NoRoute
            | NotReady
            | PinBusy
            | Returned
            | ReturnedByKernel
            | Sealed
    )
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets compared, {} left out at a tick of the clock", self.packets, self.left_out)?;
        write!(f, "phases:")?;
        PHASES.iter().try_for_each(|&phase| write!(f, " {phase:?} {}", self.phase(phase)))?;
        write!(f, "\nreasons:")?;
        Reason::ALL.iter().try_for_each(|&reason| write!(f, " {} {}", reason.name(), self.reason(reason)))?;
        write!(f, "\nacts:")?;
        self.acts.iter().try_for_each(|(act, count)| write!(f, " {act} {count}"))
    }
}
