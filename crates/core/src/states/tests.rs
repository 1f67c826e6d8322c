//! What judging does is in the list, and the other way round. (For planning see the tests there.)

use super::*;
use crate::verdict::{Facts, Presence, ServerCheck, Steps, Wanted, judge};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::collections::BTreeSet;
use windlass_types::observation::Observation;
use windlass_types::policy::{Check, CheckFrom, CheckKind, HealthRule};
use windlass_types::rollout::{CheckStatus, DeviceStatus, RolloutStatus};

const IMAGE: &str = "r:5000/demo/app:v2";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds)
}

/// What a device has said by a time: nothing, that it has the target, and each of these.
fn known(image: &str, status: &str, restarts: i64, reported: i64) -> Observation {
    serde_json::from_value(json!({
        "version_received": 2, "last_report_at": at(reported),
        "services": [{"app_id": 1, "service_id": 1, "image": image, "status": status, "restarts": restarts,
            "running_since": (status == "running").then(|| at(10)), "image_since": at(10)}],
    }))
    .unwrap()
}

#[test]
fn every_verdict_takes_a_way_that_is_listed_and_every_way_is_taken() {
    let wanted = [Wanted {
        app_id: 1,
        service_id: 1,
        image: IMAGE.to_owned(),
        runs: true,
    }];
    let mut asked = Check::new(CheckKind::Tcp);
    (asked.from, asked.port) = (Some(CheckFrom::Server), Some(80));
    // Whose answer is missing at the deadline: the server's have a time of their own.
    let mut told = asked.clone();
    told.from = Some(CheckFrom::Device);
    let rules = [
        HealthRule::default(),
        HealthRule {
            checks: vec![asked],
            ..HealthRule::default()
        },
        HealthRule {
            checks: vec![told],
            ..HealthRule::default()
        },
    ];
    let times = [1, 20, 50, 200, 299, 301, 400, 5000];
    let mut taken = BTreeSet::new();
    for status in DeviceStatus::ALL {
        for now in times {
            for seen in times.into_iter().filter(|seen| *seen <= now) {
                let said = [
                    None,
                    Some(known("r:5000/demo/app:v1", "running", 0, seen)),
                    Some(known(IMAGE, "running", 0, seen)),
                    Some(known(IMAGE, "exited", 9, seen)),
                ];
                for (rule, said) in rules.iter().flat_map(|r| said.iter().map(move |s| (r, s))) {
                    for check in [
                        CheckStatus::Passed,
                        CheckStatus::Failed,
                        CheckStatus::Inconclusive,
                    ] {
                        let checks = [ServerCheck {
                            position: 0,
                            status: check,
                            tries: 1,
                            output: String::new(),
                            checked_at: Some(at(seen)),
                            deadline_at: at(300),
                        }];
                        let facts = Facts {
                            status: *status,
                            since: at(0),
                            admitted_at: at(0),
                            deadline_at: at(300),
                            target_version: 2,
                            wanted: &wanted,
                            observation: said.as_ref(),
                            last_seen_at: Some(at(seen)),
                            steps: Steps::default(),
                            presence: Presence::default(),
                            server_checks: &checks,
                        };
                        let judged = judge(&facts, rule, at(now));
                        taken.extend(judged.map(|j| (*status, j.status)));
                    }
                }
            }
        }
    }
    taken.retain(|(from, to)| from != to);
    let listed: BTreeSet<_> = DEVICES
        .iter()
        .filter(|way| way.by == Mover::Checker)
        .flat_map(|way| way.from.iter().map(|from| (*from, way.to)))
        .collect();
    assert_eq!(taken, listed);
}

#[test]
fn every_state_is_reached_and_left_as_its_meaning_says() {
    for status in DeviceStatus::ALL {
        assert!(DEVICES.iter().any(|way| way.to == *status), "{status}");
    }
    for status in RolloutStatus::ALL {
        assert!(ROLLOUTS.iter().any(|way| way.to == *status), "{status}");
        let left = ROLLOUTS.iter().filter(|way| way.from.contains(status));
        if status.is_final() {
            assert!(
                left.clone().all(|way| way.to == RolloutStatus::RollingBack),
                "{status}"
            );
        } else {
            assert!(left.count() > 0, "{status} can be left");
        }
    }
    assert!(leads(ROLLOUTS, None, RolloutStatus::Pending));
    assert!(!leads(
        ROLLOUTS,
        Some(RolloutStatus::RolledBack),
        RolloutStatus::InProgress
    ));
}
