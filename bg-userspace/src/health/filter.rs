//! Rise and fall: one odd probe changes nothing.

use super::Verdict;

/// What a failed probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In a phrase.
    pub(super) reason: String,
    /// Nobody accepts connections there, or there is no such host.
    pub(super) refused: bool,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), refused: false }
    }
}

/// Counts results in a row. Begins as unknown, and leaves that on `rise` or `fall` like any other
/// state.
#[derive(Debug)]
pub(super) struct Filter {
    rise: u32,
    fall: u32,
    successes: u32,
    failures: u32,
    verdict: Option<Verdict>,
}

impl Filter {
    pub(super) const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, successes: 0, failures: 0, verdict: None }
    }

    /// The state after this result; nothing while it is unknown.
    pub(super) fn see(&mut self, result: Result<(), Failure>) -> Option<Verdict> {
        match result {
            Ok(()) => self.success(),
            Err(failure) => self.failure(failure),
        }
        self.verdict.clone()
    }

    fn success(&mut self) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes >= self.rise {
            self.verdict = Some(Verdict::Healthy);
        } else if let Some(Verdict::Unhealthy { refused, .. }) = &mut self.verdict {
            *refused = false;
        }
    }

    fn failure(&mut self, Failure { reason, refused }: Failure) {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        let already = matches!(self.verdict, Some(Verdict::Unhealthy { .. }));
        if already || self.failures >= self.fall {
            self.verdict = Some(Verdict::Unhealthy { reason, refused });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(reason: &str) -> Result<(), Failure> {
        Err(Failure::new(reason))
    }

    fn refuse() -> Result<(), Failure> {
        let reason = "connection refused".to_owned();
        Err(Failure { reason, refused: true })
    }

    fn unhealthy(reason: &str, refused: bool) -> Verdict {
        let reason = reason.to_owned();
        Verdict::Unhealthy { reason, refused }
    }

    #[test]
    fn target_is_unknown_until_rise_successes() {
        let mut filter = Filter::new(2, 3);
        assert_eq!(filter.see(Ok(())), None);
        assert_eq!(filter.see(Ok(())), Some(Verdict::Healthy));
    }

    #[test]
    fn one_success_is_enough_at_the_start_if_rise_is_one() {
        assert_eq!(Filter::new(1, 3).see(Ok(())), Some(Verdict::Healthy));
    }

    #[test]
    fn target_is_unknown_until_fall_failures() {
        let mut filter = Filter::new(2, 2);
        assert_eq!(filter.see(fail("a")), None);
        assert_eq!(filter.see(Ok(())), None);
        assert_eq!(filter.see(fail("b")), None);
        assert_eq!(filter.see(fail("c")), Some(unhealthy("c", false)));
    }

    #[test]
    fn fewer_failures_than_fall_leave_it_healthy() {
        let mut filter = Filter::new(1, 3);
        filter.see(Ok(()));
        for _ in 0..5 {
            assert_eq!(filter.see(fail("x")), Some(Verdict::Healthy));
            assert_eq!(filter.see(fail("x")), Some(Verdict::Healthy));
            assert_eq!(filter.see(Ok(())), Some(Verdict::Healthy));
        }
    }

    #[test]
    fn fewer_successes_than_rise_leave_it_unhealthy_with_the_last_reason() {
        let mut filter = Filter::new(2, 1);
        assert_eq!(filter.see(refuse()), Some(unhealthy("connection refused", true)));
        assert_eq!(filter.see(Ok(())), Some(unhealthy("connection refused", false)));
        assert_eq!(filter.see(fail("slow")), Some(unhealthy("slow", false)));
        assert_eq!(filter.see(Ok(())), Some(unhealthy("slow", false)));
        assert_eq!(filter.see(Ok(())), Some(Verdict::Healthy));
    }

    proptest::proptest! {
        #[test]
        fn state_changes_only_after_a_full_run(
            rise in 1_u32..5, fall in 1_u32..5, results in proptest::collection::vec(proptest::bool::ANY, 0..60),
        ) {
            let mut filter = Filter::new(rise, fall);
            let mut before = None;
            for (index, &good) in results.iter().enumerate() {
                let after = filter.see(if good { Ok(()) } else { fail("x") }).map(|v| v == Verdict::Healthy);
                if after != before {
                    let needed = if good { rise } else { fall } as usize;
                    proptest::prop_assert_eq!(after, Some(good));
                    proptest::prop_assert!(index + 1 >= needed);
                    proptest::prop_assert!(results[index + 1 - needed..=index].iter().all(|&r| r == good));
                }
                before = after;
            }
        }
    }
}
