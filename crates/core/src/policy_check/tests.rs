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
fn a_tag_rule_is_refused_with_its_field_and_why() {
    let cases = [
        (
            json!({"tag": {"type": "semver", "range": "one"}}),
            "tag.range",
            "is no range",
        ),
        (
            json!({"tag": {"type": "regex", "pattern": "v("}}),
            "tag.pattern",
            "unclosed group",
        ),
        (
            json!({"tag": {"type": "regex", "pattern": "a".repeat(300)}}),
            "tag.pattern",
            "1 to 256 characters",
        ),
        (
            json!({"tag": {"type": "regex", "pattern": "v(.*)", "extract": "$2", "order": "semver"}}),
            "tag.extract",
            "there is no group $2",
        ),
        (
            json!({"tag": {"type": "calendar", "format": "DD"}}),
            "tag.format",
            "one year",
        ),
        (
            json!({"tag": {"type": "fixed", "tag": "not a tag"}}),
            "tag.tag",
            "is no tag",
        ),
        (
            json!({"tag": {"type": "newest", "pattern": "["}}),
            "tag.pattern",
            "no glob",
        ),
    ];
    for (case, field, said) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.invalid), [field], "{case}: {checked:?}");
        assert!(
            checked.invalid[0].message.contains(said),
            "{case}: {checked:?}"
        );
        assert!(checked.not_offered.is_empty(), "{case}: {checked:?}");
    }
    for case in [
        json!({"tag": {"type": "semver", "range": ">=1.2, <2 || 3.x", "prerelease": true}}),
        json!({"tag": {"type": "regex", "pattern": "^v(\\d+)$", "extract": "$1", "order": "numeric"}}),
        json!({"tag": {"type": "regex", "pattern": "^nightly-"}}),
        json!({"tag": {"type": "calendar"}}),
        json!({"tag": {"type": "numeric"}}),
        json!({"tag": {"type": "newest"}}),
        json!({"tag": {"type": "fixed", "tag": "latest"}}),
    ] {
        assert!(check(&spec(&case)).is_ok(), "{case}");
    }
}

#[test]
fn keys_are_read_when_the_policy_is_written() {
    let trusted = include_str!("../signatures/samples/trusted.pub");
    let rsa = include_str!("../signatures/samples/rsa.pub");
    assert!(
        check(&spec(
            &json!({"signature": {"keys": [trusted]}, "min_age_seconds": 3600})
        ))
        .is_ok()
    );
    let cases = [
        (json!({"signature": {"keys": []}}), "signature.keys"),
        (
            json!({"signature": {"keys": vec![trusted; 17]}}),
            "signature.keys",
        ),
        (
            json!({"signature": {"keys": [trusted, "cosign.pub"]}}),
            "signature.keys[1]",
        ),
        (
            json!({"signature": {"keys": [trusted], "signed_as": "a b"}}),
            "signature.signed_as",
        ),
        (json!({"min_age_seconds": 32_000_000}), "min_age_seconds"),
    ];
    for (case, field) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.invalid), [field], "{case}: {checked:?}");
    }
    let checked = check(&spec(&json!({"signature": {"keys": [rsa]}})));
    assert_eq!(fields(&checked.not_offered), ["signature.keys[0]"]);
    assert!(
        checked.not_offered[0].message.contains("RSA"),
        "{checked:?}"
    );
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

#[test]
fn every_strategy_check_limit_and_window_is_offered() {
    let prometheus = json!({"type": "prometheus", "url": "https://prom.example:9090", "query": "sum(errors{job=\"app\",image=\"{digest}\"})",
        "baseline_query": "sum(errors{batch!=\"{batch}\"})", "condition": {"is": "lt", "value": 0.01}});
    let custom =
        json!({"type": "custom", "name": "change board", "url": "http://gate.example/ask"});
    let cases = [
        json!({"strategy": "canary", "canary": {"count": 1}}),
        json!({"strategy": "canary", "canary": {"percent": 99, "soak_seconds": 3600, "checks": [prometheus, {"type": "tcp", "port": 80}]}}),
        json!({"strategy": "canary", "canary": {"tags": {"ring": "0"}}, "batch_by": "region"}),
        json!({"strategy": "manual"}),
        json!({"strategy": "manual", "approval": {"before": "each_batch", "two_people_above": 10}}),
        json!({"strategy": "manual", "approval": {"two_people_above": 10}}),
        json!({"strategy": "staged", "approval": {"before": "rollout"}}),
        json!({"strategy": "scheduled", "starts_at": "2026-01-01T00:00:00Z"}),
        json!({"strategy": "scheduled", "maintenance_windows": [{"start": "01:00", "end": "05:00"}]}),
        json!({"strategy": "ab", "ab": {"percent": 50}, "approval": {"two_people_above": 10}}),
        json!({"strategy": "ab", "ab": {"tags": {"side": "b"}, "hold_seconds": 60, "decide": "checks", "checks": [custom]}, "batches": [{"count": 1}]}),
        json!({"maintenance_windows": [{"time_zone": "Europe/Berlin", "days": ["mon", "sun"], "start": "22:00", "end": "05:00"}]}),
        json!({"limits": {"max_in_flight": 1, "max_in_flight_percent": 100, "max_unavailable": {"site": 1},
               "per_minute": {"base": 1, "factor": 1.5, "after_successes": 10, "max": 1}}}),
        json!({"health": {"checks": [
            {"type": "http", "url": "http://{address}:8080/health?me={uuid}", "expected_status": [200, 204], "body_contains": "ok", "from": "server"},
            {"type": "tcp", "port": 8080, "from": "device"}, {"type": "container_running"}, custom, prometheus]}}),
        json!({"failure": {"max_batch_failure_rate": 0.5, "max_silent_rate": 1.0, "max_environment_failure_rate": 0.0, "action": "rollback_all",
               "retry": {"budget": 0, "backoff_seconds": 1}, "rollback_max_in_flight": 1, "quarantine_by": "model"}}),
        json!({"update_method": "blue_green", "allow_downgrade": true}),
    ];
    for case in cases {
        let checked = check(&spec(&case));
        assert!(checked.is_ok(), "{case}: {checked:?}");
    }
}

#[test]
fn stages_that_contradict_themselves_are_told_by_field() {
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"strategy": "canary"}), &["canary"]),
        (
            json!({"strategy": "staged", "canary": {"count": 1}}),
            &["canary"],
        ),
        (json!({"strategy": "canary", "canary": {}}), &["canary"]),
        (
            json!({"strategy": "canary", "canary": {"count": 1, "percent": 5}}),
            &["canary"],
        ),
        (
            json!({"strategy": "canary", "canary": {"count": 0}}),
            &["canary.count"],
        ),
        (
            json!({"strategy": "canary", "canary": {"percent": 100}}),
            &["canary.percent"],
        ),
        (
            json!({"strategy": "canary", "canary": {"tags": {"": "x"}}}),
            &["canary.tags[\"\"] (the key)"],
        ),
        (
            json!({"strategy": "canary", "canary": {"count": 1, "soak_seconds": 86_401}}),
            &["canary.soak_seconds"],
        ),
        (
            json!({"strategy": "canary", "canary": {"count": 1, "checks": [{"type": "tcp"}]}}),
            &["canary.checks[0].port"],
        ),
        (json!({"strategy": "ab"}), &["ab"]),
        (json!({"strategy": "auto", "ab": {"percent": 1}}), &["ab"]),
        (json!({"strategy": "ab", "ab": {}}), &["ab"]),
        (
            json!({"strategy": "ab", "ab": {"percent": 5, "tags": {"a": "b"}}}),
            &["ab"],
        ),
        (
            json!({"strategy": "ab", "ab": {"percent": 0}}),
            &["ab.percent"],
        ),
        (
            json!({"strategy": "ab", "ab": {"percent": 5, "hold_seconds": 2_592_001}}),
            &["ab.hold_seconds"],
        ),
        (
            json!({"strategy": "ab", "ab": {"percent": 5, "decide": "checks"}}),
            &["ab.checks"],
        ),
        (
            json!({"strategy": "ab", "ab": {"percent": 5, "checks": [{"type": "container_running"}]}}),
            &["ab.checks[0].type"],
        ),
        (
            json!({"strategy": "staged", "starts_at": "2026-01-01T00:00:00Z"}),
            &["starts_at"],
        ),
        (json!({"strategy": "scheduled"}), &["starts_at"]),
        (
            json!({"approval": {"two_people_above": 10}}),
            &["approval.two_people_above"],
        ),
        (json!({"batch_by": ""}), &["batch_by"]),
    ];
    for (case, expected) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.invalid), expected, "{case}: {checked:?}");
        assert!(checked.not_offered.is_empty(), "{case}");
    }
}

#[test]
fn windows_limits_and_budgets_are_told_by_field() {
    let cases: Vec<(Value, &[&str])> = vec![
        (
            json!({"maintenance_windows": [{"time_zone": "Berlin", "start": "1:00", "end": "24:00", "days": ["mon", "mon"]}]}),
            &[
                "maintenance_windows[0].time_zone",
                "maintenance_windows[0].start",
                "maintenance_windows[0].end",
                "maintenance_windows[0].days[1]",
            ],
        ),
        (
            json!({"limits": {"max_in_flight": 0, "max_in_flight_percent": 0}}),
            &["limits.max_in_flight", "limits.max_in_flight_percent"],
        ),
        (
            json!({"limits": {"max_in_flight_percent": 101}}),
            &["limits.max_in_flight_percent"],
        ),
        (
            json!({"limits": {"per_minute": {"base": 0, "factor": 0.5, "after_successes": 0}}}),
            &[
                "limits.per_minute.base",
                "limits.per_minute.factor",
                "limits.per_minute.after_successes",
            ],
        ),
        (
            json!({"limits": {"per_minute": {"base": 5, "after_successes": 1, "max": 4}}}),
            &["limits.per_minute.max"],
        ),
        (
            json!({"limits": {"max_unavailable": {"site": 0}}}),
            &["limits.max_unavailable[\"site\"]"],
        ),
        (
            json!({"failure": {"max_batch_failure_rate": 1.5, "max_silent_rate": -1.0, "max_environment_failure_rate": 2.0, "rollback_max_in_flight": 0,
                   "retry": {"budget": 101, "backoff_seconds": 0}, "quarantine_by": ""}}),
            &[
                "failure.max_batch_failure_rate",
                "failure.max_silent_rate",
                "failure.max_environment_failure_rate",
                "failure.retry.budget",
                "failure.retry.backoff_seconds",
                "failure.rollback_max_in_flight",
                "failure.quarantine_by",
            ],
        ),
    ];
    for (case, expected) in cases {
        let checked = check(&spec(&case));
        assert_eq!(fields(&checked.invalid), expected, "{case}: {checked:?}");
    }
}

#[test]
fn checks_have_the_fields_of_their_type() {
    let cases = [
        (json!({"type": "http"}), "url"),
        (json!({"type": "http", "url": "{address}/health"}), "url"),
        (
            json!({"type": "http", "url": "ftp://{address}/health"}),
            "url",
        ),
        (
            json!({"type": "http", "url": "http://{adress}/health"}),
            "url",
        ),
        (
            json!({"type": "http", "url": "http://me:secret@{address}/"}),
            "url",
        ),
        (
            json!({"type": "http", "url": "http://{address}/", "port": 80}),
            "port",
        ),
        (
            json!({"type": "http", "url": "http://{address}/", "expected_status": [99]}),
            "expected_status",
        ),
        (
            json!({"type": "http", "url": "http://{address}/", "body_contains": ""}),
            "body_contains",
        ),
        (json!({"type": "tcp"}), "port"),
        (json!({"type": "tcp", "port": 0}), "port"),
        (
            json!({"type": "tcp", "port": 80, "url": "http://a.example/"}),
            "url",
        ),
        (
            json!({"type": "container_running", "from": "server"}),
            "from",
        ),
        (json!({"type": "container_running", "query": "up"}), "query"),
        (json!({"type": "custom"}), "url"),
        (
            json!({"type": "custom", "url": "http://gate.example/{digest}"}),
            "url",
        ),
        (
            json!({"type": "custom", "url": "http://gate.example/", "from": "device"}),
            "from",
        ),
        (
            json!({"type": "prometheus", "url": "http://p.example", "condition": {"is": "lt", "value": 1.0}}),
            "query",
        ),
        (
            json!({"type": "prometheus", "url": "http://p.example", "query": "up"}),
            "condition",
        ),
        (
            json!({"type": "prometheus", "url": "http://p.example", "query": "up{image=\"{imgae}\"}", "condition": {"is": "lt", "value": 1.0}}),
            "query",
        ),
        (
            json!({"type": "tcp", "port": 1, "timeout_seconds": 0}),
            "timeout_seconds",
        ),
        (
            json!({"type": "tcp", "port": 1, "retry_count": 101}),
            "retry_count",
        ),
        (
            json!({"type": "tcp", "port": 1, "interval_seconds": 3601}),
            "interval_seconds",
        ),
        (json!({"type": "tcp", "port": 1, "name": ""}), "name"),
    ];
    for (case, expected) in cases {
        let checked = check(&spec(
            &json!({"health": {"checks": [{"type": "container_running"}, case]}}),
        ));
        assert_eq!(
            fields(&checked.invalid),
            [format!("health.checks[1].{expected}")],
            "{case}: {checked:?}"
        );
    }
}
