use super::*;
use serde_json::{Value, json};

fn found(container: Value) -> Found {
    read(serde_json::from_value(container).unwrap())
}

#[test]
fn a_check_is_asked_at_its_own_times_or_at_the_usual_ones() {
    let of = |check: Value| found(json!({"Config": {"Healthcheck": check}})).healthcheck;
    let second = 1_000_000_000_u64;
    let check = of(
        json!({"Test": ["CMD", "/ask"], "Interval": 600 * second, "Timeout": 1500 * second / 1000,
        "Retries": 5, "StartPeriod": 3600 * second}),
    )
    .unwrap();
    assert_eq!(check.interval_seconds, Some(600));
    assert_eq!(check.timeout_seconds, Some(2));
    assert_eq!(check.retries, Some(5));
    assert_eq!(check.start_period_seconds, Some(3600));
    let usual = of(json!({"Test": ["CMD", "/ask"], "Interval": 0})).unwrap();
    assert_eq!((usual.interval_seconds, usual.retries), (None, None));
    assert_eq!(of(json!({"Test": ["NONE"], "Interval": second})), None);
    assert_eq!(found(json!({"Config": {}})).healthcheck, None);
}

#[test]
fn whose_namespaces_a_container_uses_is_told() {
    let of = |host: Value| found(json!({"HostConfig": host})).borrows;
    assert_eq!(
        of(json!({"PidMode": "container:a", "IpcMode": "container:b"})),
        BTreeSet::from(["a".to_owned(), "b".to_owned()])
    );
    for own in ["", "host", "private", "shareable"] {
        assert_eq!(of(json!({"PidMode": own, "IpcMode": own})), BTreeSet::new());
    }
}
