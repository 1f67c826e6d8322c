//! The list of a rollout's ways says what planning does, no more and no less.

use super::*;
use crate::states::{Mover, ROLLOUTS};
use std::collections::BTreeSet;
use windlass_types::policy::{ApprovalBefore, ApprovalRule, MaintenanceWindow};
use windlass_types::rollout::CheckStatus;

/// A rule that waits for nothing, and those that wait for one thing each.
fn rules() -> Vec<RolloutRule> {
    let plain = rollout(RolloutStatus::Pending, 0).rule;
    let approval = ApprovalRule {
        before: Some(ApprovalBefore::Rollout),
        two_people_above: None,
    };
    // It was noon at the epoch's twelfth hour; this one opens for a minute at another time.
    let closed = MaintenanceWindow {
        time_zone: Some("UTC".to_owned()),
        days: Vec::new(),
        start: "03:00".to_owned(),
        end: "03:01".to_owned(),
    };
    vec![
        RolloutRule {
            approval,
            ..plain.clone()
        },
        RolloutRule {
            starts_at: Some(at(1000)),
            strategy: Strategy::Scheduled,
            ..plain.clone()
        },
        RolloutRule {
            maintenance_windows: vec![closed],
            ..plain.clone()
        },
        plain,
    ]
}

fn stop() -> Freeze {
    serde_json::from_value(json!({
        "id": Uuid::from_u128(3), "kind": "stop", "reason": "hold", "starts_at": at(-10), "ends_at": null,
        "created_by": "operator:ann", "created_at": at(-10), "lifted_at": null, "lifted_by": null,
        "lift_reason": null,
    }))
    .unwrap()
}

fn check(status: CheckStatus) -> GateCheck {
    serde_json::from_value(json!({
        "batch": 3, "position": 0, "name": "gate", "status": status, "evidence": {},
        "checked_at": at(0), "deadline_at": at(10),
    }))
    .unwrap()
}

#[test]
fn every_step_takes_a_way_that_is_listed_and_every_way_is_taken() {
    let kinds: Vec<Vec<CommandKind>> = std::iter::once(Vec::new())
        .chain(CommandKind::ALL.iter().map(|kind| vec![*kind]))
        .collect();
    let mut taken = BTreeSet::new();
    for status in RolloutStatus::ALL {
        for (current, done) in [(0, 0), (1, 0), (1, 1), (3, 3)] {
            for (rule, kinds) in rules()
                .iter()
                .flat_map(|r| kinds.iter().map(move |k| (r, k)))
            {
                for variant in 0..32_u8 {
                    let mut case = Case::new(*status, current, done).with(kinds);
                    case.rollout.rule = rule.clone();
                    case.rollout.strategy = rule.strategy;
                    case.quarantined = variant & 1 > 0;
                    if variant & 2 > 0 {
                        case.freezes = vec![stop()];
                    }
                    if variant & 4 > 0 {
                        case.rollout.next_batch_at = (current > 0).then(|| at(-1));
                    }
                    if variant & 8 > 0 {
                        case.checks = vec![check(CheckStatus::Failed)];
                    }
                    case.admissible = (variant & 16 > 0).then_some(0);
                    let plan = case.plan();
                    let mut there = case.rollout;
                    for edge in &plan.edges {
                        let from = there.status;
                        edge::apply(&mut there, edge, at(0));
                        taken.insert((from, there.status));
                    }
                }
            }
        }
    }
    // Somebody failed, nobody is healthy, and the rule pauses for none of it.
    let mut case = Case::new(RolloutStatus::InProgress, 3, 3);
    case.rollout.rule.failure.max_failure_rate = 1.0;
    case.rollout.rule.failure.max_consecutive_failures = 0;
    case.rollout.next_batch_at = Some(at(-1));
    for progress in &mut case.batches {
        progress.attempted_failed = progress.attempted;
    }
    let end = case.plan().after.status;
    taken.insert((case.rollout.status, end));
    taken.retain(|(from, to)| from != to);
    let listed: BTreeSet<_> = ROLLOUTS
        .iter()
        .filter(|way| way.by == Mover::Planner)
        .flat_map(|way| way.from.iter().map(|from| (*from, way.to)))
        .collect();
    assert_eq!(taken, listed);
}
