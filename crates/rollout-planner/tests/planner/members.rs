//! Several policies for a push; devices that join and leave; versions that go down.

use crate::site::{PATIENCE, running};
use serde_json::json;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::rollout::RolloutStatus;

#[tokio::test]
async fn each_device_is_for_the_first_policy_that_takes_it() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        fleet::add(&site.test.store, "south", 10..15, &["r.io/demo/app:v1"]).await;
        let north = json!({"priority": 10, "filters": {"fleets": ["north"]}});
        site.policy("north", north).await;
        site.policy("rest", json!({"strategy": "auto"})).await;
        let version = site
            .push(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.decision(version).await;
        let mut read = site.test.store.read().await.unwrap();
        let made: Vec<(i64, String, i64)> = read
            .sql(
                "SELECT p.position, p.decision, r.total_devices FROM image_plans p \
                 JOIN image_rollouts r ON r.id = p.rollout_id \
                 WHERE p.image_version_id = $1 ORDER BY p.position",
            )
            .bind(version.0)
            .all()
            .await
            .unwrap();
        let rollout = || "rollout".to_owned();
        assert_eq!(made, [(0, rollout(), 3), (1, rollout(), 5)]);
    }
}

#[tokio::test]
async fn a_lower_version_is_not_shipped_unless_that_is_allowed() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1.4"]).await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let older = site
            .push(&format!("r.io/demo/app:v1.3@{}", digest('b')))
            .await;
        let (decision, detail, _) = site.decision(older).await;
        assert_eq!(decision, "downgrade", "{detail}");
        assert!(detail.contains("3 downgrade"), "{detail}");
        site.sql("UPDATE image_update_policies SET enabled = (1 = 0)")
            .await;
        let allowed = json!({"strategy": "auto", "allow_downgrade": true, "priority": 5});
        site.policy("down", allowed).await;
        site.rollout(&format!("r.io/demo/app:v1.2@{}", digest('c')))
            .await;
    }
}

#[tokio::test]
async fn a_push_of_a_lower_version_leaves_the_rollout_of_the_higher_one_alone() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1.4"]).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        let higher = site
            .rollout(&format!("r.io/demo/app:v1.6@{}", digest('b')))
            .await;
        site.reaches(higher, RolloutStatus::InProgress, 1).await;
        // Most devices are lower than this still, but on their way to a higher one.
        for (image, digit) in [("r.io/demo/app:v1.5", 'c'), ("r.io/demo/app:v1.3", 'd')] {
            let lower = site.push(&format!("{image}@{}", digest(digit))).await;
            let (decision, detail, _) = site.decision(lower).await;
            assert_eq!(decision, "downgrade", "{image}: {detail}");
        }
        let still = site.read(higher).await;
        assert_eq!(still.status, RolloutStatus::InProgress);
        assert_eq!(site.told(EventType::RolloutSuperseded).await, 0);
        site.rollout(&format!("r.io/demo/app:v1.7@{}", digest('e')))
            .await;
        site.reaches(higher, RolloutStatus::Superseded, 1).await;
    }
}

#[tokio::test]
async fn a_lower_version_that_nobody_takes_does_not_end_the_rollout_of_a_tag_without_a_version() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1.4"]).await;
        site.policy("apps", json!({"strategy": "manual"})).await;
        let stable = site
            .rollout(&format!("r.io/demo/app:stable@{}", digest('b')))
            .await;
        site.reaches(stable, RolloutStatus::AwaitingApproval, 0)
            .await;
        let lower = site
            .push(&format!("r.io/demo/app:v1.3@{}", digest('c')))
            .await;
        assert_eq!(site.decision(lower).await.0, "downgrade");
        let still = site.read(stable).await;
        assert_eq!(still.status, RolloutStatus::AwaitingApproval);
    }
}

#[tokio::test]
async fn devices_join_the_last_batch_and_leave_with_their_filters() {
    for site in running().await {
        let rows = async |id: uuid::Uuid, condition: &str| -> i64 {
            let mut read = site.test.store.read().await.unwrap();
            let (found,): (i64,) = read
                .built(format!(
                    "SELECT COUNT(*) FROM device_rollout_status WHERE rollout_id = $1 \
                     AND {condition}"
                ))
                .bind(id)
                .one()
                .await
                .unwrap();
            found
        };
        let tell = async |kind: EventType, device| {
            let mut tx = site.test.store.begin().await.unwrap();
            let event = NewEvent::new(kind, "test").device(device);
            windlass_store::events::append(&mut tx, event)
                .await
                .unwrap();
            site.deps.commit(tx).await.unwrap();
        };
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"filters": {"fleets": ["north"]}}))
            .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let new = fleet::add(&site.test.store, "north", 20..21, &["r.io/demo/app:v1"]).await;
        tell(EventType::DeviceRegistered, new[0]).await;
        eventually(
            "the new device is in the last batch",
            PATIENCE,
            async || rows(id.0, "batch = 3 AND status = 'pending'").await == 6,
        )
        .await;
        assert_eq!(site.read(id).await.total_devices, 11);
        assert_eq!(site.told(EventType::DeviceJoined).await, 1);
        site.sql("INSERT INTO fleets (id, created_at) SELECT 'south', created_at FROM fleets")
            .await;
        site.sql("UPDATE devices SET fleet_id = 'south' WHERE name = 'device-20'")
            .await;
        tell(EventType::DeviceChanged, new[0]).await;
        eventually("it is let go", PATIENCE, async || {
            rows(id.0, "status = 'skipped' AND reason = 'out_of_scope'").await == 1
        })
        .await;
        // One that is deleted on its way does not hold its batch up.
        let mut read = site.test.store.read().await.unwrap();
        let (first,): (uuid::Uuid,) = read
            .sql(
                "SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $1 \
                 AND status = 'scheduled'",
            )
            .bind(id.0)
            .one()
            .await
            .unwrap();
        drop(read);
        let mut tx = site.test.store.begin().await.unwrap();
        tx.sql("DELETE FROM devices WHERE uuid = $1")
            .bind(first)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        tell(
            EventType::DeviceDeleted,
            windlass_types::ids::DeviceId(first),
        )
        .await;
        eventually("its row is skipped", PATIENCE, async || {
            rows(id.0, "status = 'skipped' AND reason = 'deleted'").await == 1
        })
        .await;
    }
}
