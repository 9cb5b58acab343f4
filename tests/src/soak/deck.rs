//! What can happen during a soak, and in which order it does: every kind of act comes up in every deal,
//! shuffled by the seed.

use super::dice::Dice;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// To the other environment.
    Flip,
    /// Back to base, if there is a flip to undo.
    Rollback,
    /// A flip in steps, which ends by the whole or is taken back.
    Canary,
    /// The connections of the environment that is being left end, and the drain is waited for.
    Conclude,
    /// SIGKILL to the agent.
    KillAgent,
    /// SIGKILL to the agent while it is at a flip.
    KillInFlip,
    /// SIGTERM to the agent.
    StopAgent,
    /// A backend's health page fails; it goes on serving.
    Ill,
    /// A backend stands still.
    Freeze,
    /// A backend's server is killed.
    Lose,
    /// A flood begins.
    Flood,
    /// Nothing for a while.
    Breathe,
}

const DEAL: &[(Act, usize)] = &[
    (Act::Flip, 4),
    (Act::Rollback, 2),
    (Act::Canary, 1),
    (Act::Conclude, 2),
    (Act::KillAgent, 1),
    (Act::KillInFlip, 1),
    (Act::StopAgent, 1),
    (Act::Ill, 1),
    (Act::Freeze, 1),
    (Act::Lose, 1),
    (Act::Breathe, 1),
];

/// The acts of a run.
pub(super) struct Deck {
    dice: Dice,
    flood: bool,
    left: Vec<Act>,
}

impl Deck {
    pub(super) fn new(seed: u64, flood: bool) -> Self {
        Self { dice: Dice::new(seed ^ 0x4445_434b), flood, left: Vec::new() }
    }

    pub(super) fn draw(&mut self) -> Act {
        if self.left.is_empty() {
            let flood = self.flood.then_some((Act::Flood, 2));
            let cards = DEAL.iter().copied().chain(flood);
            self.left = cards.flat_map(|(act, times)| std::iter::repeat_n(act, times)).collect();
            self.dice.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or(Act::Breathe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_comes_up_in_every_deal_and_floods_only_when_asked_for() {
        let deal: usize = DEAL.iter().map(|(_, times)| times).sum();
        let mut deck = Deck::new(5, false);
        for _ in 0..3 {
            let drawn: Vec<Act> = (0..deal).map(|_| deck.draw()).collect();
            assert!(DEAL.iter().all(|(act, times)| drawn.iter().filter(|one| *one == act).count() == *times));
            assert!(!drawn.contains(&Act::Flood));
        }
        let mut deck = Deck::new(5, true);
        assert!((0..deal + 2).any(|_| deck.draw() == Act::Flood));
    }
}
