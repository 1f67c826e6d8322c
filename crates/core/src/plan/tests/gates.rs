//! Each gate before a batch, and the order in which they hold.

use super::table::{change, check};
use super::*;
use windlass_types::ids::FreezeId;
use windlass_types::policy::{
    AbDecision, AbRule, ApprovalBefore, CanaryRule, Check, CheckKind, MaintenanceWindow, Ramp,
};
use windlass_types::rollout::CheckStatus;

fn freeze(number: u128, from: i64, to: Option<i64>) -> Freeze {
    serde_json::from_value(json!({
        "id": FreezeId(Uuid::from_u128(number)), "kind": if to.is_some() { "freeze" } else { "stop" },
        "reason": "year's end", "starts_at": at(from), "ends_at": to.map(at),
        "created_by": "operator:bob", "created_at": at(from),
    }))
    .unwrap()
}

fn approval(batch: i64, actor: &str) -> Approval {
    Approval {
        batch,
        actor: actor.to_owned(),
        reason: "seen".to_owned(),
        approved_at: at(-5),
    }
}

fn row(position: i64, status: CheckStatus) -> GateCheck {
    GateCheck {
        batch: 1,
        position,
        name: format!("errors {position}"),
        status,
        evidence: json!({}),
        checked_at: None,
        deadline_at: at(200 + position),
        waived_by: None,
    }
}

/// Batch 1 is done, its delay over.
fn between() -> Case {
    change(Case::new(RolloutStatus::InProgress, 1, 1), |c| {
        c.rollout.next_batch_at = Some(at(-1));
    })
}

fn pending() -> Case {
    Case::new(RolloutStatus::Pending, 0, 0)
}

#[test]
fn freezes_hold_admissions_until_the_last_of_them_ends() {
    let frozen = "the end of a freeze (year's end), until 1970-01-12T13:50:00Z";
    let both = |c: &mut Case| c.freezes = vec![freeze(1, -10, Some(100)), freeze(2, 50, Some(200))];
    check("before it begins", &change(pending(), both), &[], frozen);
    check("between two batches", &change(between(), both), &[], frozen);
    check(
        "the stop button has no end",
        &change(between(), |c| c.freezes = vec![freeze(1, -10, None)]),
        &[],
        "the stop of all rollouts to be lifted (year's end)",
    );
    check(
        "one to come does not hold it",
        &change(pending(), |c| c.freezes = vec![freeze(1, 10, Some(100))]),
        &["start 1"],
        "10 of 10",
    );
    check(
        "a half-admitted batch admits nobody more",
        &change(Case::new(RolloutStatus::InProgress, 1, 0), |c| {
            both(c);
            (c.batches[0].pending, c.batches[0].updating) = (6, 4);
        }),
        &[],
        frozen,
    );
    check(
        "those on their way in the last batch are judged",
        &change(Case::new(RolloutStatus::InProgress, 3, 3), both),
        &["end 3, next in 0", "completed"],
        "ended",
    );
    check(
        "a person overrides it",
        &change(between(), both).with(&[CommandKind::OverrideFreeze]),
        &["freeze_overridden", "start 2"],
        "10 of 10",
    );
    let pressed = |c: &mut Case| {
        c.freezes.push(freeze(3, 10, None));
        c.now = at(20);
    };
    check(
        "carried out later, it is not of a stop that was made since it was ordered",
        &change(change(between(), both), pressed).with(&[CommandKind::OverrideFreeze]),
        &["freeze_overridden"],
        "the stop of all rollouts to be lifted (year's end)",
    );
    check(
        "and where there was nothing else it overrides nothing",
        &change(between(), pressed).with(&[CommandKind::OverrideFreeze]),
        &[],
        "the stop of all rollouts to be lifted (year's end)",
    );
    check(
        "but not those that are made later",
        &change(between(), |c| {
            both(c);
            c.rollout.freeze_override = Some("ann: go".to_owned());
            c.rollout.freeze_override_at = Some(at(-11));
        }),
        &[],
        frozen,
    );
}

#[test]
fn approvals_are_counted_by_person() {
    let rule = |before, above| {
        move |c: &mut Case| {
            c.rollout.rule.approval.before = Some(before);
            c.rollout.rule.approval.two_people_above = above;
        }
    };
    let whole = change(pending(), rule(ApprovalBefore::Rollout, Some(29)));
    check(
        "nobody has approved",
        &whole,
        &["waiting awaiting_approval"],
        "an operator's approval: 0 of 2 people approved",
    );
    check(
        "the same person twice is one person",
        &whole
            .clone()
            .with(&[CommandKind::Approve, CommandKind::Approve]),
        &["approved", "waiting awaiting_approval"],
        "an operator's approval: 1 of 2 people approved (operator:ann)",
    );
    check(
        "a second person",
        &change(whole, |c| c.approvals = vec![approval(1, "operator:bob")])
            .with(&[CommandKind::Approve]),
        &["approved", "start 1"],
        "10 of 10",
    );
    let each = change(between(), rule(ApprovalBefore::EachBatch, Some(10)));
    check(
        "each batch",
        &each,
        &[],
        "an operator's approval of batch 2",
    );
    check(
        "approved, it goes on",
        &each.clone().with(&[CommandKind::Approve]),
        &["approved", "start 2"],
        "10 of 10",
    );
    check(
        "an approval of another batch is none",
        &change(each, |c| {
            c.approvals = vec![approval(1, "a"), approval(3, "a")];
        }),
        &[],
        "an operator's approval of batch 2",
    );
    check(
        "a press too many does not approve the next batch",
        &change(Case::new(RolloutStatus::InProgress, 1, 0), |c| {
            rule(ApprovalBefore::EachBatch, None)(c);
            c.approvals = vec![approval(1, "operator:ann")];
        })
        .with(&[CommandKind::Approve]),
        &["admitted"],
        "10 of 10",
    );
}

#[test]
fn a_start_time_and_windows_schedule_a_rollout() {
    let window = |zone: Option<&str>, start: &str, end: &str| MaintenanceWindow {
        time_zone: zone.map(str::to_owned),
        days: Vec::new(),
        start: start.to_owned(),
        end: end.to_owned(),
    };
    check(
        "its time has not come",
        &change(pending(), |c| c.rollout.rule.starts_at = Some(at(60))),
        &["waiting scheduled"],
        "its start time, 1970-01-12T13:47:40Z",
    );
    check(
        "its time has come",
        &change(Case::new(RolloutStatus::Scheduled, 0, 0), |c| {
            c.rollout.rule.starts_at = Some(at(0));
        }),
        &["start 1"],
        "10 of 10",
    );
    // It is 13:46:40 UTC.
    check(
        "no window is open",
        &change(pending(), |c| {
            c.rollout.rule.maintenance_windows = vec![window(None, "14:00", "15:00")];
        }),
        &["waiting scheduled"],
        "a maintenance window for 10 devices of batch 1, the next opens at 1970-01-12T14:00:00Z",
    );
    let zones = change(pending(), |c| {
        c.rollout.rule.maintenance_windows = vec![window(None, "13:00", "15:00")];
        let zone = |time_zone: Option<&str>, pending| ZoneWaiting {
            time_zone: time_zone.map(str::to_owned),
            pending,
            later: 0,
        };
        c.zones = vec![zone(None, 4), zone(Some("Asia/Tokyo"), 6)];
    });
    check(
        "those whose window is open begin",
        &zones,
        &["start 1"],
        "a maintenance window for 6 devices of batch 1, the next opens at 1970-01-13T04:00:00Z",
    );
    let admitted = zones
        .plan()
        .edges
        .into_iter()
        .find(|edge| edge.name() == "admitted");
    let expected = Edge::Admitted {
        batch: 1,
        at_most: 4,
        time_zones: Some(vec![None]),
    };
    assert_eq!(admitted, Some(expected));
}

#[test]
fn limits_make_slices() {
    let limited = |c: &mut Case| c.rollout.rule.limits.max_in_flight = Some(3);
    check(
        "as many as may be in flight",
        &change(pending(), limited),
        &["start 1"],
        "a limit, for 7 devices of batch 1: 3 devices are on their way, at most 3 may be",
    );
    check(
        "the next when one is judged",
        &change(Case::new(RolloutStatus::InProgress, 1, 0), |c| {
            limited(c);
            (
                c.batches[0].pending,
                c.batches[0].updating,
                c.batches[0].completed,
            ) = (7, 2, 1);
        }),
        &["admitted"],
        "a limit, for 6 devices",
    );
    check(
        "a ramp",
        &change(pending(), |c| {
            c.rollout.rule.limits.per_minute = Some(Ramp {
                base: 4,
                factor: 2.0,
                after_successes: 10,
                max: None,
            });
        }),
        &["start 1"],
        "a limit, for 6 devices of batch 1: 4 devices were admitted in the last minute, at most 4 may be, at the latest until 1970-01-12T13:47:40Z",
    );
    check(
        "a limit by tag",
        &change(pending(), |c| {
            c.admissible = Some(0);
            c.rollout
                .rule
                .limits
                .max_unavailable
                .insert("site".to_owned(), 1);
        }),
        &[],
        "a limit, for 10 devices of batch 1: too many devices with the same site",
    );
    check(
        "devices that are tried again wait for their time",
        &change(Case::new(RolloutStatus::InProgress, 1, 1), |c| {
            (c.batches[0].completed, c.batches[0].pending) = (9, 1);
            c.zones = vec![ZoneWaiting {
                time_zone: None,
                pending: 1,
                later: 1,
            }];
            c.retry_at = Some(at(30));
        }),
        &[],
        "1 devices of batch 1 to be tried again, the first at 1970-01-12T13:47:10Z",
    );
}

#[test]
fn checks_of_a_batch_hold_pause_or_take_back() {
    let rule = |c: &mut Case| c.rollout.rule.health.checks = vec![Check::new(CheckKind::Custom); 2];
    let with = |rows: Vec<GateCheck>| {
        change(between(), |c| {
            rule(c);
            c.checks = rows;
        })
    };
    let (passed, open) = (CheckStatus::Passed, CheckStatus::Pending);
    check(
        "nobody has begun them",
        &with(vec![]),
        &[],
        "the checks of batch 1: custom 1, custom 2",
    );
    check(
        "one is open",
        &with(vec![row(0, passed), row(1, open)]),
        &[],
        "the checks of batch 1: errors 1, decided at the latest by 1970-01-12T13:50:01Z",
    );
    check(
        "both passed",
        &with(vec![row(0, passed), row(1, passed)]),
        &["start 2"],
        "10 of 10",
    );
    let failed = with(vec![row(0, CheckStatus::Failed), row(1, open)]);
    check(
        "one failed",
        &failed,
        &["pause check_failed"],
        "an operator to resume or cancel it; it is paused: checks of batch 1 failed: errors 0",
    );
    check(
        "no answer is no pass",
        &with(vec![row(0, passed), row(1, CheckStatus::Inconclusive)]),
        &["pause inconclusive"],
        "an operator",
    );
    let paused = change(
        with(vec![row(0, CheckStatus::Failed), row(1, passed)]),
        |c| {
            c.rollout.status = RolloutStatus::Paused;
        },
    );
    check(
        "whoever resumes it takes that upon themselves",
        &paused.clone().with(&[CommandKind::Resume]),
        &["resumed", "start 2"],
        "10 of 10",
    );
    check(
        "and it stays so",
        &change(paused, |c| {
            c.rollout.status = RolloutStatus::InProgress;
            c.checks[0].waived_by = Some("operator:ann".to_owned());
        }),
        &["start 2"],
        "10 of 10",
    );
    check(
        "the last batch has checks too",
        &change(Case::new(RolloutStatus::InProgress, 3, 3), rule),
        &["end 3, next in 0"],
        "the checks of batch 3",
    );
    let ab = |decide| {
        change(failed.clone(), |c| {
            c.rollout.strategy = Strategy::Ab;
            c.rollout.rule.ab = Some(AbRule {
                decide,
                ..AbRule::default()
            });
        })
    };
    check(
        "a comparison by checks",
        &ab(AbDecision::Checks),
        &["rollback_ordered"],
        "its devices to be put back",
    );
    check(
        "one by a person",
        &ab(AbDecision::Approval),
        &["pause check_failed"],
        "an operator",
    );
}

#[test]
fn a_comparison_is_held_and_then_promoted_by_a_person() {
    let ab = |mut case: Case| {
        case.rollout.strategy = Strategy::Ab;
        case.rollout.rule.ab = Some(AbRule {
            hold_seconds: 500,
            ..AbRule::default()
        });
        case
    };
    check(
        "held",
        &ab(Case::new(RolloutStatus::InProgress, 1, 1)),
        &["end 1, next in 500"],
        "the time for which both versions are held beside each other, until 1970-01-12T13:55:00Z",
    );
    check(
        "decided by a person",
        &ab(between()),
        &[],
        "an operator to promote the new version",
    );
    check(
        "promoted",
        &ab(between()).with(&[CommandKind::Approve]),
        &["approved", "start 2"],
        "10 of 10",
    );
}

#[test]
fn a_canary_is_watched() {
    check(
        "its soak",
        &change(Case::new(RolloutStatus::InProgress, 1, 0), |c| {
            c.rollout.strategy = Strategy::Canary;
            c.rollout.rule.canary = Some(CanaryRule::default());
            (
                c.batches[0].pending,
                c.batches[0].verifying,
                c.batches[0].completed,
            ) = (0, 3, 7);
        }),
        &[],
        "3 of 10 devices of the canary, which run the image and are watched",
    );
}

#[test]
fn inconclusive_devices_pause_at_the_end_of_their_batch() {
    let case = change(Case::new(RolloutStatus::InProgress, 1, 1), |c| {
        (
            c.batches[0].completed,
            c.batches[0].attempted,
            c.batches[0].inconclusive,
        ) = (9, 9, 1);
    });
    check(
        "paused",
        &case,
        &["end 1, next in 60", "pause inconclusive"],
        "an operator",
    );
    check(
        "tried again, the batch is open again",
        &change(case, |c| c.rollout.next_batch_at = Some(at(60))).with(&[CommandKind::Retry]),
        &["retried"],
        "0 devices of batch 1 to be tried again",
    );
}

#[test]
fn an_operator_cuts_a_delay_short() {
    let delayed = change(between(), |c| c.rollout.next_batch_at = Some(at(60)));
    let next = [CommandKind::NextBatch];
    check(
        "during it",
        &delayed.with(&next),
        &["delay_cut", "start 2"],
        "10 of 10",
    );
    check(
        "before anybody noted the end of the batch",
        &Case::new(RolloutStatus::InProgress, 1, 1).with(&next),
        &["end 1, next in 60", "delay_cut", "start 2"],
        "10 of 10",
    );
    check(
        "not before the batch is done",
        &change(Case::new(RolloutStatus::InProgress, 1, 0), |c| {
            (c.batches[0].pending, c.batches[0].updating) = (0, 10);
        })
        .with(&next),
        &[],
        "10 of 10 devices of batch 1",
    );
}
