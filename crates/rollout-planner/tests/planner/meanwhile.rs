//! What happens to a device between the making of a rollout and its turn.

use crate::decisions::{reasons, settled, trigger_with};
use crate::site::{Site, running};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::EventType;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::{Filters, OnUnresolved};
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

/// Devices whose turn has not come.
pub(crate) async fn waiting(site: &Site, id: RolloutId) -> Vec<DeviceId> {
    let mut read = site.test.store.read().await.unwrap();
    let rows: Vec<(Uuid,)> = read
        .sql(
            "SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $1 \
             AND status = 'pending' ORDER BY device_uuid",
        )
        .bind(id.0)
        .all()
        .await
        .unwrap();
    rows.into_iter().map(|(device,)| DeviceId(device)).collect()
}

pub(crate) async fn name(site: &Site, device: DeviceId) -> String {
    let mut read = site.test.store.read().await.unwrap();
    let (name,): (String,) = read
        .sql("SELECT name FROM devices WHERE uuid = $1")
        .bind(device.0)
        .one()
        .await
        .unwrap();
    name
}

/// Another writer's move of a device's target.
pub(crate) async fn moved(
    site: &Site,
    device: DeviceId,
    source: &'static str,
    rollout: Option<Uuid>,
) {
    let mut tx = site.test.store.begin().await.unwrap();
    let now = tx.now();
    tx.sql(
        "UPDATE device_targets SET source = $1, rollout_id = $2, version = version + 1, \
         updated_at = $3, hand_version = CASE WHEN $4 THEN version + 1 ELSE hand_version END \
         WHERE device_uuid = $5",
    )
    .bind(source)
    .bind(rollout)
    .bind(now)
    .bind(source == "operator")
    .bind(device.0)
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_happened_since_a_rollout_was_made_keeps_devices_out_of_its_batches() {
    for site in running().await {
        let old = ["r.io/demo/app:v1", "r.io/other:v1"];
        fleet::add(&site.test.store, "north", 0..10, &old).await;
        site.policy(
            "apps",
            json!({"batches": [{"count": 1}, {"percent": 100}], "batch_delay_seconds": 600}),
        )
        .await;
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.advance(1);
        let waiting = waiting(&site, id).await;
        let [by_hand, newer, failed, off] = waiting[..4] else {
            panic!("nine devices wait");
        };
        moved(&site, by_hand, "operator", None).await;
        // A newer rollout of the repository, and then one of another repository.
        let hot = format!("r.io/demo/app:v3@{}", digest('c'));
        let filters = Filters {
            uuids: vec![newer].into_iter().collect(),
            ..Filters::default()
        };
        let hot_fix = trigger_with(&site, &hot, OnUnresolved::Wait, filters).await;
        let hot_fix = settled(&site, hot_fix).await.1.unwrap();
        site.reaches(hot_fix, RolloutStatus::InProgress, 1).await;
        moved(&site, newer, "rollout", Some(Uuid::now_v7())).await;
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO device_failed_images (device_uuid, digest, rollout_id, failed_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(failed.0)
        .bind(digest('b'))
        .bind(Uuid::nil())
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.sql("UPDATE devices SET enabled = (1 = 0) WHERE uuid = $1")
            .bind(off.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        site.judge(id, DeviceStatus::Completed, 1).await;
        eventually("the delay runs", Duration::from_secs(20), async || {
            site.read(id).await.next_batch_at.is_some()
        })
        .await;
        site.advance(600);
        site.reaches(id, RolloutStatus::InProgress, 2).await;
        let mut read = site.test.store.read().await.unwrap();
        let found: BTreeMap<_, _> = reasons(&mut read, id).await.into_iter().collect();
        drop(read);
        for (device, expected) in [
            (by_hand, "target_changed"),
            (newer, "target_changed"),
            (failed, "failed_here_before"),
            (off, "disabled"),
        ] {
            let name = name(&site, device).await;
            assert_eq!(found[&name], expected, "{name}");
        }
        assert_eq!(site.targets(&image).await, [(2, 6)]);
        assert_eq!(site.targets(&hot).await, [(3, 1)]);
        assert_eq!(site.told(EventType::DeviceSkipped).await, 4);
    }
}
