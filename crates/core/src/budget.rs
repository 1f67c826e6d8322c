//! When a rollout pauses by itself.

use windlass_types::policy::FailureRule;
use windlass_types::rollout::{BatchProgress, StatusReason};

/// The failure budget is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit: [`StatusReason::FailureRate`] or [`StatusReason::ConsecutiveFailures`].
    pub reason: StatusReason,
    /// The numbers, for people.
    pub detail: String,
}

/// Whether a rollout's failures go beyond its rule.
///
/// `latest_verdicts_failed` is the last verdicts, newest first; as many as
/// `max_consecutive_failures` are enough. The share of failures counts once `min_sample` devices
/// were attempted, and at the end of a batch however few they were. Devices that were never judged
/// are neither for nor against the image.
#[must_use]
pub fn exceeded(
    batches: &[BatchProgress],
    latest_verdicts_failed: &[bool],
    rule: &FailureRule,
    batch_ended: bool,
) -> Option<Exceeded> {
    let attempted: i64 = batches.iter().map(|batch| batch.attempted).sum();
    let failed: i64 = batches.iter().map(|batch| batch.attempted_failed).sum();
    let enough = attempted >= i64::from(rule.min_sample) || batch_ended;
    // Shares such as 0.29 of 100 are not exact in binary; a billionth of a device decides nothing.
    let allowed = rule.max_failure_rate * attempted as f64 + 1e-9;
    if enough && failed > 0 && failed as f64 > allowed {
        return Some(Exceeded {
            reason: StatusReason::FailureRate,
            detail: format!(
                "{failed} of {attempted} attempted devices failed; at most {} % may",
                (rule.max_failure_rate * 1000.0).round() / 10.0
            ),
        });
    }
    let row = usize::try_from(rule.max_consecutive_failures).unwrap_or(usize::MAX);
    let in_a_row = latest_verdicts_failed
        .iter()
        .take_while(|failed| **failed)
        .count();
    (row > 0 && in_a_row >= row).then(|| Exceeded {
        reason: StatusReason::ConsecutiveFailures,
        detail: format!("the last {row} devices that were judged failed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(parts: &[(i64, i64)]) -> Vec<BatchProgress> {
        parts
            .iter()
            .zip(1..)
            .map(|((attempted, attempted_failed), batch)| BatchProgress {
                batch,
                attempted: *attempted,
                attempted_failed: *attempted_failed,
                ..BatchProgress::default()
            })
            .collect()
    }

    fn reason(
        parts: &[(i64, i64)],
        latest: &[bool],
        rule: &FailureRule,
        ended: bool,
    ) -> Option<StatusReason> {
        exceeded(&batches(parts), latest, rule, ended).map(|e| e.reason)
    }

    #[test]
    fn a_rollout_pauses_above_its_limits_and_not_at_them() {
        let rule = FailureRule::default();
        let rate = Some(StatusReason::FailureRate);
        let row = Some(StatusReason::ConsecutiveFailures);
        type Case<'a> = (
            &'a str,
            &'a [(i64, i64)],
            &'a [bool],
            bool,
            Option<StatusReason>,
        );
        let cases: &[Case<'_>] = &[
            ("nothing was attempted", &[(0, 0)], &[], true, None),
            ("exactly the share", &[(10, 2)], &[], false, None),
            ("above the share", &[(10, 3)], &[], false, rate),
            (
                "a sample too small inside a batch",
                &[(4, 2)],
                &[],
                false,
                None,
            ),
            (
                "a small sample at the end of a batch",
                &[(1, 1)],
                &[true],
                true,
                rate,
            ),
            (
                "batches count together",
                &[(5, 0), (5, 3)],
                &[],
                false,
                rate,
            ),
            (
                "an earlier batch makes up for it",
                &[(20, 0), (5, 3)],
                &[],
                false,
                None,
            ),
            (
                "three in a row",
                &[(100, 3)],
                &[true, true, true, false],
                false,
                row,
            ),
            (
                "two in a row",
                &[(100, 3)],
                &[true, true, false, true],
                false,
                None,
            ),
            (
                "three, then a success",
                &[(100, 3)],
                &[false, true, true, true],
                false,
                None,
            ),
            (
                "the share is told first",
                &[(10, 5)],
                &[true, true, true],
                false,
                rate,
            ),
        ];
        for (name, parts, latest, ended, expected) in cases {
            assert_eq!(reason(parts, latest, &rule, *ended), *expected, "{name}");
        }
    }

    #[test]
    fn limits_can_be_turned_off_and_to_the_last_failure() {
        let off = FailureRule {
            max_failure_rate: 1.0,
            max_consecutive_failures: 0,
            ..FailureRule::default()
        };
        assert_eq!(reason(&[(9, 9)], &[true; 9], &off, true), None);
        let none = FailureRule {
            max_failure_rate: 0.0,
            min_sample: 1,
            ..FailureRule::default()
        };
        assert_eq!(
            reason(&[(1000, 1)], &[true], &none, false),
            Some(StatusReason::FailureRate)
        );
    }

    #[test]
    fn shares_that_binary_cannot_write_are_taken_as_written() {
        for percent in 1..100_u8 {
            let rule = FailureRule {
                max_failure_rate: f64::from(percent) / 100.0,
                max_consecutive_failures: 0,
                ..FailureRule::default()
            };
            let at = i64::from(percent);
            assert_eq!(reason(&[(100, at)], &[], &rule, true), None, "{percent}");
            assert!(
                reason(&[(100, at + 1)], &[], &rule, true).is_some(),
                "{percent}"
            );
        }
    }
}
