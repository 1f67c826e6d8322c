//! Whom the end of a batch waits for.

use super::laws::any_case;
use super::table::{change, check};
use super::*;
use proptest::prelude::*;

/// A rollout of which the batches up to this one are done.
fn done(batch: i64) -> Case {
    Case::new(RolloutStatus::InProgress, batch, batch)
}

/// With one device of the first batch on its way, admitted with the present one or before.
fn again(case: Case, tried_again: i64) -> Case {
    change(case, |c| {
        (c.batches[0].completed, c.batches[0].updating) = (9, 1);
        c.tried_again = tried_again;
    })
}

#[test]
fn devices_of_earlier_batches_that_are_tried_again_are_waited_for() {
    check(
        "before a batch ends",
        &again(done(2), 1),
        &[],
        "1 of 11 devices of batch 2 of 3, judged at the latest by",
    );
    check(
        "before the rollout ends",
        &again(done(3), 1),
        &[],
        "1 of 11 devices of batch 3 of 3",
    );
    check(
        "also together with those of the present batch",
        &change(again(done(2), 1), |c| {
            (c.batches[1].completed, c.batches[1].verifying) = (7, 3);
        }),
        &[],
        "4 of 11 devices of batch 2 of 3",
    );
    check(
        "and from the moment at which they are admitted",
        &change(done(2), |c| {
            (c.batches[0].completed, c.batches[0].pending) = (9, 1);
        }),
        &["admitted"],
        "1 of 11 devices of batch 2 of 3",
    );
    check(
        "the next batch is not asked for before they are there",
        &again(done(2), 1).with(&[CommandKind::NextBatch]),
        &[],
        "1 of 11 devices of batch 2 of 3",
    );
    check(
        "one that was silent when its batch ended, and is back, is not waited for",
        &again(done(2), 0),
        &["end 2, next in 60"],
        "the delay before batch 3",
    );
}

#[test]
fn a_batch_that_has_ended_is_open_again_once_somebody_is_admitted_with_it() {
    let joined = |status: RolloutStatus| {
        change(Case::new(status, 3, 3), |c| {
            (c.batches[2].pending, c.batches[2].total) = (1, 11);
            c.rollout.next_batch_at = Some(at(0));
        })
    };
    let wait = "1 of 11 devices of batch 3 of 3";
    let case = joined(RolloutStatus::InProgress);
    check("a device joined it", &case, &["admitted"], wait);
    assert_eq!(case.plan().after.next_batch_at, None);
    check(
        "while the rollout was paused",
        &joined(RolloutStatus::Paused).with(&[CommandKind::Resume]),
        &["resumed", "admitted"],
        wait,
    );
    check(
        "then it ends again",
        &change(joined(RolloutStatus::InProgress), |c| {
            (c.batches[2].pending, c.batches[2].completed) = (0, 11);
            c.rollout.next_batch_at = None;
        }),
        &["end 3, next in 0", "completed"],
        "ended",
    );
}

#[test]
fn what_failed_wherever_it_was_judged_is_no_success() {
    let ends = |healthy: i64, failed: i64| {
        change(done(3), |c| {
            c.rollout.rule.failure.max_failure_rate = 1.0;
            c.rollout.rule.failure.max_consecutive_failures = 0;
            for progress in &mut c.batches {
                (progress.attempted, progress.attempted_failed) = (0, 0);
            }
            let batch = &mut c.batches[0];
            (batch.attempted, batch.attempted_failed) = (healthy + failed, failed);
            c.rollout.next_batch_at = Some(c.now);
        })
    };
    for (name, case, edge) in [
        ("one is healthy", ends(1, 9), "completed"),
        ("nobody is", ends(0, 2), "failed"),
        ("all were skipped", ends(0, 0), "completed"),
    ] {
        check(name, &case, &[edge], "ended");
    }
    let plan = ends(0, 2).plan();
    assert_eq!(plan.after.status, RolloutStatus::Failed);
    assert_eq!(plan.after.finished_at, Some(at(0)));
    let told = plan.after.status_detail.as_deref();
    assert_eq!(told, Some("2 devices failed and none is healthy"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nobody who is admitted is left behind by the end of a batch.
    #[test]
    fn no_batch_ends_while_somebody_admitted_with_it_is_on_the_way(case in any_case()) {
        let plan = case.plan();
        let ends = |edge: &Edge| {
            matches!(edge, Edge::BatchCompleted { .. } | Edge::Completed | Edge::Failed { .. })
        };
        let admits = |edge: &Edge| matches!(edge, Edge::Admitted { .. });
        let admitted = plan.edges.iter().skip_while(|edge| !admits(edge));
        prop_assert!(!admitted.clone().any(ends), "{:?}", plan.edges);
        if plan.edges.iter().any(|edge| matches!(edge, Edge::BatchCompleted { .. })) {
            let current = case.batches.iter().find(|p| p.batch == case.rollout.current_batch);
            prop_assert_eq!(current.map_or(0, BatchProgress::in_flight) + case.tried_again, 0);
        }
    }
}
