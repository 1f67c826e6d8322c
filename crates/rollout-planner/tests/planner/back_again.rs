//! Devices that come back into a rollout, and what a retry leaves as it is.

use crate::site::{PATIENCE, Site, running};
use serde_json::json;
use windlass_store::rollouts;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{CommandKind, CommandOutcome, DeviceStatus, RolloutStatus};

async fn rows(site: &Site, id: RolloutId, condition: &str) -> i64 {
    let mut read = site.test.store.read().await.unwrap();
    let (found,): (i64,) = read
        .built(format!(
            "SELECT COUNT(*) FROM device_rollout_status WHERE rollout_id = $1 AND {condition}"
        ))
        .bind(id.0)
        .one()
        .await
        .unwrap();
    found
}

async fn tell(site: &Site, kind: EventType, device: DeviceId) {
    let mut tx = site.test.store.begin().await.unwrap();
    let event = NewEvent::new(kind, "test").device(device);
    windlass_store::events::append(&mut tx, event)
        .await
        .unwrap();
    site.deps.commit(tx).await.unwrap();
}

/// A rollout that lets devices fail, with one that has.
async fn failed(site: &Site) -> RolloutId {
    fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
    let failure = json!({"max_failure_rate": 1.0, "max_consecutive_failures": 0});
    site.policy("apps", json!({"strategy": "auto", "failure": failure}))
        .await;
    let id = site
        .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
        .await;
    site.reaches(id, RolloutStatus::InProgress, 1).await;
    assert_eq!(site.judge(id, DeviceStatus::Failed, 1).await, 1);
    id
}

#[tokio::test]
async fn a_device_that_is_tried_again_is_not_put_back_for_what_it_did_before() {
    for site in running().await {
        let id = failed(&site).await;
        site.sql(
            "UPDATE device_rollout_status SET rollback_why = 'it failed' WHERE status = 'failed'",
        )
        .await;
        let done = site.ordered(id, CommandKind::Retry).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        eventually("it is admitted again", PATIENCE, async || {
            rows(&site, id, "status = 'scheduled'").await == 3
        })
        .await;
        assert_eq!(rows(&site, id, "rollback_why IS NOT NULL").await, 0);
    }
}

#[tokio::test]
async fn a_retry_of_a_device_that_did_not_fail_leaves_the_checks_of_the_batch() {
    for site in running().await {
        let id = failed(&site).await;
        let checks = async || -> i64 {
            let mut read = site.test.store.read().await.unwrap();
            let (found,): (i64,) = read
                .sql("SELECT COUNT(*) FROM rollout_checks")
                .one()
                .await
                .unwrap();
            found
        };
        site.sql(
            "INSERT INTO rollout_checks (rollout_id, batch, position, name, status, evidence, \
             deadline_at) SELECT id, 1, 0, 'errors', 'passed', '{}', created_at \
             FROM image_rollouts",
        )
        .await;
        let rollout = site.read(id).await;
        for (device, again, left) in [(1, 0, 1), (0, 1, 0)] {
            let mut tx = site.test.store.begin().await.unwrap();
            let device = Some(fleet::device(device));
            let tried = rollouts::retry(&mut tx, &rollout, device, None)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            assert_eq!(tried.len(), again);
            assert_eq!(checks().await, left);
        }
    }
}

#[tokio::test]
async fn devices_that_left_or_were_switched_off_come_back_with_the_last_batch() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        site.sql("INSERT INTO fleets (id, created_at) SELECT 'south', created_at FROM fleets")
            .await;
        site.sql("UPDATE devices SET enabled = (1 = 0) WHERE name = 'device-0'")
            .await;
        let boxed = fleet::device(1);
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO device_penalties (device_uuid, since, until, reason, evidence) \
             VALUES ($1, $2, $3, 'it failed', '{}')",
        )
        .bind(boxed.0)
        .bind(now)
        .bind(now + chrono::TimeDelta::days(9))
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        site.policy("apps", json!({"filters": {"fleets": ["north"]}}))
            .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let total = site.read(id).await.total_devices;
        let waiting = rows(&site, id, "status = 'pending'").await;
        assert_eq!(rows(&site, id, "reason = 'penalty_box'").await, 1);
        // One leaves before its turn.
        let late = crate::meanwhile::waiting(&site, id).await[0];
        let fleet = async |fleet: &str| {
            let mut tx = site.test.store.begin().await.unwrap();
            tx.sql("UPDATE devices SET fleet_id = $1 WHERE uuid = $2")
                .bind(fleet.to_owned())
                .bind(late.0)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
            tell(&site, EventType::DeviceChanged, late).await;
        };
        fleet("south").await;
        eventually("it is let go", PATIENCE, async || {
            rows(&site, id, "reason = 'out_of_scope'").await == 1
        })
        .await;
        fleet("north").await;
        eventually("it is back", PATIENCE, async || {
            rows(&site, id, "status = 'pending'").await == waiting
        })
        .await;
        assert_eq!(rows(&site, id, "reason = 'out_of_scope'").await, 0);
        site.sql("UPDATE devices SET enabled = (1 = 1)").await;
        tell(&site, EventType::DeviceChanged, fleet::device(0)).await;
        site.sql("DELETE FROM device_penalties").await;
        tell(&site, EventType::PenaltyLifted, boxed).await;
        eventually("the others are back too", PATIENCE, async || {
            rows(&site, id, "status = 'pending'").await == waiting + 2
        })
        .await;
        assert_eq!(rows(&site, id, "status = 'skipped'").await, 0);
        assert_eq!(site.told(EventType::DeviceJoined).await, 3);
        assert_eq!(site.read(id).await.total_devices, total);
    }
}

#[tokio::test]
async fn nobody_joins_a_rollout_that_is_taken_back() {
    for site in running().await {
        let id = failed(&site).await;
        // From here on, so that the loops that run beside the test let nobody in either.
        site.sql("UPDATE image_rollouts SET status = 'rolling_back'")
            .await;
        fleet::add(&site.test.store, "north", 9..10, &["r.io/demo/app:v1"]).await;
        for (status, joins) in [("rolling_back", 0), ("in_progress", 1)] {
            let mut tx = site.test.store.begin().await.unwrap();
            tx.sql("UPDATE image_rollouts SET status = $1")
                .bind(status.to_owned())
                .execute()
                .await
                .unwrap();
            let rollout = rollouts::lock(&mut tx, id).await.unwrap().unwrap();
            let (joined, left, _) = rollouts::follow(&mut tx, &rollout, None, "test")
                .await
                .unwrap();
            assert_eq!((joined.len(), left.len()), (joins, 0), "{status}");
            tx.rollback().await.unwrap();
        }
    }
}
