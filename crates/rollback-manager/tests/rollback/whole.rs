//! A whole rollout is taken back.

use crate::world::*;

#[tokio::test]
async fn a_clock_that_was_set_back_hides_no_device() {
    for world in worlds(3, &lax()).await {
        let silent = world.device(2);
        let mut tx = world.store().begin().await.unwrap();
        // They were moved by a clock that was an hour ahead.
        let ahead = tx.now() + TimeDelta::hours(1);
        tx.sql("UPDATE device_rollout_status SET updated_at = $1, status = 'verifying'")
            .bind(ahead)
            .execute()
            .await
            .unwrap();
        tx.sql("UPDATE device_rollout_status SET status = 'unreachable' WHERE device_uuid = $1")
            .bind(silent.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.quarantine(2).await;
        manager::put_back(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.status(2).await, "rolling_back");
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for at in 0..3 {
            assert_eq!(world.status(at).await, "rolling_back", "{at}");
        }
    }
}

#[tokio::test]
async fn a_whole_rollout_is_taken_back_in_groups_and_ends() {
    for world in worlds(7, &lax()).await {
        for at in 0..7 {
            let (version, ran) = if at < 6 { (2, 2) } else { (1, 1) };
            world
                .scenario
                .report(world.device(at), &Said::running(version, &image(ran), "c"))
                .await;
        }
        // One was completed on the image, which then is its last good one; one failed.
        let mut tx = world.store().begin().await.unwrap();
        tx.sql(
            "UPDATE device_rollout_status SET status = 'completed', verdict = 'healthy', \
             check_at = NULL WHERE device_uuid = $1",
        )
        .bind(world.device(0).0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        world.last_good(0, &image(2)).await;
        world.scenario.fail(world.device(1)).await;
        let id = world.order(CommandKind::RollbackAll, None).await;
        manager::commands(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.outcome(id).await, CommandOutcome::Applied);
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for _ in 0..4 {
            manager::put_back(&world.deps, 2).await.unwrap();
        }
        for at in 0..7 {
            assert_eq!(
                world.scenario.target(world.device(at)).await,
                (3, image(1)),
                "{at}"
            );
        }
        manager::finish(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for at in 0..6 {
            world
                .scenario
                .report(world.device(at), &Said::running(3, &image(1), "c9"))
                .await;
        }
        // The seventh is silent and is not waited for.
        world.wait(200);
        for at in 0..6 {
            world.until(at, "rolled_back").await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolled_back");
        assert_eq!(world.status(0).await, "rolled_back");
        assert_eq!(world.status(6).await, "rolling_back");
        assert_eq!(world.scenario.last_good(world.device(0)).await, None);
        assert_eq!(world.count(EventType::RollbackStarted).await, 1);
        assert_eq!(world.count(EventType::RollbackCompleted).await, 1);
        let again = world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.outcome(again).await, CommandOutcome::NoChange);
    }
}
