use super::world::{change, noon, story};
use crate::why::{Answer, rollout};
use serde_json::json;
use uuid::Uuid;
use windlass_types::freeze::{Freeze, FreezeKind};
use windlass_types::ids::{CommandId, FreezeId, RolloutId};
use windlass_types::policy::{ApprovalBefore, Limits, Strategy};
use windlass_types::rollout::{
    Approval, CheckStatus, Command, CommandKind, CommandOutcome, GateCheck, RolloutStatus,
    StatusReason,
};
use windlass_types::why::facts::{RolloutStory, Turn};

use RolloutStatus::{
    AwaitingApproval, Cancelled, Completed, InProgress, Paused, Pending, RolledBack, RollingBack,
    Scheduled, Superseded,
};

type Case = (&'static str, RolloutStory, &'static str, &'static str);

fn with(status: RolloutStatus, batch: i64, how: impl FnOnce(&mut RolloutStory)) -> RolloutStory {
    let mut found = story(status, batch);
    how(&mut found);
    found
}

fn turn(detail: &str) -> Option<Turn> {
    Some(Turn {
        at: noon(-3),
        actor: "alice".to_owned(),
        detail: Some(detail.to_owned()),
    })
}

fn paused(reason: StatusReason, detail: &'static str) -> RolloutStory {
    with(Paused, 1, |story| {
        change(story, |rollout| {
            rollout.status_reason = Some(reason);
            rollout.status_detail = Some(detail.to_owned());
        });
        story.turn = turn(detail);
    })
}

fn freeze(kind: FreezeKind, ends: Option<i64>) -> Freeze {
    Freeze {
        id: FreezeId(Uuid::from_u128(5)),
        kind,
        reason: "the holidays.".to_owned(),
        starts_at: noon(-10),
        ends_at: ends.map(noon),
        created_by: "bob".to_owned(),
        created_at: noon(-20),
        lifted_at: None,
        lifted_by: None,
        lift_reason: None,
    }
}

fn frozen(kind: FreezeKind, ends: Option<i64>) -> RolloutStory {
    with(Pending, 0, |story| {
        story.facts.as_mut().unwrap().freezes = vec![freeze(kind, ends)];
    })
}

/// The first batch is done, the second is the next.
fn between(how: impl Fn(&mut windlass_types::rollout::Rollout)) -> RolloutStory {
    with(InProgress, 1, |story| {
        change(story, |rollout| rollout.next_batch_at = Some(noon(-1)));
        change(story, how);
        for batches in [
            &mut story.view.batches,
            &mut story.facts.as_mut().unwrap().batches,
        ] {
            batches[0].verifying = 0;
            batches[0].completed = 10;
            batches[0].attempted = 10;
        }
        story.facts.as_mut().unwrap().devices_until = None;
    })
}

fn cases() -> Vec<Case> {
    vec![
        (
            "nothing holds it",
            story(Pending, 0),
            "next_step",
            "Nothing holds the rollout: the planner takes its next step in a moment.",
        ),
        (
            "devices of the present batch",
            story(InProgress, 1),
            "devices_on_their_way",
            "10 of 10 devices of batch 1 of 3 are not done; the last is judged by 2026-05-27 12:05 UTC.",
        ),
        (
            "the canary",
            with(InProgress, 1, |story| {
                change(story, |rollout| rollout.strategy = Strategy::Canary);
            }),
            "soak",
            "The image is watched on the canary devices until 2026-05-27 12:05 UTC; 10 of 10 devices are not done.",
        ),
        (
            "the delay",
            between(|rollout| rollout.next_batch_at = Some(noon(20))),
            "delay",
            "Batch 2 starts at 2026-05-27 12:20 UTC, when the delay after the batch before it is over.",
        ),
        (
            "approval of the rollout",
            with(AwaitingApproval, 0, |story| {
                change(story, |rollout| {
                    rollout.rule.approval.before = Some(ApprovalBefore::Rollout);
                });
            }),
            "approval",
            "The rollout (30 devices) waits for a person's approval.",
        ),
        (
            "approval of two people for a batch",
            {
                let mut story = between(|rollout| {
                    rollout.rule.approval.before = Some(ApprovalBefore::EachBatch);
                    rollout.rule.approval.two_people_above = Some(5);
                });
                story.facts.as_mut().unwrap().approvals = vec![Approval {
                    batch: 2,
                    actor: "alice".to_owned(),
                    reason: "fine".to_owned(),
                    approved_at: noon(-1),
                }];
                story
            },
            "approval",
            "Batch 2 (10 devices) waits for the approval of 2 people; alice approved, and somebody else must too.",
        ),
        (
            "the start time",
            with(Scheduled, 0, |story| {
                change(story, |rollout| {
                    rollout.strategy = Strategy::Scheduled;
                    rollout.rule.starts_at = Some(noon(90));
                });
            }),
            "start_time",
            "The rollout starts at 2026-05-27 13:30 UTC.",
        ),
        (
            "a window",
            with(Scheduled, 0, |story| {
                change(story, |rollout| {
                    rollout.rule.maintenance_windows =
                        serde_json::from_value(json!([{"start": "22:00", "end": "04:00"}]))
                            .unwrap();
                });
            }),
            "window_closed",
            "The maintenance window is closed and opens at 2026-05-27 22:00 UTC; 10 devices of batch 1 wait for it.",
        ),
        (
            "devices in flight",
            with(InProgress, 1, |story| {
                change(story, |rollout| {
                    rollout.rule.limits = Limits {
                        max_in_flight: Some(4),
                        ..Limits::default()
                    };
                });
                let facts = story.facts.as_mut().unwrap();
                facts.batches[0].verifying = 4;
                facts.batches[0].pending = 6;
                facts.waiting.batch = 1;
                facts.waiting.zones[0].pending = 6;
                facts.waiting.admissible = 6;
            }),
            "in_flight_limit",
            "4 devices are on their way, and the policy allows 4 at once; 6 more wait.",
        ),
        (
            "a freeze",
            frozen(FreezeKind::Freeze, Some(600)),
            "frozen",
            "A freeze set by bob holds every rollout until 2026-05-27 22:00 UTC: the holidays.",
        ),
        (
            "a freeze without an end",
            frozen(FreezeKind::Freeze, None),
            "frozen",
            "A freeze set by bob holds every rollout until a person lifts it: the holidays.",
        ),
        (
            "the stop button",
            frozen(FreezeKind::Stop, None),
            "stopped",
            "bob pressed the stop button, so that no device is admitted anywhere: the holidays.",
        ),
        (
            "a check of the batch",
            {
                let mut story = between(|rollout| {
                    rollout.rule.health.checks = serde_json::from_value(json!([
                        {"type": "custom", "name": "error rate", "url": "https://x/y"}]))
                    .unwrap();
                });
                story.facts.as_mut().unwrap().checks = vec![GateCheck {
                    batch: 1,
                    position: 0,
                    name: "error rate".to_owned(),
                    status: CheckStatus::Pending,
                    evidence: json!({"tries": 2, "summary": "0.04 is not below 0.02"}),
                    checked_at: Some(noon(-1)),
                    deadline_at: noon(4),
                    waived_by: None,
                }];
                story
            },
            "gate_check",
            "Batch 1 is done, and its check \"error rate\" must pass by 2026-05-27 12:04 UTC before the rollout goes on; it was tried 2 times and said last: 0.04 is not below 0.02.",
        ),
        (
            "paused by hand",
            paused(StatusReason::Operator, "the shop is full"),
            "paused_by_person",
            "alice paused the rollout: the shop is full.",
        ),
        (
            "paused by its failures",
            paused(StatusReason::FailureRate, "3 of 10 devices failed"),
            "paused_failure_rate",
            "The rollout is paused because more devices failed than the policy allows: 3 of 10 devices failed.",
        ),
        (
            "paused by a check",
            paused(StatusReason::CheckFailed, "the error rate is 4 %"),
            "paused_check_failed",
            "The rollout is paused because a check of a batch failed: the error rate is 4 %.",
        ),
        (
            "an order to go back",
            with(InProgress, 1, |story| {
                story.facts.as_mut().unwrap().commands = vec![Command {
                    id: CommandId(Uuid::from_u128(4)),
                    rollout_id: RolloutId(Uuid::from_u128(1)),
                    device_uuid: None,
                    batch: None,
                    kind: CommandKind::RollbackAll,
                    actor: "alice".to_owned(),
                    reason: "orders are lost".to_owned(),
                    outcome: CommandOutcome::Pending,
                    detail: None,
                    created_at: noon(-1),
                }];
            }),
            "rollback_ordered",
            "alice ordered that every device goes back, which begins in a moment: orders are lost.",
        ),
        (
            "on its way back",
            with(RollingBack, 1, |story| {
                change(story, |rollout| {
                    rollout.status_detail = Some("orders are lost".to_owned());
                });
                let facts = story.facts.as_mut().unwrap();
                facts.batches[0].verifying = 0;
                facts.batches[0].rolling_back = 1;
                facts.batches[0].rolled_back = 9;
            }),
            "rolling_back_all",
            "The rollout is being taken back (orders are lost): 1 device is on its way back until 2026-05-27 12:05 UTC, 9 went back, 0 did not get back.",
        ),
        (
            "complete",
            with(Completed, 3, |story| {
                story.view.batches[2].verifying = 0;
                story.view.batches[2].completed = 9;
                story.view.batches[2].skipped = 1;
            }),
            "rollout_completed",
            "The rollout is complete: 29 of 30 devices are healthy on the image; 1 was left out.",
        ),
        (
            "cancelled",
            with(Cancelled, 1, |story| {
                change(story, |rollout| {
                    rollout.status_detail = Some("the wrong version".to_owned());
                });
                story.turn = turn("the wrong version");
            }),
            "rollout_cancelled",
            "alice ended the rollout: the wrong version.",
        ),
        (
            "superseded",
            with(Superseded, 1, |story| {
                story.superseded_by = Some("r.io/demo/app:v3".to_owned());
            }),
            "rollout_superseded",
            "A newer version took the rollout's place: r.io/demo/app:v3.",
        ),
        (
            "taken back",
            with(RolledBack, 1, |story| {
                story.view.batches[0].verifying = 0;
                story.view.batches[0].rolled_back = 10;
            }),
            "rollout_rolled_back",
            "The rollout was taken back: 10 went back, 0 did not get back.",
        ),
    ]
}

#[test]
fn a_rollout_says_what_it_waits_for_or_how_it_ended() {
    for (name, story, code, sentence) in cases() {
        let answer = Answer::of(&rollout(&story, noon(0)));
        let first = &answer.reasons[0];
        assert_eq!(first.code.as_str(), code, "{name}: {first:?}");
        assert_eq!(first.sentence, sentence, "{name}");
    }
}

#[test]
fn a_stop_made_after_a_freeze_was_overridden_is_told_as_holding() {
    let overridden_at = |minutes: i64| {
        let mut story = frozen(FreezeKind::Stop, None);
        change(&mut story, |rollout| {
            rollout.freeze_override = Some("a security fix".to_owned());
            rollout.freeze_override_at = Some(noon(minutes));
        });
        let answer = Answer::of(&rollout(&story, noon(0)));
        let codes: Vec<&str> = answer.reasons.iter().map(|one| one.code.as_str()).collect();
        codes.join(" ")
    };
    // It was made at 11:40.
    assert_eq!(overridden_at(-25), "stopped freeze_overridden");
    assert_eq!(overridden_at(-15), "next_step freeze_overridden");
}

#[test]
fn devices_that_wait_to_go_back_are_told_of_also_after_the_end() {
    for status in [InProgress, Completed] {
        let mut story = story(status, 1);
        change(&mut story, |rollout| {
            rollout.rule.failure.rollback_max_in_flight = 2;
        });
        story.back.waiting = 3;
        for (on_their_way, told) in [(1, false), (2, true)] {
            story.back.on_their_way = on_their_way;
            let answer = Answer::of(&rollout(&story, noon(0)));
            let sentence = "3 devices are to go back and wait for their turn: 2 devices are on their way back, and the policy allows 2 at once.";
            let found = answer.sentences.iter().any(|one| one == sentence);
            assert_eq!(found, told, "{status}: {:?}", answer.sentences);
        }
    }
}

#[test]
fn a_check_that_was_not_tried_has_said_nothing() {
    let mut story = between(|rollout| {
        rollout.rule.health.checks = serde_json::from_value(json!([
            {"type": "custom", "name": "error rate", "url": "https://x/y"}]))
        .unwrap();
    });
    story.facts.as_mut().unwrap().checks = vec![GateCheck {
        batch: 1,
        position: 0,
        name: "error rate".to_owned(),
        status: CheckStatus::Pending,
        evidence: json!({"summary": "it was not tried yet"}),
        checked_at: None,
        deadline_at: noon(4),
        waived_by: None,
    }];
    let answer = Answer::of(&rollout(&story, noon(0)));
    assert_eq!(
        answer.sentences[0],
        "Batch 1 is done, and its check \"error rate\" must pass by 2026-05-27 12:04 UTC before the rollout goes on; it was not tried yet."
    );
}
