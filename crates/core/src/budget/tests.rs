//! What is beyond a budget and what is not.

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
    let count = FailureCount {
        batches: batches(parts),
        latest_failed: latest.to_vec(),
        ..FailureCount::default()
    };
    let present = i64::try_from(parts.len()).unwrap();
    exceeded(&count, rule, present, ended).map(|e| e.reason)
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

#[test]
fn one_batch_can_have_a_limit_of_its_own() {
    let rule = FailureRule {
        max_failure_rate: 0.5,
        max_batch_failure_rate: Some(0.1),
        max_consecutive_failures: 0,
        ..FailureRule::default()
    };
    let rate = Some(StatusReason::FailureRate);
    type Case<'a> = (&'a str, &'a [(i64, i64)], bool, Option<StatusReason>);
    let cases: &[Case<'_>] = &[
        ("at its limit", &[(50, 0), (10, 1)], true, None),
        ("above it", &[(50, 0), (10, 2)], false, rate),
        (
            "too few of a running batch",
            &[(50, 0), (4, 1)],
            false,
            None,
        ),
        ("few, at its end", &[(50, 0), (4, 1)], true, rate),
        (
            "a late verdict of a small batch before",
            &[(4, 1), (50, 0)],
            false,
            rate,
        ),
    ];
    for (name, parts, ended, expected) in cases {
        assert_eq!(reason(parts, &[], &rule, *ended), *expected, "{name}");
    }
}

#[test]
fn the_budget_of_one_batch_names_that_batch() {
    let rule = FailureRule {
        max_failure_rate: 0.5,
        max_batch_failure_rate: Some(0.1),
        max_consecutive_failures: 0,
        ..FailureRule::default()
    };
    let found = |parts: &[(i64, i64)]| {
        let count = FailureCount {
            batches: batches(parts),
            ..FailureCount::default()
        };
        let present = i64::try_from(parts.len()).unwrap();
        exceeded(&count, &rule, present, false).unwrap().batch
    };
    assert_eq!(found(&[(10, 2), (50, 0)]), Some(1), "an earlier one");
    assert_eq!(found(&[(50, 0), (10, 2)]), Some(2), "the present one");
    assert_eq!(found(&[(50, 30), (10, 2)]), None, "the whole rollout's");
}

#[test]
fn a_device_each_of_two_rare_classes_does_not_condemn_an_image_at_the_end_of_a_batch() {
    let rule = FailureRule {
        quarantine_by: Some("model".to_owned()),
        ..FailureRule::default()
    };
    let cases = [
        (
            "two of two rare classes",
            vec![("a", 1, 1), ("b", 1, 1), ("c", 98, 0)],
            None,
        ),
        ("one of one", vec![("a", 1, 1), ("c", 98, 0)], None),
        (
            "few, and the whole is beyond its budget",
            vec![("a", 1, 1), ("b", 1, 1), ("c", 2, 0)],
            Some(None),
        ),
        (
            "enough of one class",
            vec![("a", 5, 2), ("c", 95, 0)],
            Some(Some("a".to_owned())),
        ),
    ];
    for (name, classes, expected) in cases {
        let whole = classes
            .iter()
            .fold((0, 0), |sum, (_, of, bad)| (sum.0 + of, sum.1 + bad));
        let count = FailureCount {
            batches: batches(&[whole]),
            classes: classes
                .into_iter()
                .map(|(value, attempted, failed)| class(value, attempted, failed))
                .collect(),
            ..FailureCount::default()
        };
        let found = exceeded(&count, &rule, 1, true);
        assert_eq!(found.map(|e| e.class), expected, "{name}");
    }
}

#[test]
fn silence_and_the_environment_have_budgets_of_their_own_and_blame_no_image() {
    let rule = FailureRule::default();
    let silent = Some(StatusReason::WentSilent);
    let environment = Some(StatusReason::EnvironmentFailures);
    let cases = [
        ("nobody", 10, 0, 0, false, None),
        ("as many silent as may be", 10, 2, 0, false, None),
        ("more", 10, 3, 0, false, silent),
        ("too few admitted inside a batch", 4, 2, 0, false, None),
        ("few, at its end", 4, 2, 0, true, silent),
        ("half failed for want of a registry", 10, 0, 5, false, None),
        ("more than half", 10, 0, 6, false, environment),
        ("the only one, at the end", 1, 0, 1, true, environment),
    ];
    for (name, admitted, went_silent, environment_failed, ended, expected) in cases {
        let count = FailureCount {
            batches: vec![BatchProgress {
                batch: 1,
                went_silent,
                environment_failed,
                ..BatchProgress::default()
            }],
            admitted,
            ..FailureCount::default()
        };
        let found = exceeded(&count, &rule, 1, ended);
        assert_eq!(found.as_ref().map(|e| e.reason), expected, "{name}");
        assert!(found.is_none_or(|e| !e.blames_image()), "{name}");
    }
}

fn class(value: &str, attempted: i64, failed: i64) -> ClassCount {
    ClassCount {
        value: value.to_owned(),
        attempted,
        failed,
        ..ClassCount::default()
    }
}

#[test]
fn a_class_is_held_apart_until_a_second_one_says_that_it_is_the_image() {
    let rule = FailureRule {
        quarantine_by: Some("model".to_owned()),
        max_consecutive_failures: 0,
        ..FailureRule::default()
    };
    let held = |value| ClassCount {
        quarantined: true,
        ..class(value, 0, 0)
    };
    let own = |value: &str| Some(Some(value.to_owned()));
    let cases = [
        (
            "within all budgets",
            vec![class("a", 10, 1), class("b", 10, 2)],
            (20, 3),
            None,
        ),
        (
            "one is beyond, and the whole with it",
            vec![class("a", 10, 9), class("b", 10, 0)],
            (20, 9),
            own("a"),
        ),
        (
            "devices without the tag are a class",
            vec![class("", 10, 9), class("b", 10, 0)],
            (20, 9),
            own(""),
        ),
        (
            "two are beyond",
            vec![class("a", 10, 9), class("b", 10, 5)],
            (20, 14),
            Some(None),
        ),
        (
            "one after another",
            vec![held("a"), class("b", 10, 5), class("c", 90, 0)],
            (100, 5),
            Some(None),
        ),
        (
            "the others are within theirs",
            vec![held("a"), class("b", 10, 2)],
            (10, 2),
            None,
        ),
        (
            "many small ones together",
            vec![class("a", 4, 2), class("b", 4, 2), class("c", 4, 2)],
            (12, 6),
            Some(None),
        ),
        (
            "the only class is the whole",
            vec![class("a", 10, 9)],
            (10, 9),
            Some(None),
        ),
    ];
    for (name, classes, whole, expected) in cases {
        let count = FailureCount {
            batches: batches(&[whole]),
            classes,
            ..FailureCount::default()
        };
        let found = exceeded(&count, &rule, 1, false);
        assert_eq!(found.map(|e| e.class), expected, "{name}");
    }
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn rules()(
            max in 0.0..=1.0, of_batch in prop::option::of(0.0..=1.0), silent in 0.0..=1.0,
            environment in 0.0..=1.0, min_sample in 1..9_u32, row in 0..4_u32,
            by in prop::option::of(Just("model".to_owned()))
        ) -> FailureRule {
            FailureRule {
                max_failure_rate: max,
                max_batch_failure_rate: of_batch,
                max_silent_rate: silent,
                max_environment_failure_rate: environment,
                min_sample,
                max_consecutive_failures: row,
                quarantine_by: by,
                ..FailureRule::default()
            }
        }
    }

    prop_compose! {
        fn counts()(
            batches in prop::collection::vec((0..20_i64, 0..20_i64, 0..5_i64, 0..5_i64), 1..4),
            latest_failed in prop::collection::vec(any::<bool>(), 0..4),
            more in 0..30_i64
        ) -> FailureCount {
            let batches: Vec<_> = batches.into_iter().zip(1..).map(|((good, bad, silent, env), batch)| {
                BatchProgress {
                    batch,
                    attempted: good + bad,
                    attempted_failed: bad,
                    went_silent: silent,
                    environment_failed: env,
                    ..BatchProgress::default()
                }
            }).collect();
            let admitted = more + batches.iter()
                .map(|b| b.attempted + b.went_silent + b.environment_failed).sum::<i64>();
            FailureCount { batches, latest_failed, admitted, classes: Vec::new() }
        }
    }

    proptest! {
        /// A device that was healthy and had failed instead never makes a rollout go on.
        #[test]
        fn one_failure_more_never_brings_a_rollout_back_within_its_budget(
            rule in rules(), count in counts(), at in 0..3_usize, ended in any::<bool>()
        ) {
            let present = i64::try_from(count.batches.len()).unwrap();
            if exceeded(&count, &rule, present, ended).is_some() {
                let mut worse = count;
                let at = at % worse.batches.len();
                let batch = &mut worse.batches[at];
                if batch.attempted_failed < batch.attempted {
                    batch.attempted_failed += 1;
                }
                if let Some(good) = worse.latest_failed.iter_mut().find(|failed| !**failed) {
                    *good = true;
                }
                prop_assert!(exceeded(&worse, &rule, present, ended).is_some());
            }
        }

        #[test]
        fn a_stricter_rule_stops_whatever_a_laxer_one_stops(
            rule in rules(), count in counts(), ended in any::<bool>(), factor in 0.0..=1.0
        ) {
            let present = i64::try_from(count.batches.len()).unwrap();
            let stricter = FailureRule {
                max_failure_rate: rule.max_failure_rate * factor,
                max_batch_failure_rate: rule.max_batch_failure_rate.map(|max| max * factor),
                max_silent_rate: rule.max_silent_rate * factor,
                max_environment_failure_rate: rule.max_environment_failure_rate * factor,
                min_sample: 1,
                ..rule.clone()
            };
            if exceeded(&count, &rule, present, ended).is_some() {
                prop_assert!(exceeded(&count, &stricter, present, ended).is_some());
            }
        }

        #[test]
        fn whatever_stops_inside_a_batch_stops_at_its_end(rule in rules(), count in counts()) {
            let present = i64::try_from(count.batches.len()).unwrap();
            if let Some(found) = exceeded(&count, &rule, present, false) {
                let at_the_end = exceeded(&count, &rule, present, true);
                prop_assert!(at_the_end.is_some());
                prop_assert!(!found.blames_image() || at_the_end.unwrap().blames_image());
            }
        }

        #[test]
        fn nothing_stops_where_nothing_is_wrong(rule in rules(), good in 0..50_i64, ended in any::<bool>()) {
            let count = FailureCount {
                batches: batches(&[(good, 0)]),
                latest_failed: vec![false; 3],
                admitted: good,
                ..FailureCount::default()
            };
            prop_assert_eq!(exceeded(&count, &rule, 1, ended), None);
        }
    }
}
