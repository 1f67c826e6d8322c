use super::*;

/// Edges in short, and what is waited for.
fn told(case: &Case) -> (Vec<String>, String) {
    let plan = case.plan();
    let is_start = |edge: &Edge| matches!(edge, Edge::BatchStarted { .. });
    let starts = std::iter::once(false).chain(plan.edges.iter().map(is_start));
    let edges = plan
        .edges
        .iter()
        .zip(starts)
        // The first slice goes with the start of its batch.
        .filter(|(edge, start)| !(*start && matches!(edge, Edge::Admitted { .. })))
        .map(|(edge, _)| edge)
        .map(|edge| match edge {
            Edge::BatchStarted { batch } => format!("start {batch}"),
            Edge::BatchCompleted {
                batch,
                next_batch_at,
            } => {
                let seconds = (*next_batch_at - case.now).num_seconds();
                format!("end {batch}, next in {seconds}")
            }
            Edge::Paused { reason, .. } => format!("pause {reason}"),
            Edge::Waiting { status } => format!("waiting {status}"),
            other => other.name().to_owned(),
        })
        .collect();
    let wait = plan
        .waits_for
        .map_or_else(|| "ended".to_owned(), |wait| wait.to_string());
    (edges, wait)
}

pub(super) fn check(name: &str, case: &Case, edges: &[&str], wait: &str) {
    let (found, waits) = told(case);
    assert_eq!(found, edges, "{name}");
    assert!(waits.starts_with(wait), "{name}: {waits}");
}

pub(super) fn change(mut case: Case, change: impl FnOnce(&mut Case)) -> Case {
    change(&mut case);
    case
}

#[test]
fn batches_follow_each_other() {
    use RolloutStatus::{InProgress, Pending};
    check(
        "a new rollout starts",
        &Case::new(Pending, 0, 0),
        &["start 1"],
        "10 of 10 devices of batch 1 of 3",
    );
    check(
        "a batch with devices on their way is waited for until they are judged",
        &change(Case::new(InProgress, 1, 0), |c| {
            (
                c.batches[0].pending,
                c.batches[0].updating,
                c.batches[0].completed,
            ) = (0, 4, 6);
        }),
        &[],
        "4 of 10 devices of batch 1 of 3, judged at the latest by 1970-01-12T13:51:40Z",
    );
    check(
        "a batch that is done is followed by the delay",
        &Case::new(InProgress, 1, 1),
        &["end 1, next in 60"],
        "the delay before batch 2, until 1970-01-12T13:47:40Z",
    );
    check(
        "the delay is waited for",
        &change(Case::new(InProgress, 1, 1), |c| {
            c.rollout.next_batch_at = Some(at(1));
        }),
        &[],
        "the delay before batch 2",
    );
    check(
        "after the delay the next batch starts",
        &change(Case::new(InProgress, 1, 1), |c| {
            c.rollout.next_batch_at = Some(at(0));
        }),
        &["start 2"],
        "10 of 10 devices of batch 2 of 3",
    );
    check(
        "without a delay the next batch starts at once",
        &change(Case::new(InProgress, 2, 2), |c| {
            c.rollout.rule.batch_delay_seconds = 0;
        }),
        &["end 2, next in 0", "start 3"],
        "10 of 10 devices of batch 3 of 3",
    );
    check(
        "the last batch ends the rollout without a delay",
        &Case::new(InProgress, 3, 3),
        &["end 3, next in 0", "completed"],
        "ended",
    );
    check(
        "unreachable and skipped devices do not hold a batch up",
        &change(Case::new(InProgress, 1, 1), |c| {
            (c.batches[0].completed, c.batches[0].attempted) = (3, 3);
            (c.batches[0].unreachable, c.batches[0].skipped) = (5, 2);
        }),
        &["end 1, next in 60"],
        "the delay before batch 2",
    );
    check(
        "a device that comes back during the delay does not hold the next batch up",
        &change(Case::new(InProgress, 1, 1), |c| {
            (c.batches[0].completed, c.batches[0].updating) = (9, 1);
            c.rollout.next_batch_at = Some(at(0));
        }),
        &["start 2"],
        "10 of 10 devices of batch 2 of 3",
    );
}

#[test]
fn a_batch_without_evidence_pauses_the_rollout() {
    use RolloutStatus::{InProgress, Paused};
    let silent = |current: i64| {
        change(Case::new(InProgress, current, current), |c| {
            for progress in c.batches.iter_mut().filter(|p| p.batch <= current) {
                (progress.completed, progress.attempted, progress.unreachable) = (0, 0, 10);
            }
        })
    };
    let pause = "an operator to resume or cancel it; it is paused: no device could be judged so far: 10 unreachable, 0 skipped";
    check(
        "all unreachable",
        &silent(1),
        &["end 1, next in 60", "pause no_evidence"],
        pause,
    );
    check(
        "all unreachable in the last batch",
        &change(silent(3), |c| c.rollout.batch_count = 3),
        &["end 3, next in 0", "pause no_evidence"],
        "an operator",
    );
    check(
        "one verdict in an earlier batch is evidence",
        &change(silent(2), |c| {
            (
                c.batches[0].unreachable,
                c.batches[0].completed,
                c.batches[0].attempted,
            ) = (9, 1, 1);
        }),
        &["end 2, next in 60"],
        "the delay",
    );
    check(
        "all skipped, and more to come",
        &change(silent(1), |c| {
            (c.batches[0].unreachable, c.batches[0].skipped) = (0, 10);
        }),
        &["end 1, next in 60", "pause no_evidence"],
        "an operator",
    );
    check(
        "all skipped in the last batch leaves nobody to wait for",
        &change(silent(3), |c| {
            for progress in &mut c.batches {
                (progress.unreachable, progress.skipped) = (0, 10);
            }
        }),
        &["end 3, next in 0", "completed"],
        "ended",
    );
    let resumed = |current: i64, next: i64| {
        change(silent(current), |c| {
            c.rollout.status = Paused;
            c.rollout.status_reason = Some(StatusReason::NoEvidence);
            c.rollout.next_batch_at = Some(at(next));
        })
        .with(&[CommandKind::Resume])
    };
    check(
        "resumed in spite of it, it goes on",
        &resumed(1, -1),
        &["resumed", "start 2"],
        "10 of 10",
    );
    check(
        "resumed after the last batch, it is done",
        &resumed(3, -1),
        &["resumed", "completed"],
        "ended",
    );
}

#[test]
fn failures_hold_a_rollout() {
    use RolloutStatus::{InProgress, Paused};
    let failing = |current: i64| {
        change(Case::new(InProgress, current, current), |c| {
            (
                c.batches[0].completed,
                c.batches[0].failed,
                c.batches[0].attempted_failed,
            ) = (7, 3, 3);
            c.latest_failed = vec![true, false];
        })
    };
    let budget = "the pause that its failures call for: 3 of 10 attempted devices failed";
    check(
        "above the share at the end of a batch",
        &failing(1),
        &[],
        budget,
    );
    check(
        "above the share during the delay",
        &change(failing(1), |c| c.rollout.next_batch_at = Some(at(-1))),
        &[],
        budget,
    );
    check(
        "above the share inside a batch",
        &change(failing(1), |c| {
            (c.batches[0].completed, c.batches[0].updating) = (2, 5);
        }),
        &[],
        budget,
    );
    check(
        "three in a row",
        &change(Case::new(InProgress, 1, 1), |c| {
            c.latest_failed = vec![true; 3];
        }),
        &[],
        "the pause that its failures call for: the last 3",
    );
    check(
        "above the share after the last batch",
        &change(failing(3), |c| {
            for progress in &mut c.batches[1..] {
                (progress.completed, progress.attempted_failed) = (0, 10);
            }
        }),
        &[],
        "the pause",
    );
    let paused = change(failing(1), |c| {
        c.rollout.status = Paused;
        c.rollout.status_reason = Some(StatusReason::FailureRate);
        c.rollout.status_detail = Some("3 of 10".to_owned());
    });
    check(
        "paused, it waits for a person",
        &paused,
        &[],
        "an operator to resume or cancel it; it is paused: 3 of 10",
    );
    check(
        "whoever resumes it takes the failures upon themselves",
        &paused.clone().with(&[CommandKind::Resume]),
        &["resumed", "end 1, next in 60"],
        "the delay",
    );
    check(
        "but not while the digest is in quarantine",
        &change(paused, |c| c.quarantined = true).with(&[CommandKind::Resume]),
        &[],
        "an operator",
    );
}

#[test]
fn a_quarantined_digest_ships_to_nobody_more() {
    use RolloutStatus::{InProgress, Pending};
    for case in [
        Case::new(Pending, 0, 0),
        Case::new(InProgress, 1, 0),
        Case::new(InProgress, 1, 1),
    ] {
        let case = change(case, |c| c.quarantined = true);
        check(
            "quarantined",
            &case,
            &["pause quarantined"],
            "an operator to resume or cancel it; it is paused: sha256:aaaaaaaaaaaa is in quarantine",
        );
    }
}

#[test]
fn what_its_policy_wants_signed_by_now_and_is_not_ships_to_nobody_more() {
    use RolloutStatus::{InProgress, Pending};
    for case in [
        Case::new(Pending, 0, 0),
        Case::new(InProgress, 1, 0),
        Case::new(InProgress, 1, 1),
    ] {
        let case = change(case, |c| c.unsigned = true);
        check(
            "unsigned",
            &case,
            &["pause unsigned"],
            "an operator to resume or cancel it; it is paused: it has no signature",
        );
    }
    let mut paused = Case::new(InProgress, 1, 1);
    paused.rollout.status = RolloutStatus::Paused;
    let case = change(paused, |c| c.unsigned = true).with(&[CommandKind::Resume]);
    check("nor is it resumed", &case, &[], "an operator");
}

#[test]
fn an_ordered_rollback_of_all_holds_the_rollout() {
    use RolloutStatus::{InProgress, Pending, RollingBack};
    for case in [
        Case::new(Pending, 0, 0),
        Case::new(InProgress, 1, 1),
        Case::new(RollingBack, 1, 1),
    ] {
        let case = case.with(&[CommandKind::RollbackAll]);
        check("rollback ordered", &case, &[], "its devices to be put back");
        assert!(
            case.plan().settled.is_empty(),
            "it is not the planner's to settle"
        );
    }
    let one = Case::new(InProgress, 1, 1).with(&[CommandKind::RollbackDevice]);
    check(
        "a rollback of one device does not",
        &one,
        &["end 1, next in 60"],
        "the delay",
    );
}

/// Every command in every status: what becomes of it, and the status then.
#[test]
fn every_command_in_every_status() {
    use CommandKind::{Approve, Cancel, NextBatch, OverrideFreeze, Pause, Resume, Retry};
    use RolloutStatus as S;
    let kinds = [
        Pause,
        Resume,
        Cancel,
        Approve,
        NextBatch,
        Retry,
        OverrideFreeze,
    ];
    let not_begun = |status: &str, approve: &str| {
        [
            "applied paused".to_owned(),
            format!("no_change {status}"),
            "applied cancelled".to_owned(),
            approve.to_owned(),
            format!("refused {status}"),
            format!("no_change {status}"),
            format!("no_change {status}"),
        ]
    };
    let refused = |status: &str| std::array::from_fn(|_| format!("refused {status}"));
    let begun = |outcomes: [&str; 7]| outcomes.map(str::to_owned);
    let mut cancelled: [String; 7] = refused("cancelled");
    cancelled[2] = "no_change cancelled".to_owned();
    let table: [(S, [String; 7]); 11] = [
        (
            S::Pending,
            // Nothing holds it, so it begins.
            not_begun("in_progress", "no_change in_progress"),
        ),
        (
            S::AwaitingApproval,
            not_begun("awaiting_approval", "applied in_progress"),
        ),
        (S::Scheduled, not_begun("scheduled", "no_change scheduled")),
        (
            S::InProgress,
            begun([
                "applied paused",
                "no_change in_progress",
                "applied cancelled",
                "no_change in_progress",
                "refused in_progress",
                "no_change in_progress",
                "no_change in_progress",
            ]),
        ),
        (
            S::Paused,
            begun([
                "no_change paused",
                "applied in_progress",
                "applied cancelled",
                "no_change paused",
                "refused paused",
                "no_change paused",
                "no_change paused",
            ]),
        ),
        (S::Completed, refused("completed")),
        (S::Failed, refused("failed")),
        (S::Cancelled, cancelled),
        (S::Superseded, refused("superseded")),
        (S::RollingBack, refused("rolling_back")),
        (S::RolledBack, refused("rolled_back")),
    ];
    assert_eq!(table.len(), S::ALL.len());
    for (status, expected) in table {
        for (kind, expected) in kinds.into_iter().zip(expected) {
            let begun =
                matches!(status, S::InProgress | S::Paused | S::RollingBack) || status.is_final();
            let mut case = Case::new(status, i64::from(begun), 0).with(&[kind]);
            match status {
                S::AwaitingApproval => case.rollout.rule.strategy = Strategy::Manual,
                S::Scheduled => case.rollout.rule.starts_at = Some(at(60)),
                _ => {}
            }
            let plan = case.plan();
            let [settled] = plan.settled.as_slice() else {
                panic!("{status} {kind}: {plan:?}")
            };
            let found = format!("{} {}", settled.outcome, plan.after.status);
            assert_eq!(found, expected, "{kind} of a rollout that is {status}");
            assert_eq!(
                settled.detail.is_none(),
                settled.outcome == CommandOutcome::Applied
            );
            assert_eq!(
                plan.after.finished_at.is_some(),
                plan.after.status.is_final()
            );
        }
    }
}

#[test]
fn commands_are_carried_out_in_the_order_in_which_they_were_given() {
    use CommandKind::{Cancel, Pause, Resume};
    let case =
        Case::new(RolloutStatus::InProgress, 1, 1).with(&[Pause, Pause, Resume, Cancel, Resume]);
    let plan = case.plan();
    let outcomes: Vec<_> = plan
        .settled
        .iter()
        .map(|settled| settled.outcome.as_str())
        .collect();
    assert_eq!(
        outcomes,
        ["applied", "no_change", "applied", "applied", "refused"]
    );
    assert_eq!(plan.after.status, RolloutStatus::Cancelled);
    assert_eq!(plan.after.status_detail.as_deref(), Some("a look at it"));
    check(
        "paused again at the end",
        &Case::new(RolloutStatus::Pending, 0, 0).with(&[Pause, Resume, Pause]),
        &["pause operator", "resumed", "pause operator"],
        "an operator to resume or cancel it; it was paused by hand: a look at it",
    );
}
