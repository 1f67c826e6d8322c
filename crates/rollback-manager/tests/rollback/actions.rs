//! What a used-up budget leads to, and batches that are taken back.

use crate::world::*;
use windlass_types::policy::FailureAction;

/// Three failures of ten, and failed devices stay where they are unless the action says otherwise.
fn rule(action: FailureAction) -> RolloutRule {
    RolloutRule {
        failure: FailureRule {
            action,
            auto_rollback: false,
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    }
}

impl World {
    /// As health-checker writes it where failed devices are not put back.
    async fn fail_and_stay(&self, at: usize) {
        self.scenario.fail(self.device(at)).await;
        self.set(at, "check_at = NULL").await;
    }

    async fn standing(&self, devices: usize) -> Vec<String> {
        let mut found = Vec::new();
        for at in 0..devices {
            found.push(self.status(at).await);
        }
        found
    }
}

#[tokio::test]
async fn each_action_puts_back_whom_it_names_and_does_so_once() {
    // Devices 0 to 2 fail, 3 is healthy and in the same batch, 4 is healthy in the batch before.
    let cases = [
        (FailureAction::Pause, "paused", [false, false, false]),
        (
            FailureAction::RollbackFailed,
            "paused",
            [true, false, false],
        ),
        (FailureAction::RollbackBatch, "paused", [true, true, false]),
        (
            FailureAction::RollbackAll,
            "rolling_back",
            [true, true, true],
        ),
    ];
    for (action, status, [failed, batch, before]) in cases {
        for world in worlds(5, &rule(action)).await {
            world.rollout("current_batch = 2, batch_count = 2").await;
            for at in 0..4 {
                world.set(at, "batch = 2").await;
            }
            for at in 3..5 {
                world
                    .set(
                        at,
                        "status = 'completed', verdict = 'healthy', check_at = NULL",
                    )
                    .await;
            }
            for at in 0..3 {
                world.fail_and_stay(at).await;
            }
            world.pass().await;
            world.pass().await;
            let back = |yes| if yes { "rolling_back" } else { "" };
            let found = world.standing(5).await;
            assert_eq!(world.scenario.status().await.0, status, "{action}");
            for (at, found) in found.iter().enumerate().take(3) {
                assert_eq!(
                    found == "rolling_back",
                    failed,
                    "{action} {at}: {}",
                    back(failed)
                );
            }
            assert_eq!(found[3] == "rolling_back", batch, "{action}");
            assert_eq!(found[4] == "rolling_back", before, "{action}");
            assert_eq!(world.count(EventType::Quarantined).await, 1, "{action}");
            let (paused, started) = match action {
                FailureAction::RollbackAll => (0, 1),
                _ => (1, 0),
            };
            assert_eq!(world.count(EventType::RolloutPaused).await, paused);
            assert_eq!(world.count(EventType::RollbackStarted).await, started);
        }
    }
}

#[tokio::test]
async fn a_rollout_beyond_its_budget_is_taken_back_to_the_end() {
    for world in worlds(4, &rule(FailureAction::RollbackAll)).await {
        for at in 0..4 {
            let (device, bad) = (world.device(at), image(2));
            world
                .scenario
                .report(device, &Said::running(2, &bad, "c2"))
                .await;
        }
        for at in 0..3 {
            world.fail_and_stay(at).await;
        }
        world.pass().await;
        for at in 0..4 {
            let (device, good) = (world.device(at), image(1));
            world
                .scenario
                .report(device, &Said::running(3, &good, "c3"))
                .await;
        }
        for at in 0..4 {
            world.until(at, "rolled_back").await;
        }
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            (
                "rolled_back".to_owned(),
                Some("consecutive_failures".to_owned())
            )
        );
    }
}

#[tokio::test]
async fn devices_that_fail_once_the_rollout_is_paused_go_back_too() {
    for world in worlds(5, &rule(FailureAction::RollbackFailed)).await {
        let bad = image(2);
        let late = world.device(4);
        world
            .scenario
            .report(late, &Said::running(2, &bad, "c2"))
            .await;
        for at in 0..3 {
            world.fail_and_stay(at).await;
        }
        world.pass().await;
        world.fail_and_stay(4).await;
        world.pass().await;
        assert_eq!(world.status(4).await, "rolling_back");
        assert_eq!(world.scenario.target(late).await, (3, image(1)));
    }
}

#[tokio::test]
async fn devices_that_fail_late_go_back_too_where_a_person_paused_first() {
    for world in worlds(5, &rule(FailureAction::RollbackFailed)).await {
        world
            .rollout("status = 'paused', status_reason = 'operator'")
            .await;
        for at in 3..5 {
            let (device, bad) = (world.device(at), image(2));
            world
                .scenario
                .report(device, &Said::running(2, &bad, "c2"))
                .await;
        }
        for at in 0..3 {
            world.fail_and_stay(at).await;
        }
        world.pass().await;
        assert_eq!(world.status(0).await, "rolling_back");
        world.fail_and_stay(4).await;
        world.pass().await;
        assert_eq!(world.status(4).await, "rolling_back");
        assert_eq!(world.status(3).await, "scheduled");
    }
}

#[tokio::test]
async fn devices_of_a_class_in_quarantine_that_fail_late_go_back_too() {
    let mut rule = rule(FailureAction::RollbackFailed);
    rule.failure.quarantine_by = Some("model".to_owned());
    for world in worlds(6, &rule).await {
        let mut tx = world.store().begin().await.unwrap();
        tx.sql(
            "INSERT INTO device_tags (device_uuid, key, value) SELECT uuid, 'model', 'new' \
             FROM devices WHERE uuid IN ($1, $2)",
        )
        .bind(world.device(4).0)
        .bind(world.device(5).0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let (late, bad) = (world.device(3), image(2));
        world
            .scenario
            .report(late, &Said::running(2, &bad, "c2"))
            .await;
        for at in 0..3 {
            world.fail_and_stay(at).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        // One of the class that runs it, and one of another class that fails like it.
        for at in [3, 4] {
            if world.status(at).await == "scheduled" {
                world.fail_and_stay(at).await;
            }
        }
        world.pass().await;
        assert_eq!(world.status(3).await, "rolling_back");
        assert_eq!(
            world.status(4).await,
            "failed",
            "of a class within its budget"
        );
        assert_eq!(world.scenario.status().await.0, "in_progress");
    }
}

#[tokio::test]
async fn the_batch_that_is_beyond_its_budget_goes_back_and_not_the_present_one() {
    let mut rule = rule(FailureAction::RollbackBatch);
    rule.failure.max_failure_rate = 1.0;
    rule.failure.max_batch_failure_rate = Some(0.4);
    rule.failure.max_consecutive_failures = 0;
    for world in worlds(4, &rule).await {
        world.rollout("current_batch = 2, batch_count = 2").await;
        for at in 2..4 {
            world.set(at, "batch = 2").await;
        }
        let healthy = "status = 'completed', verdict = 'healthy', check_at = NULL";
        for at in [1, 2] {
            world.set(at, healthy).await;
            world.judged_now(at).await;
        }
        let (running, bad) = (world.device(3), image(2));
        world
            .scenario
            .report(running, &Said::running(2, &bad, "c2"))
            .await;
        world.fail_and_stay(0).await;
        world.pass().await;
        let found = world.standing(4).await;
        assert_eq!(
            found,
            ["rolling_back", "rolling_back", "completed", "scheduled"]
        );
    }
}

#[tokio::test]
async fn the_environment_only_pauses_and_blames_no_image() {
    for world in worlds(4, &rule(FailureAction::RollbackAll)).await {
        for at in 0..3 {
            world
                .set(
                    at,
                    "status = 'failed', verdict = 'environment', check_at = NULL",
                )
                .await;
            world.judged_now(at).await;
        }
        world
            .set(
                3,
                "status = 'completed', verdict = 'healthy', check_at = NULL",
            )
            .await;
        world.pass().await;
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("environment_failures".to_owned()))
        );
        assert_eq!(world.status(0).await, "failed");
        assert_eq!(world.count(EventType::Quarantined).await, 0);
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        // A person who resumes takes them upon themselves.
        world.wait(1);
        let mut tx = world.store().begin().await.unwrap();
        rollouts::restart_failure_count(&mut tx, world.scenario.rollout)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.rollout("status = 'in_progress'").await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
    }
}

#[tokio::test]
async fn devices_that_went_silent_pause_a_rollout_and_condemn_no_image() {
    for world in worlds(5, &rule(FailureAction::RollbackFailed)).await {
        for at in 0..2 {
            world
                .set(
                    at,
                    "status = 'unreachable', reason = 'silent_after_update', check_at = NULL",
                )
                .await;
        }
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("went_silent".to_owned()))
        );
        assert_eq!(world.count(EventType::Quarantined).await, 0);
    }
}

#[tokio::test]
async fn one_batch_is_taken_back_on_an_order_and_the_rollout_pauses() {
    for world in worlds(4, &lax()).await {
        world.rollout("current_batch = 2, batch_count = 3").await;
        for at in 2..4 {
            world.set(at, "batch = 2").await;
        }
        let id = world.order_batch(2).await;
        let none = world.order_batch(3).await;
        let unknown = world.order_batch(4).await;
        world.pass().await;
        assert_eq!(world.outcome(id).await, CommandOutcome::Applied);
        assert_eq!(world.outcome(none).await, CommandOutcome::NoChange);
        assert_eq!(world.outcome(unknown).await, CommandOutcome::Refused);
        assert_eq!(
            world.standing(4).await,
            ["scheduled", "scheduled", "rolling_back", "rolling_back"]
        );
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("operator".to_owned()))
        );
        // Taken back as a whole while that goes on.
        let all = world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.outcome(all).await, CommandOutcome::Applied);
        let again = world.order_batch(1).await;
        world.pass().await;
        assert_eq!(world.outcome(again).await, CommandOutcome::NoChange);
        for at in 0..4 {
            assert_eq!(world.scenario.target(world.device(at)).await, (3, image(1)));
        }
        assert_eq!(world.count(EventType::RollbackScheduled).await, 4);
    }
}

#[tokio::test]
async fn only_so_many_go_back_at_once_and_the_rest_wait_in_order() {
    let rule = RolloutRule {
        failure: FailureRule {
            rollback_max_in_flight: 2,
            ..lax().failure
        },
        ..RolloutRule::default()
    };
    for world in worlds(6, &rule).await {
        let bad = image(2);
        for at in 0..5 {
            let device = world.device(at);
            world
                .scenario
                .report(device, &Said::running(2, &bad, "c2"))
                .await;
        }
        // The last is silent: its target waits for it and costs nobody anything.
        world
            .set(5, "status = 'unreachable', check_at = NULL")
            .await;
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        world.pass().await;
        assert_eq!(world.status(5).await, "rolling_back");
        assert_eq!(world.scenario.target(world.device(5)).await, (3, image(1)));
        for left in [3, 2, 1, 0] {
            let mut read = world.store().read().await.unwrap();
            let queue = rollbacks::queue(&mut read, world.scenario.rollout)
                .await
                .unwrap();
            drop(read);
            assert!(queue.on_the_way <= 2);
            assert_eq!(queue.waiting, left);
            // One of those on their way gets there, and the next one's turn has come.
            let mut on_the_way = None;
            for at in 0..5 {
                if world.status(at).await == "rolling_back" {
                    on_the_way = Some(at);
                }
            }
            let at = on_the_way.unwrap();
            let (device, good) = (world.device(at), image(1));
            world
                .scenario
                .report(device, &Said::running(3, &good, "c3"))
                .await;
            world.until(at, "rolled_back").await;
            world.pass().await;
        }
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for at in 0..5 {
            let (device, good) = (world.device(at), image(1));
            world
                .scenario
                .report(device, &Said::running(3, &good, "c3"))
                .await;
        }
        for at in 0..5 {
            world.until(at, "rolled_back").await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolled_back");
        assert_eq!(world.status(5).await, "rolling_back", "it is still silent");
    }
}

#[tokio::test]
async fn replicas_that_find_a_budget_used_up_act_once() {
    for world in worlds(8, &rule(FailureAction::RollbackBatch)).await {
        for at in 0..3 {
            world.fail_and_stay(at).await;
        }
        let replica = || async {
            for _ in 0..20 {
                manager::budgets(&world.deps, 3).await.ok();
                manager::put_back(&world.deps, 3).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        for at in 0..8 {
            let now = world.scenario.target(world.device(at)).await;
            assert_eq!(now, (3, image(1)), "{at}");
        }
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::RollbackScheduled).await, 8);
    }
}
