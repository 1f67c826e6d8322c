//! Devices that fail what is good elsewhere are set aside for a time.

use crate::world::*;
use windlass_core::penalty::Rule;
use windlass_service::config::RollbackSection;
use windlass_store::penalties;

fn rule() -> Rule {
    manager::penalty_rule(&RollbackSection::default()).unwrap()
}

impl World {
    /// A rollout of another digest was completed and good for another device, and these failed in it.
    async fn completed_without(&self, version: u8, failed: &[usize]) {
        self.completed(version, failed, true).await;
    }

    async fn completed(&self, version: u8, failed: &[usize], good_elsewhere: bool) {
        let mut tx = self.store().begin().await.unwrap();
        let (id, now) = (Uuid::now_v7(), tx.now());
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at, finished_at) SELECT $1, repository, 'old', $2, strategy, \
             rule, filters, tag_rule, seed, 'completed', 1, 1, 1, $3, 'test', created_at, $4 \
             FROM image_rollouts WHERE id = $5",
        )
        .bind(id)
        .bind(digest(version).to_string())
        .bind(Uuid::now_v7())
        .bind(now)
        .bind(self.scenario.rollout.0)
        .execute()
        .await
        .unwrap();
        for at in failed {
            tx.sql(
                "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, \
                 verdict, target_version, admitted_at, judged_at, updated_at) \
                 VALUES ($1, $2, 1, 'failed', 'failed', 1, $3, $4, $5)",
            )
            .bind(id)
            .bind(self.device(*at).0)
            .bind(now)
            .bind(now)
            .bind(now)
            .execute()
            .await
            .unwrap();
        }
        if good_elsewhere {
            tx.sql(
                "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, \
                 verdict, target_version, admitted_at, judged_at, updated_at) \
                 VALUES ($1, $2, 1, 'completed', 'healthy', 1, $3, $4, $5)",
            )
            .bind(id)
            .bind(Uuid::now_v7())
            .bind(now)
            .bind(now)
            .bind(now)
            .execute()
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn set_aside(&self) -> Vec<(DeviceId, i64)> {
        manager::penalties(&self.deps, &rule(), GROUP)
            .await
            .unwrap();
        let mut read = self.store().read().await.unwrap();
        let now = read.now();
        let rows = penalties::list(&mut read, None, 10).await.unwrap();
        rows.iter()
            .map(|row| (row.device_uuid, (row.until - now).num_hours()))
            .collect()
    }
}

#[tokio::test]
async fn a_device_that_fails_good_images_again_and_again_is_set_aside_longer_each_time() {
    for world in worlds(2, &lax()).await {
        let device = world.device(0);
        world.completed_without(11, &[0, 1]).await;
        world.completed_without(12, &[0]).await;
        assert_eq!(world.set_aside().await, []);
        world.completed_without(13, &[0]).await;
        assert_eq!(world.set_aside().await, [(device, 24)]);
        assert_eq!(world.set_aside().await, [(device, 24)], "once");
        assert_eq!(world.count(EventType::PenaltyBoxed).await, 1);
        // It ends by itself, and what it was for does not count again.
        world.wait(24 * 3600);
        assert_eq!(world.set_aside().await, []);
        assert_eq!(world.set_aside().await, []);
        assert_eq!(world.count(EventType::PenaltyLifted).await, 1);
        for version in 14..17 {
            world.completed_without(version, &[0]).await;
        }
        assert_eq!(world.set_aside().await, [(device, 48)]);
        // Lifted by hand, the next one is as short as the first.
        world.wait(60);
        let mut tx = world.store().begin().await.unwrap();
        let (ann, why) = ("operator:ann", "a new flash card");
        assert!(penalties::lift(&mut tx, device, ann, why).await.unwrap());
        assert!(!penalties::lift(&mut tx, device, ann, why).await.unwrap());
        assert!(penalties::get(&mut tx, device).await.unwrap().is_none());
        tx.commit().await.unwrap();
        assert_eq!(world.set_aside().await, []);
        assert_eq!(world.count(EventType::PenaltyLifted).await, 2);
        world.wait(1);
        for version in 17..20 {
            world.completed_without(version, &[0]).await;
        }
        assert_eq!(world.set_aside().await, [(device, 24)]);
    }
}

#[tokio::test]
async fn a_bad_image_is_no_fault_of_the_device() {
    for world in worlds(1, &lax()).await {
        for version in 11..14 {
            world.completed_without(version, &[0]).await;
        }
        world.quarantine(13).await;
        assert_eq!(world.set_aside().await, []);
    }
}

#[tokio::test]
async fn an_image_that_was_good_nowhere_is_no_fault_of_the_device() {
    for world in worlds(1, &lax()).await {
        for version in 11..14 {
            world.completed(version, &[0], false).await;
        }
        assert_eq!(world.set_aside().await, []);
        for version in 14..17 {
            world.completed(version, &[0], true).await;
        }
        assert_eq!(world.set_aside().await.len(), 1);
    }
}

#[tokio::test]
async fn replicas_set_a_device_aside_once() {
    for world in worlds(1, &lax()).await {
        for version in 11..14 {
            world.completed_without(version, &[0]).await;
        }
        let replica = || async {
            for _ in 0..5 {
                manager::penalties(&world.deps, &rule(), GROUP).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        assert_eq!(world.count(EventType::PenaltyBoxed).await, 1);
    }
}
