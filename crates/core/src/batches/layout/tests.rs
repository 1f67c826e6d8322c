use super::*;
use BatchSize::{Count, Percent};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use windlass_types::policy::{AbRule, CanaryRule, Strategy};

fn all(devices: i64) -> Vec<Group> {
    vec![Group {
        value: None,
        devices,
        chosen: 0,
    }]
}

fn of(value: &str, devices: i64, chosen: i64) -> Group {
    Group {
        value: Some(value.to_owned()),
        devices,
        chosen,
    }
}

fn staged(batches: &[BatchSize]) -> RolloutRule {
    RolloutRule {
        batches: batches.to_vec(),
        ..RolloutRule::default()
    }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("ring".to_owned(), "lab".to_owned())])
}

fn canary(canary: CanaryRule) -> RolloutRule {
    RolloutRule {
        strategy: Strategy::Canary,
        canary: Some(canary),
        ..RolloutRule::default()
    }
}

fn ab(ab: AbRule) -> RolloutRule {
    RolloutRule {
        strategy: Strategy::Ab,
        ab: Some(ab),
        ..RolloutRule::default()
    }
}

#[test]
fn each_strategy_has_its_batches() {
    let by_count = |count| {
        canary(CanaryRule {
            count: Some(count),
            ..CanaryRule::default()
        })
    };
    let by_percent = |percent| {
        canary(CanaryRule {
            percent: Some(percent),
            ..CanaryRule::default()
        })
    };
    let shared = |percent| {
        ab(AbRule {
            percent: Some(percent),
            ..AbRule::default()
        })
    };
    let auto = RolloutRule {
        strategy: Strategy::Auto,
        ..RolloutRule::default()
    };
    let cases: [(&str, RolloutRule, i64, &[i64]); 12] = [
        ("auto takes everybody at once", auto, 7, &[7]),
        (
            "staged: 10, 50, 100 %",
            RolloutRule::default(),
            10,
            &[1, 4, 5],
        ),
        ("nobody at all", RolloutRule::default(), 0, &[]),
        (
            "a canary of five, then as staged",
            by_count(5),
            100,
            &[5, 5, 40, 50],
        ),
        (
            "a canary larger than the first batch takes its place",
            by_count(20),
            100,
            &[20, 30, 50],
        ),
        ("a canary of more than there are", by_count(9), 4, &[4]),
        ("a canary by share", by_percent(2), 100, &[2, 8, 40, 50]),
        ("a canary of a single device", by_percent(2), 1, &[1]),
        (
            "a comparison: the share, then the rest",
            shared(30),
            10,
            &[3, 7],
        ),
        ("a comparison among two", shared(50), 2, &[1, 1]),
        ("a comparison with one alone", shared(50), 1, &[1]),
        (
            "counts, then the rest",
            staged(&[Count(1), Count(3)]),
            10,
            &[1, 3, 6],
        ),
    ];
    for (name, rule, devices, expected) in cases {
        let layout = layout(&all(devices), &rule).unwrap();
        assert_eq!(layout.sizes(), expected, "{name}");
    }
}

#[test]
fn shares_are_taken_of_each_value_apart_and_no_value_is_too_small() {
    let groups = [
        of("eu", 100, 0),
        of("us", 20, 0),
        of("moon", 1, 0),
        Group {
            value: None,
            devices: 40,
            chosen: 0,
        },
    ];
    let rule = staged(&[Percent(5), Percent(50), Percent(100)]);
    let layout = layout(&groups, &rule).unwrap();
    assert_eq!(layout.sizes(), [5 + 1 + 1 + 2, 45 + 9 + 18, 50 + 10 + 20]);
    assert_eq!(layout.batch_of(Some("eu"), 5), 1);
    assert_eq!(layout.batch_of(Some("eu"), 6), 2);
    assert_eq!(layout.batch_of(Some("moon"), 1), 1);
    assert_eq!(layout.batch_of(None, 2), 1);
    assert_eq!(layout.batch_of(None, 40), 3);
    assert_eq!(
        layout.batch_of(Some("mars"), 1),
        3,
        "whoever joins is in the last"
    );
}

#[test]
fn counts_are_of_all_devices_and_spread_in_proportion() {
    let groups = [of("eu", 60, 0), of("us", 30, 0), of("moon", 10, 0)];
    let layout = layout(&groups, &staged(&[Count(3), Count(7)])).unwrap();
    assert_eq!(layout.sizes(), [3, 7, 90]);
    assert_eq!(layout.batch_of(Some("eu"), 2), 1);
    assert_eq!(layout.batch_of(Some("us"), 1), 1);
}

#[test]
fn devices_chosen_by_tags_are_the_first_batch() {
    let rule = canary(CanaryRule {
        tags: tags(),
        ..CanaryRule::default()
    });
    let groups = [of("eu", 50, 3), of("us", 50, 0)];
    let found = layout(&groups, &rule).unwrap();
    assert_eq!(found.sizes(), [3, 5 - 3 + 5, 40, 50]);
    assert_eq!(found.batch_of(Some("eu"), 3), 1);
    assert_eq!(found.batch_of(Some("us"), 1), 2);
    let both = ab(AbRule {
        tags: tags(),
        ..AbRule::default()
    });
    assert_eq!(layout(&groups, &both).unwrap().sizes(), [3, 97]);
}

#[test]
fn a_first_batch_of_nobody_is_refused_rather_than_skipped() {
    let rules = [
        canary(CanaryRule {
            tags: tags(),
            ..CanaryRule::default()
        }),
        ab(AbRule {
            tags: tags(),
            ..AbRule::default()
        }),
    ];
    for rule in rules {
        let none = layout(&all(9), &rule).unwrap_err();
        assert!(none.to_string().contains("ring=lab"), "{none}");
        assert_eq!(layout(&[], &rule).unwrap().sizes(), [0_i64; 0]);
    }
}

fn any_groups() -> impl proptest::strategy::Strategy<Value = Vec<Group>> {
    let value = prop::option::of("[a-d]{1,2}");
    let group = (value, 1_i64..400, 0_i64..5).prop_map(|(value, devices, chosen)| Group {
        value,
        devices,
        chosen: chosen.min(devices),
    });
    prop::collection::vec(group, 0..8)
}

fn any_rule() -> impl proptest::strategy::Strategy<Value = RolloutRule> {
    let size = prop_oneof![
        (1_u32..=100).prop_map(Percent),
        (1_u32..=50).prop_map(Count)
    ];
    let first = prop_oneof![
        (1_u32..30).prop_map(|count| (Some(count), None)),
        (1_u32..99).prop_map(|percent| (None, Some(percent))),
    ];
    (prop::collection::vec(size, 0..6), prop::option::of(first)).prop_map(|(batches, first)| {
        let canary = first.map(|(count, percent)| CanaryRule {
            count,
            percent,
            ..CanaryRule::default()
        });
        RolloutRule {
            strategy: if canary.is_some() {
                Strategy::Canary
            } else {
                Strategy::Staged
            },
            canary,
            batches,
            ..RolloutRule::default()
        }
    })
}

proptest! {
    #[test]
    fn sizes_add_up_and_no_batch_is_empty(groups in any_groups(), rule in any_rule()) {
        let total: i64 = groups.iter().map(|group| group.devices).sum();
        let layout = layout(&groups, &rule).unwrap();
        prop_assert_eq!(layout.sizes().iter().sum::<i64>(), total);
        prop_assert!(layout.sizes().iter().all(|size| *size > 0));
    }

    #[test]
    fn ranges_and_places_tell_the_same_batches(groups in any_groups(), rule in any_rule()) {
        let layout = layout(&groups, &rule).unwrap();
        let mut found = vec![0_i64; layout.sizes().len()];
        for range in layout.ranges() {
            found[usize::try_from(range.batch - 1).unwrap()] += range.upto - range.after;
            for place in [range.after + 1, range.upto] {
                prop_assert_eq!(layout.batch_of(range.value.as_deref(), place), range.batch);
            }
        }
        prop_assert_eq!(found.as_slice(), layout.sizes());
    }

    #[test]
    fn the_first_share_reaches_exactly_its_part_of_each_value(
        groups in any_groups(), percent in 1_u32..=100,
    ) {
        let found = layout(&groups, &staged(&[Percent(percent)])).unwrap();
        let mut totals = BTreeMap::<Option<String>, i64>::new();
        for group in &groups {
            *totals.entry(group.value.clone()).or_default() += group.devices;
        }
        for (value, devices) in totals {
            let first = (1..=devices).filter(|p| found.batch_of(value.as_deref(), *p) == 1).count();
            let first = i64::try_from(first).unwrap();
            let share = devices * i64::from(percent);
            prop_assert!(first >= 1 && first * 100 >= share && (first - 1) * 100 < share);
        }
    }

    #[test]
    fn a_count_is_exact_whatever_the_values(groups in any_groups(), count in 1_u32..500) {
        let total: i64 = groups.iter().map(|group| group.devices).sum();
        let found = layout(&groups, &staged(&[Count(count)])).unwrap();
        let first = found.sizes().first().copied().unwrap_or(0);
        prop_assert_eq!(first, i64::from(count).min(total));
    }

    #[test]
    fn the_order_of_the_groups_changes_nothing(groups in any_groups(), rule in any_rule()) {
        let mut turned = groups.clone();
        turned.reverse();
        prop_assert_eq!(layout(&groups, &rule), layout(&turned, &rule));
    }

    #[test]
    fn one_group_has_the_bounds_of_its_sizes(devices in 0_i64..5_000, sizes in prop::collection::vec(
        prop_oneof![(1_u32..=100).prop_map(Percent), (1_u32..=50).prop_map(Count)], 0..8)) {
        let found = layout(&all(devices), &staged(&sizes)).unwrap();
        let bounds = super::super::bounds(devices, &sizes);
        prop_assert_eq!(found.sizes(), super::super::sizes(&bounds));
    }
}
