//! Devices that fail images which are good elsewhere, again and again: the device is the fault, and is
//! set aside for a time.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use windlass_types::ids::RolloutId;

/// When a device is set aside, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many rollouts a device may not fail in; 0 sets nobody aside.
    pub failures: u32,
    /// Within how long.
    pub within: TimeDelta,
    /// How long it is set aside the first time; doubled for each repetition.
    pub first: TimeDelta,
    /// How long at most.
    pub longest: TimeDelta,
}

/// A failure of a device in a rollout that was good elsewhere: it was completed within its budget.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// When it was judged.
    pub judged_at: DateTime<Utc>,
    /// The rollout.
    pub rollout: RolloutId,
}

/// The last time that a device was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// How often in a row; 0 where a person lifted it.
    pub times: i64,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it ends or ended.
    pub until: DateTime<Utc>,
}

/// A device is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Penalty {
    /// Until when.
    pub until: DateTime<Utc>,
    /// How often in a row.
    pub times: i64,
    /// The rollouts that it failed in.
    pub rollouts: BTreeSet<RolloutId>,
}

/// Whether a device is set aside now. Failures that it was set aside for before do not count again, and
/// a repetition is one that comes within the rule's time after the last one ended.
#[must_use]
pub fn decide(
    failures: &[Failure],
    before: Option<&Before>,
    rule: &Rule,
    now: DateTime<Utc>,
) -> Option<Penalty> {
    let after = before.map_or(DateTime::<Utc>::MIN_UTC, |before| before.since);
    if rule.failures == 0 || before.is_some_and(|before| before.until > now) {
        return None;
    }
    let rollouts: BTreeSet<RolloutId> = failures
        .iter()
        .filter(|failure| failure.judged_at > after && failure.judged_at > now - rule.within)
        .map(|failure| failure.rollout)
        .collect();
    if rollouts.len() < usize::try_from(rule.failures).unwrap_or(usize::MAX) {
        return None;
    }
    let times = before
        .filter(|before| before.until > now - rule.within)
        .map_or(0, |before| before.times.max(0))
        + 1;
    Some(Penalty {
        until: now + length(times, rule),
        times,
        rollouts,
    })
}

fn length(times: i64, rule: &Rule) -> TimeDelta {
    let mut length = rule.first;
    for _ in 1..times {
        if length >= rule.longest {
            break;
        }
        length = length + length;
    }
    length.min(rule.longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const RULE: Rule = Rule {
        failures: 3,
        within: TimeDelta::days(30),
        first: TimeDelta::hours(24),
        longest: TimeDelta::days(30),
    };

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + day)
    }

    fn failures(of: &[(u128, i64)]) -> Vec<Failure> {
        of.iter()
            .map(|(rollout, at)| Failure {
                judged_at: day(*at),
                rollout: RolloutId(Uuid::from_u128(*rollout)),
            })
            .collect()
    }

    fn last(times: i64, since: i64, until: i64) -> Option<Before> {
        Some(Before {
            times,
            since: day(since),
            until: day(until),
        })
    }

    #[test]
    fn a_device_is_set_aside_for_failing_what_is_good_elsewhere_and_longer_each_time() {
        let hours = |hours: i64, times: i64| Some((TimeDelta::hours(hours), times));
        let three = [(1, 97), (2, 98), (3, 99)];
        let cases = [
            ("three rollouts", &three[..], None, hours(24, 1)),
            ("two rollouts", &three[..2], None, None),
            (
                "one rollout thrice",
                &[(1, 97), (1, 98), (1, 99)],
                None,
                None,
            ),
            (
                "one of them long ago",
                &[(1, 60), (2, 98), (3, 99)],
                None,
                None,
            ),
            ("set aside for them", &three, last(1, 99, 99), None),
            ("set aside already", &three, last(1, 96, 101), None),
            ("the second time", &three, last(1, 95, 96), hours(48, 2)),
            ("the third time", &three, last(2, 94, 96), hours(96, 3)),
            ("the ninth time", &three, last(8, 90, 96), hours(24 * 30, 9)),
            (
                "a person lifted the last",
                &three,
                last(0, 95, 96),
                hours(24, 1),
            ),
            (
                "the last is long over",
                &three,
                last(4, 50, 60),
                hours(24, 1),
            ),
        ];
        for (name, of, before, expected) in cases {
            let found = decide(&failures(of), before.as_ref(), &RULE, day(100));
            let found = found.map(|penalty| (penalty.until - day(100), penalty.times));
            assert_eq!(found, expected, "{name}");
        }
        let never = Rule {
            failures: 0,
            ..RULE
        };
        assert_eq!(decide(&failures(&three), None, &never, day(100)), None);
    }

    proptest! {
        #[test]
        fn a_penalty_has_an_end_and_is_never_shorter_than_the_one_before(
            of in prop::collection::vec((0..6_u128, 60..100_i64), 0..12), times in 0..70_i64,
            since in 68..90_i64
        ) {
            let before = last(times, since, since + 3);
            if let Some(found) = decide(&failures(&of), before.as_ref(), &RULE, day(100)) {
                prop_assert!(found.until > day(100));
                prop_assert!(found.until <= day(100) + RULE.longest);
                prop_assert_eq!(found.times, times + 1);
                prop_assert!(length(found.times, &RULE) >= length(times, &RULE));
                prop_assert!(found.rollouts.len() >= 3);
            }
        }

        #[test]
        fn the_order_of_failures_does_not_matter(
            of in prop::collection::vec((0..6_u128, 60..100_i64), 0..12)
        ) {
            let mut sorted = failures(&of);
            sorted.sort();
            prop_assert_eq!(
                decide(&failures(&of), None, &RULE, day(100)),
                decide(&sorted, None, &RULE, day(100))
            );
        }
    }
}
