//! What an agent does, and may die in.

use bg_userspace::api::types::State;

/// Something that an agent does, and may die in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The idle environment becomes live.
    Flip,
    /// The environment before becomes live again.
    Rollback,
    /// The environment that was left is empty at last, and pins are cleared.
    Drain,
    /// A backend of the live environment fails its checks, or passes them again.
    Health,
    /// A backend of the live environment gets another weight, by a reload.
    Weigh,
    /// The last backend of each environment leaves, or joins again, by a reload.
    Member,
    /// The idle environment gets a share of the new connections.
    Share,
}

/// The share that [`Act::Share`] gives, percent.
pub const SHARE: usize = 30;

/// What decides on the acts that can be begun.
pub struct Situation {
    pub(super) state: State,
    pub(super) rests_on_base: bool,
    /// The change inside an environment that stands.
    pub(super) changed: Option<Act>,
}

impl Situation {
    /// Whether an act can be begun; one that writes a ring of its own, if `writes_ring`.
    pub fn allows(&self, act: Act, writes_ring: bool) -> bool {
        // A change inside an environment that goes back to base finds its ring there.
        let change = self.state == State::Idle && (!writes_ring || self.rests_on_base);
        match act {
            Act::Flip | Act::Share => self.state == State::Idle,
            // One at a time, because one backend of two has to stay as it is.
            Act::Health | Act::Weigh | Act::Member => change && self.changed.is_none_or(|other| other == act),
            Act::Rollback => matches!(self.state, State::Draining | State::Shifting),
            Act::Drain => matches!(self.state, State::Draining | State::RollingBack),
        }
    }
}
