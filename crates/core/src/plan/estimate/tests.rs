use super::*;
use serde_json::json;
use windlass_types::policy::{
    AbRule, ApprovalBefore, CanaryRule, HealthRule, MaintenanceWindow, Ramp, Strategy,
};

/// Midnight of 2 January 2024 in UTC, and so many seconds.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_153_600 + seconds)
}

fn freeze(from: i64, to: Option<i64>) -> Freeze {
    serde_json::from_value(json!({
        "id": uuid::Uuid::from_u128(9), "kind": "freeze", "reason": "x", "starts_at": at(from),
        "ends_at": to.map(at), "created_by": "a", "created_at": at(-90),
    }))
    .unwrap()
}

/// Staged, 60 s between batches, devices healthy after 30 s.
fn rule(change: impl FnOnce(&mut RolloutRule)) -> RolloutRule {
    let mut rule = RolloutRule {
        strategy: Strategy::Staged,
        batch_delay_seconds: 60,
        health: HealthRule {
            stable_window_seconds: 30,
            ..HealthRule::default()
        },
        ..RolloutRule::default()
    };
    change(&mut rule);
    rule
}

/// Begin and end of each batch in seconds, and what is not known.
fn told(
    rule: &RolloutRule,
    sizes: &[i64],
    zones: &[Option<String>],
    freezes: &[Freeze],
) -> (Vec<(i64, i64)>, Option<Unknown>) {
    let found = estimate(&Given {
        rule,
        sizes,
        zones,
        freezes,
        now: at(0),
    });
    assert_eq!(found.ends_at().is_none(), found.unknown.is_some());
    let seconds = |time: DateTime<Utc>| (time - at(0)).num_seconds();
    let times = found.batches.iter();
    let times = times.map(|t| (seconds(t.starts_at), seconds(t.ends_at)));
    (times.collect(), found.unknown)
}

#[test]
fn each_gate_moves_the_batches_behind_it() {
    let window = |start: &str, end: &str| MaintenanceWindow {
        time_zone: None,
        days: Vec::new(),
        start: start.to_owned(),
        end: end.to_owned(),
    };
    let tokyo = [Some("Asia/Tokyo".to_owned())];
    let hour = 3600;
    let ramp = Ramp {
        base: 2,
        factor: 2.0,
        after_successes: 4,
        max: None,
    };
    let cases = [
        (
            "delays and stable windows",
            rule(|_| ()),
            vec![1, 5],
            vec![],
            vec![],
            vec![(0, 30), (90, 120)],
            None,
        ),
        (
            "its start time",
            rule(|r| r.starts_at = Some(at(100))),
            vec![1],
            vec![],
            vec![],
            vec![(100, 130)],
            None,
        ),
        (
            "the soak of a canary",
            rule(|r| {
                r.strategy = Strategy::Canary;
                r.canary = Some(
                    serde_json::from_value::<CanaryRule>(
                        json!({"percent": 5, "soak_seconds": 600}),
                    )
                    .unwrap(),
                );
            }),
            vec![1, 5],
            vec![],
            vec![],
            vec![(0, 600), (660, 690)],
            None,
        ),
        (
            "two versions are held beside each other",
            rule(|r| {
                r.strategy = Strategy::Ab;
                r.ab = Some(
                    serde_json::from_value::<AbRule>(
                        json!({"percent": 5, "hold_seconds": 500, "decide": "checks"}),
                    )
                    .unwrap(),
                );
            }),
            vec![1, 5],
            vec![],
            vec![],
            vec![(0, 30), (530, 560)],
            None,
        ),
        (
            "a window in UTC",
            rule(|r| r.maintenance_windows = vec![window("02:00", "03:00")]),
            vec![1, 5],
            vec![],
            vec![],
            vec![(2 * hour, 2 * hour + 30), (2 * hour + 90, 2 * hour + 120)],
            None,
        ),
        (
            "a window in the devices' own zone",
            rule(|r| r.maintenance_windows = vec![window("12:00", "13:00")]),
            vec![1],
            tokyo.to_vec(),
            vec![],
            vec![(3 * hour, 3 * hour + 30)],
            None,
        ),
        (
            "what does not fit into a window goes on in the next one",
            rule(|r| {
                r.maintenance_windows = vec![window("02:00", "02:01")];
                r.limits.max_in_flight = Some(1);
            }),
            vec![3],
            vec![],
            vec![],
            vec![(2 * hour, 26 * hour + 30)],
            None,
        ),
        (
            "a freeze that ends inside a window, one that ends after it",
            rule(|r| r.maintenance_windows = vec![window("02:00", "03:00")]),
            vec![1],
            vec![],
            vec![freeze(-5, Some(2 * hour + 60))],
            vec![(2 * hour + 60, 2 * hour + 90)],
            None,
        ),
        (
            "a freeze that begins later",
            rule(|_| ()),
            vec![1, 1],
            vec![],
            vec![freeze(40, Some(500))],
            vec![(0, 30), (500, 530)],
            None,
        ),
        (
            "devices in flight",
            rule(|r| r.limits.max_in_flight = Some(2)),
            vec![5],
            vec![],
            vec![],
            vec![(0, 90)],
            None,
        ),
        // 2 in the first minute, 2 in the next (2 healthy), then the rate doubles.
        (
            "the ramp",
            rule(|r| r.limits.per_minute = Some(ramp.clone())),
            vec![8],
            vec![],
            vec![],
            vec![(0, 150)],
            None,
        ),
    ];
    for (name, rule, sizes, zones, freezes, expected, unknown) in cases {
        let found = told(&rule, &sizes, &zones, &freezes);
        assert_eq!(found, (expected, unknown), "{name}");
    }
}

#[test]
fn what_waits_for_a_person_has_no_time() {
    let first = rule(|r| r.approval.before = Some(ApprovalBefore::Rollout));
    assert_eq!(
        told(&first, &[1, 1], &[], &[]),
        (vec![], Some(Unknown::Approval(1)))
    );
    let stopped = told(&rule(|_| ()), &[1, 1], &[], &[freeze(50, None)]);
    assert_eq!(stopped, (vec![(0, 30)], Some(Unknown::Freeze(2))));
    let promoted = rule(|r| {
        r.strategy = Strategy::Ab;
        r.ab = serde_json::from_value(
            json!({"percent": 5, "hold_seconds": 500, "decide": "approval"}),
        )
        .ok();
    });
    let (batches, unknown) = told(&promoted, &[1, 1], &[], &[]);
    assert_eq!(
        (batches, unknown),
        (vec![(0, 30)], Some(Unknown::Approval(2)))
    );
    assert_eq!(
        Unknown::Approval(2).to_string(),
        "batch 2 waits for approval"
    );
    let slow = rule(|r| r.limits.max_in_flight = Some(1));
    assert_eq!(told(&slow, &[1_000_000], &[], &[]).1, Some(Unknown::Far(1)));
}
