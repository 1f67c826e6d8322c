//! A device's places in rollouts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use uuid::Uuid;
use windlass_store::{Session, views};
use windlass_testkit::scenario::{Scenario, clock, digest};
use windlass_testkit::stores_with;
use windlass_types::ids::RolloutId;
use windlass_types::policy::RolloutRule;

/// So many rollouts made after this one, which have ended.
async fn newer(tx: &mut Session, than: RolloutId, rollouts: usize) {
    let now = tx.now();
    for _ in 0..rollouts {
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at, finished_at) SELECT $1, repository, 'new', $2, strategy, \
             rule, filters, tag_rule, seed, 'completed', 1, 1, 1, $3, 'test', created_at, $4 \
             FROM image_rollouts WHERE id = $5",
        )
        .bind(Uuid::now_v7())
        .bind(digest(3).to_string())
        .bind(Uuid::now_v7())
        .bind(now)
        .bind(than.0)
        .execute()
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_rollout_that_still_has_the_device_is_found_however_many_came_after() {
    let clock = clock();
    for test in stores_with(clock).await {
        let scenario = Scenario::begin(&test.store, 2, &RolloutRule::default()).await;
        let mut tx = test.store.begin().await.unwrap();
        newer(&mut tx, scenario.rollout, 230).await;
        tx.commit().await.unwrap();
        let found = async |at: usize| -> Vec<RolloutId> {
            let mut read = test.store.read().await.unwrap();
            let rows = views::places(&mut read, scenario.devices[at], 5)
                .await
                .unwrap();
            rows.iter().map(|place| place.row.rollout_id).collect()
        };
        assert_eq!(found(0).await, [scenario.rollout], "it has not ended");
        // It has, and one of its devices is still on its way.
        let mut tx = test.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql("UPDATE image_rollouts SET status = 'superseded', finished_at = $1 WHERE id = $2")
            .bind(now)
            .bind(scenario.rollout.0)
            .execute()
            .await
            .unwrap();
        tx.sql("UPDATE device_rollout_status SET status = 'skipped' WHERE device_uuid = $1")
            .bind(scenario.devices[1].0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(found(0).await, [scenario.rollout]);
        assert_eq!(found(1).await, [], "that is long over");
    }
}
