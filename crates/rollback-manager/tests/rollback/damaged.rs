//! What cannot be read, is no more, or was set by a person meanwhile.

use crate::world::*;

impl World {
    async fn change(&self, sql: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.built(sql.to_owned()).execute().await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn ends(&self) -> (String, i64) {
        let (status, _) = self.scenario.status().await;
        (status, self.count(EventType::DeviceRollbackFailed).await)
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_read_stops_nobody_else_and_is_shown() {
    for world in worlds(3, &lax()).await {
        // The first device has a state of its own, and something wrote nonsense there.
        let first = world.device(0);
        let odd = image(2) + "@";
        world
            .scenario
            .set_target(first, &odd, TargetSource::Rollout)
            .await;
        world.set(0, "target_version = 3").await;
        let state = "(SELECT state_id FROM device_targets WHERE version = 3)";
        world
            .change(&format!(
                "UPDATE target_states SET body = '[1]' WHERE id = {state}"
            ))
            .await;
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        let row = world.scenario.row(first).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("unreadable"))
        );
        for at in 1..3 {
            let (device, good) = (world.device(at), image(1));
            assert_eq!(world.scenario.target(device).await, (3, good.clone()));
            world
                .scenario
                .report(device, &Said::running(3, &good, "c3"))
                .await;
            world.until(at, "rolled_back").await;
        }
        world.pass().await;
        assert_eq!(world.ends().await, ("rolled_back".to_owned(), 1));
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_read_keeps_no_device_from_going_back() {
    for world in worlds(2, &lax()).await {
        for at in 0..2 {
            let (device, bad) = (world.device(at), image(2));
            world
                .scenario
                .report(device, &Said::running(2, &bad, "c2"))
                .await;
        }
        world
            .change("UPDATE device_current_state SET observation = '[1]'")
            .await;
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        for at in 0..2 {
            assert_eq!(world.scenario.target(world.device(at)).await, (3, image(1)));
        }
        // Its end comes all the same: nobody can say that they are back.
        for _ in 0..11 {
            world.wait(60);
            for at in 0..2 {
                world.scenario.poll(world.device(at)).await;
            }
            world.pass().await;
        }
        world.pass().await;
        assert_eq!(world.ends().await, ("rolled_back".to_owned(), 2));
        for at in 0..2 {
            assert_eq!(world.status(at).await, "rollback_failed");
        }
    }
}

#[tokio::test]
async fn a_device_that_was_deleted_holds_no_rollback_up() {
    for world in worlds(2, &lax()).await {
        let other = world.device(1);
        for at in 0..2 {
            let (device, bad) = (world.device(at), image(2));
            world
                .scenario
                .report(device, &Said::running(2, &bad, "c2"))
                .await;
        }
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        let mut tx = world.store().begin().await.unwrap();
        tx.sql("DELETE FROM devices WHERE uuid = $1")
            .bind(world.device(0).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let good = image(1);
        world
            .scenario
            .report(other, &Said::running(3, &good, "c3"))
            .await;
        world.until(1, "rolled_back").await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolled_back");
        world.wait(600);
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("skipped", Some("deleted"))
        );
    }
}

#[tokio::test]
async fn a_target_set_by_hand_stays_so_when_another_rollout_changed_something_else_since() {
    for world in worlds(2, &lax()).await {
        let (by_hand, other) = (world.device(0), world.device(1));
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        let same = image(2);
        world
            .scenario
            .set_target(by_hand, &same, TargetSource::Operator)
            .await;
        for device in [by_hand, other] {
            world
                .scenario
                .set_target(device, &same, TargetSource::Rollout)
                .await;
        }
        world.pass().await;
        let row = world.scenario.row(by_hand).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("failed", Some("target_changed"))
        );
        assert_eq!(world.scenario.target(by_hand).await, (4, image(2)));
        assert_eq!(world.scenario.target(other).await, (4, image(1)));
        assert_eq!(world.count(EventType::DeviceSkipped).await, 1);
    }
}

#[tokio::test]
async fn a_device_that_waits_to_be_tried_again_goes_back_with_its_rollout() {
    for world in worlds(2, &lax()).await {
        // The first has the image in its target and failed for want of a registry; the second's turn
        // never came.
        let mut tx = world.store().begin().await.unwrap();
        let soon = tx.now();
        tx.sql(
            "UPDATE device_rollout_status SET retry_at = $1, retries = 1 WHERE device_uuid = $2",
        )
        .bind(soon)
        .bind(world.device(0).0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        for at in 0..2 {
            world.set(at, "status = 'pending', check_at = NULL").await;
        }
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.scenario.target(world.device(0)).await, (3, image(1)));
        assert_eq!(world.status(0).await, "rolling_back");
        assert_eq!(world.status(1).await, "skipped");
    }
}
