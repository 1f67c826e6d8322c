//! Two rollouts over the same devices, and windows in the devices' own zones.

use crate::decisions::{settled, trigger_with};
use crate::site::{PATIENCE, Site, running};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_store::Json;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::{Filters, OnUnresolved};
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

/// Status and reason of a device in a rollout.
async fn stands(site: &Site, id: RolloutId, device: DeviceId) -> (String, Option<String>) {
    let mut read = site.test.store.read().await.unwrap();
    read.sql(
        "SELECT status, reason FROM device_rollout_status \
         WHERE rollout_id = $1 AND device_uuid = $2",
    )
    .bind(id.0)
    .bind(device.0)
    .one()
    .await
    .unwrap()
}

#[tokio::test]
async fn what_a_rollout_of_higher_priority_has_is_told_and_left_to_it_when_the_turn_comes() {
    for site in running().await {
        let devices = fleet::add(&site.test.store, "north", 0..5, &["r.io/demo/app:v1"]).await;
        let batches =
            json!({"batches": [{"count": 1}, {"percent": 100}], "batch_delay_seconds": 600});
        site.policy("apps", batches).await;
        let low = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(low, RolloutStatus::InProgress, 1).await;
        eventually("the first one", PATIENCE, async || {
            site.judge(low, DeviceStatus::Completed, 1).await == 1
        })
        .await;
        let mut waiting = Vec::new();
        for device in &devices {
            if stands(&site, low, *device).await.0 == "pending" {
                waiting.push(*device);
            }
        }
        let wanted: BTreeSet<DeviceId> = waiting[..2].iter().copied().collect();
        let filters = Filters {
            uuids: wanted.iter().copied().collect(),
            ..Filters::default()
        };
        let image = format!("r.io/demo/app:v3@{}", digest('c'));
        let trigger = trigger_with(&site, &image, OnUnresolved::Wait, filters).await;
        let high = settled(&site, trigger).await.1.unwrap();
        site.reaches(high, RolloutStatus::InProgress, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        let (data,): (Json<Value>,) = read
            .sql(
                "SELECT data FROM events WHERE type = 'image.rollout_created' \
                 AND rollout_id = $1",
            )
            .bind(high.0)
            .one()
            .await
            .unwrap();
        drop(read);
        let told = &data.0["conflicts"];
        assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
        assert_eq!(told[0]["rollout_id"], json!(low));
        assert_eq!(told[0]["devices"], 2);
        assert_eq!(told[0]["other_keeps"], false);
        // The one has had its turn there, the other waits for it.
        site.advance(600);
        site.reaches(low, RolloutStatus::InProgress, 2).await;
        let mut reasons = Vec::new();
        for device in &wanted {
            let (status, reason) = stands(&site, low, *device).await;
            assert_eq!(status, "skipped");
            reasons.extend(reason);
        }
        reasons.sort();
        assert_eq!(reasons, ["higher_priority", "target_changed"]);
        for device in &waiting[2..] {
            assert_eq!(stands(&site, low, *device).await.0, "scheduled");
        }
    }
}

#[tokio::test]
async fn a_window_without_a_zone_opens_where_each_device_is() {
    for site in running().await {
        let devices = fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        for (device, zone) in devices.iter().zip(["Asia/Tokyo", "America/New_York"]) {
            let mut tx = site.test.store.begin().await.unwrap();
            tx.sql("UPDATE devices SET time_zone = $1 WHERE uuid = $2")
                .bind(zone)
                .bind(device.0)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        // The site's clock stands at midnight UTC: nine in the morning in Tokyo.
        let window = json!([{"start": "08:00", "end": "10:00"}]);
        let rule = json!({"strategy": "auto", "maintenance_windows": window});
        site.policy("apps", rule).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        let all = async || {
            let mut found = Vec::new();
            for device in &devices {
                found.push(stands(&site, id, *device).await.0);
            }
            found
        };
        eventually("Tokyo", PATIENCE, async || {
            all().await == ["scheduled", "pending", "pending"]
        })
        .await;
        // Eight in UTC, for the device without a zone, and four in New York.
        site.advance(8 * 3600);
        eventually("UTC", PATIENCE, async || {
            all().await == ["scheduled", "pending", "scheduled"]
        })
        .await;
        site.advance(4 * 3600);
        eventually("New York", PATIENCE, async || {
            all().await == ["scheduled", "scheduled", "scheduled"]
        })
        .await;
        // The clock is every site's: midnight again for the next.
        site.advance(12 * 3600);
    }
}
