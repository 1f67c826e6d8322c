use super::*;
use serde_json::{Value, json};

fn good() -> Value {
    json!({"name": "apps", "image": "registry:5000/demo/*", "strategy": "staged"})
}

/// A policy with these fields instead of or beside the good one's.
fn spec(change: &Value) -> PolicySpec {
    let mut policy = good();
    for (key, value) in change.as_object().unwrap() {
        policy[key] = value.clone();
    }
    serde_json::from_value(policy).unwrap()
}

fn fields(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|error| error.field.as_str()).collect()
}

#[test]
fn what_is_right_is_taken() {
    let cases = [
        json!({}),
        json!({"strategy": "auto"}),
        json!({"image": "**"}),
        json!({"image": "*/demo/app"}),
        json!({"image": "localhost/app"}),
        json!({"image": "ghcr.io/acme/{web,api}-[A-Z]*"}),
        json!({"tag": {"type": "glob", "pattern": "v[0-9]*"}}),
        json!({"batches": [{"count": 1}, {"percent": 10}, {"count": 5}, {"percent": 100}]}),
        json!({"batches": [{"count": 1}]}),
        json!({"batch_delay_seconds": 0, "priority": -5, "enabled": false}),
        json!({"health": {"stable_window_seconds": 0, "deadline_seconds": 1}}),
        json!({"failure": {"max_failure_rate": 0.0, "max_consecutive_failures": 0, "min_sample": 1}}),
        json!({"failure": {"max_failure_rate": 1.0}}),
        json!({"filters": {"fleets": ["north"], "tags": {"rack": "", "zone/a": "1"},
               "uuids": ["00000000-0000-4000-8000-000000000001"]}}),
    ];
    for case in cases {
        let checked = check(&spec(&case));
        assert!(checked.is_ok(), "{case}: {checked:?}");
    }
    assert!(check_rule(&RolloutRule::default()).is_ok());
}

#[test]
fn what_can_never_be_right_is_told_by_field() {
    let long = "x".repeat(600);
    let many: Vec<_> = (1..=101).map(|_| json!({"count": 1})).collect();
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"name": ""}), &["name"]),
        (json!({"name": "a\nb"}), &["name"]),
        (json!({"name": " a"}), &["name"]),
        (json!({"name": long}), &["name"]),
        (json!({"image": ""}), &["image"]),
        (json!({"image": format!("r.io/{long}")}), &["image"]),
        (json!({"image": "r.io/demo/["}), &["image"]),
        (json!({"image": "r.io/demo/{a"}), &["image"]),
        (json!({"image": "registry:5000/demo/app:v1"}), &["image"]),
        (json!({"image": "r.io/app@sha256:00"}), &["image"]),
        (json!({"image": "nginx"}), &["image"]),
        (json!({"image": "*"}), &["image"]),
        (json!({"image": "demo/app"}), &["image"]),
        (json!({"image": "ghcr.io/Acme/app"}), &["image"]),
        (
            json!({"tag": {"type": "glob", "pattern": ""}}),
            &["tag.pattern"],
        ),
        (
            json!({"tag": {"type": "glob", "pattern": "["}}),
            &["tag.pattern"],
        ),
        (json!({"batches": []}), &["batches"]),
        (json!({"batches": many}), &["batches"]),
        (
            json!({"batches": [{"percent": 0}]}),
            &["batches[0].percent"],
        ),
        (
            json!({"batches": [{"percent": 101}]}),
            &["batches[0].percent"],
        ),
        (
            json!({"batches": [{"percent": 50}, {"percent": 50}]}),
            &["batches[1].percent"],
        ),
        (
            json!({"batches": [{"percent": 50}, {"percent": 10}]}),
            &["batches[1].percent"],
        ),
        (json!({"batches": [{"count": 0}]}), &["batches[0].count"]),
        (
            json!({"batches": [{"percent": 100}, {"count": 5}]}),
            &["batches[1]"],
        ),
        (
            json!({"batch_delay_seconds": 2_592_001}),
            &["batch_delay_seconds"],
        ),
        (
            json!({"health": {"stable_window_seconds": 86_401, "deadline_seconds": 604_801,
                   "unreachable_after_seconds": 0, "crash_loop_restarts": 0}}),
            &[
                "health.stable_window_seconds",
                "health.deadline_seconds",
                "health.unreachable_after_seconds",
                "health.crash_loop_restarts",
            ],
        ),
        (
            json!({"health": {"stable_window_seconds": 300, "deadline_seconds": 300}}),
            &["health.deadline_seconds"],
        ),
        (
            json!({"failure": {"max_failure_rate": 1.01}}),
            &["failure.max_failure_rate"],
        ),
        (
            json!({"failure": {"max_failure_rate": -0.1}}),
            &["failure.max_failure_rate"],
        ),
        (
            json!({"failure": {"min_sample": 0}}),
            &["failure.min_sample"],
        ),
        (
            json!({"failure": {"rollback_timeout_seconds": 0}}),
            &["failure.rollback_timeout_seconds"],
        ),
        (
            json!({"filters": {"tags": {"": "a"}}}),
            &["filters.tags[\"\"] (the key)"],
        ),
        (
            json!({"filters": {"tags": {"a": "b\u{7}"}}}),
            &["filters.tags[\"a\"]"],
        ),
    ];
    for (case, expected) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.invalid), expected, "{case}: {checked:?}");
        assert!(checked.not_offered.is_empty(), "{case}");
    }
    let mut not_a_number = RolloutRule::default();
    not_a_number.failure.max_failure_rate = f64::NAN;
    assert_eq!(
        fields(&check_rule(&not_a_number).invalid),
        ["failure.max_failure_rate"]
    );
}

#[test]
fn what_is_not_offered_yet_is_refused_with_what_is() {
    let cases = [
        (json!({"strategy": "canary"}), "strategy", "auto and staged"),
        (json!({"strategy": "manual"}), "strategy", "auto and staged"),
        (
            json!({"strategy": "scheduled"}),
            "strategy",
            "auto and staged",
        ),
        (
            json!({"tag": {"type": "semver", "range": ">=1"}}),
            "tag",
            "glob",
        ),
        (
            json!({"tag": {"type": "regex", "pattern": "v.*"}}),
            "tag",
            "glob",
        ),
        (json!({"tag": {"type": "numeric"}}), "tag", "glob"),
        (json!({"tag": {"type": "newest"}}), "tag", "glob"),
        (
            json!({"maintenance_windows": [{"start": "01:00", "end": "05:00"}]}),
            "maintenance_windows",
            "enabled",
        ),
        (
            json!({"health": {"checks": [{"type": "http"}]}}),
            "health.checks",
            "reports",
        ),
    ];
    for (case, field, instead) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.not_offered), [field], "{case}");
        assert!(
            checked.not_offered[0].message.contains(instead),
            "{case}: {checked:?}"
        );
        assert!(checked.invalid.is_empty(), "{case}: {checked:?}");
    }
}

#[test]
fn filters_are_bounded() {
    let filters = Filters {
        uuids: (0..10_001_u128)
            .map(|n| uuid::Uuid::from_u128(n).into())
            .collect(),
        ..Filters::default()
    };
    assert_eq!(fields(&check_filters(&filters).invalid), ["filters.uuids"]);
}
