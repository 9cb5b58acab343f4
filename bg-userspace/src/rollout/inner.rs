//! Changes inside the live environment: which backends should take new connections, and whether the word
//! must change for it.

use std::collections::BTreeSet;

use bg_common::abi::BackendId;

/// What is known of the backends of the live environment and of the whole deployment.
#[derive(Clone, Debug)]
pub struct Change {
    /// Backends of the live environment that may take new connections, of all services.
    pub usable: BTreeSet<BackendId>,
    /// Whether every service has at least one of them.
    pub every_service: bool,
    /// Backends that the current rings name.
    pub current: BTreeSet<BackendId>,
    /// Rings over the usable backends would be other than the current ones, by their weights.
    pub reweighted: bool,
    /// Backends of the whole deployment that fail.
    pub failing: usize,
    /// Backends of the whole deployment.
    pub total: usize,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The rings are as they should be.
    Nothing,
    /// New rings over the usable backends.
    Rings,
    /// Something is badly wrong, and more likely here than there: nothing changes; the text is for the
    /// operator.
    Alarm(String),
}

/// Whether the rings must change.
#[must_use]
pub fn change(facts: &Change) -> Verdict {
    if facts.usable == facts.current && !facts.reweighted {
        return Verdict::Nothing;
    }
    let shrinks = !facts.current.is_subset(&facts.usable);
    if shrinks && facts.failing * 2 > facts.total {
        return Verdict::Alarm(format!(
            "{} of {} backends fail their checks together; that is more likely a fault of this node or its network, so routing is left alone",
            facts.failing, facts.total
        ));
    }
    if !facts.every_service {
        return Verdict::Alarm(
            "a service has no healthy backend left in the live environment; its connections keep going where they went"
                .to_owned(),
        );
    }
    Verdict::Rings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(usable: &[u16], current: &[u16], failing: usize) -> Change {
        Change {
            usable: usable.iter().copied().collect(),
            every_service: !usable.is_empty(),
            current: current.iter().copied().collect(),
            reweighted: false,
            failing,
            total: 4,
        }
    }

    #[test]
    fn a_failing_backend_leaves_and_one_that_recovers_comes_back() {
        assert_eq!(change(&facts(&[0], &[0, 1], 1)), Verdict::Rings);
        assert_eq!(change(&facts(&[0, 1], &[0], 0)), Verdict::Rings);
        assert_eq!(change(&facts(&[0, 1], &[0, 1], 2)), Verdict::Nothing);
    }

    #[test]
    fn more_than_half_failing_together_changes_nothing() {
        assert!(matches!(change(&facts(&[0], &[0, 1], 3)), Verdict::Alarm(_)));
        assert_eq!(change(&facts(&[0], &[0, 1], 2)), Verdict::Rings);
    }

    #[test]
    fn a_recovery_is_taken_even_while_most_fail() {
        assert_eq!(change(&facts(&[0, 1], &[0], 3)), Verdict::Rings);
    }

    #[test]
    fn another_weight_alone_makes_new_rings() {
        assert_eq!(change(&Change { reweighted: true, ..facts(&[0, 1], &[0, 1], 0) }), Verdict::Rings);
    }

    #[test]
    fn the_last_backend_stays() {
        assert!(matches!(change(&facts(&[], &[0], 1)), Verdict::Alarm(_)));
    }
}
