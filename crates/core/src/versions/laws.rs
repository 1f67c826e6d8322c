//! What holds of every rule and every set of tags.

use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use std::cmp::Ordering;
use uuid::Uuid;
use windlass_types::policy::{TagRule, VersionOrder};

fn rules() -> impl Strategy<Value = Rule> {
    let regex = |order| TagRule::Regex {
        pattern: "^[a-z-]*([0-9.]+)".to_owned(),
        extract: Some("$1".to_owned()),
        order: Some(order),
    };
    prop::sample::select(vec![
        TagRule::default(),
        TagRule::Fixed {
            tag: "latest".to_owned(),
        },
        TagRule::Semver {
            range: ">=1, <3".to_owned(),
            prerelease: false,
        },
        TagRule::Semver {
            range: "*".to_owned(),
            prerelease: true,
        },
        regex(VersionOrder::Numeric),
        regex(VersionOrder::Alphabetical),
        regex(VersionOrder::Semver),
        TagRule::Calendar {
            format: "YYYY.MM.DD".to_owned(),
        },
        TagRule::Calendar {
            format: "YY.N".to_owned(),
        },
        TagRule::Numeric,
        TagRule::Newest { pattern: None },
    ])
    .prop_map(|rule| Rule::new(&rule).unwrap())
}

fn tags() -> impl Strategy<Value = String> {
    prop_oneof![
        "v?[0-3]\\.[0-2]\\.[0-3](-(rc|beta)\\.[0-3])?",
        "20(25|26)\\.(0?[1-9]|1[0-2])\\.[0-3]?[0-9]",
        "[a-z]{0,3}-?[0-9]{1,4}(\\.[0-9]{1,2}){0,3}",
        "[0-9]{1,30}",
        Just("latest".to_owned()),
        "[A-Za-z0-9_.-]{1,12}",
    ]
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(30_000_000 + minute)
}

/// What the service makes of a version: seen and built at these minutes.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (tags(), 0..50_i64, 0..50_i64, any::<bool>());
    prop::collection::vec(one, 0..12).prop_map(|given| {
        (1_u128..)
            .zip(given)
            .map(|(id, (tag, seen, built, held_back))| Candidate {
                id: Uuid::from_u128(id).into(),
                tag,
                first_seen: at(seen),
                built_at: at(built),
                held_back: held_back && built % 3 == 0,
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn the_order_is_total_antisymmetric_and_transitive(
        rule in rules(), one in tags(), two in tags(), three in tags(),
    ) {
        let (a, b, c) = (rule.key(&one), rule.key(&two), rule.key(&three));
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        let down = |from: &str, to: &str| goes_below(&rule, (Some(from), None), (Some(to), None));
        prop_assert!(!(down(&one, &two) && down(&two, &one)));
        prop_assert!(!down(&one, &one));
    }

    #[test]
    fn what_is_taken_can_be_moved_and_is_compared_where_there_is_an_order(
        rule in rules(), tag in tags(),
    ) {
        if let Ok(read) = rule.read(&tag) {
            prop_assert!(rule.moves(&tag));
            prop_assert_eq!(read.key.is_some(), rule.is_ordered() && !rule.is_by_build_date());
            prop_assert_eq!(read.key, rule.key(&tag));
        }
    }

    #[test]
    fn the_order_in_which_candidates_are_given_changes_nothing(
        rule in rules(), given in candidates(), turn in any::<prop::sample::Index>(), tag in tags(),
    ) {
        let mut turned = given.clone();
        if !turned.is_empty() {
            turned.rotate_left(turn.index(given.len()));
            turned.reverse();
        }
        let running = [(tag.as_str(), Some(at(20)))];
        prop_assert_eq!(select(&rule, &given, &running), select(&rule, &turned, &running));
    }

    #[test]
    fn nothing_is_selected_that_is_held_back_not_taken_or_below_what_runs(
        rule in rules(), given in candidates(), tag in tags(), built in 0..50_i64,
    ) {
        let running = [(tag.as_str(), Some(at(built)))];
        if let Some(chosen) = select(&rule, &given, &running) {
            prop_assert!(!chosen.held_back && rule.takes(&chosen.tag));
            let next = (Some(chosen.tag.as_str()), Some(chosen.built_at));
            prop_assert!(!goes_below(&rule, (Some(&tag), Some(at(built))), next));
            // Nor is it below another that could ship.
            for other in given.iter().filter(|c| !c.held_back && rule.takes(&c.tag)) {
                let present = (Some(other.tag.as_str()), Some(other.built_at));
                prop_assert!(!rule.is_ordered() || !goes_below(&rule, present, next));
            }
        }
    }

    #[test]
    fn selecting_again_once_it_runs_changes_nothing(
        rule in rules(), given in candidates(), tag in tags(),
    ) {
        let Some(chosen) = select(&rule, &given, &[(tag.as_str(), None)]).cloned() else {
            return Ok(());
        };
        let running = [(chosen.tag.as_str(), Some(chosen.built_at))];
        prop_assert_eq!(select(&rule, &given, &running), Some(&chosen));
    }

    #[test]
    fn a_rule_reads_any_text_without_harm(pattern in ".{0,40}", format in ".{0,20}", range in ".{0,40}", tag in ".{0,60}") {
        for rule in [
            TagRule::Regex { pattern: pattern.clone(), extract: Some("$0".to_owned()), order: Some(VersionOrder::Semver) },
            TagRule::Regex { pattern: "(.*)".to_owned(), extract: Some(format.clone()), order: Some(VersionOrder::Numeric) },
            TagRule::Calendar { format },
            TagRule::Semver { range, prerelease: true },
            TagRule::Glob { pattern },
        ] {
            if let Ok(rule) = Rule::new(&rule) {
                let read = rule.read(&tag);
                prop_assert_eq!(read.is_ok(), rule.takes(&tag));
            }
        }
    }
}
