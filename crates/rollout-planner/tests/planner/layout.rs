//! Batches by tag, and devices that are left out from the beginning.

use crate::decisions::reasons;
use crate::site::running;
use serde_json::json;
use windlass_testkit::fleet::{self, digest};

#[tokio::test]
async fn shares_are_taken_of_each_value_and_chosen_devices_come_first() {
    for site in running().await {
        let devices = fleet::add(&site.test.store, "north", 0..26, &["r.io/demo/app:v1"]).await;
        for device in &devices[..20] {
            fleet::tag(&site.test.store, *device, "region", "eu").await;
        }
        for device in &devices[20..24] {
            fleet::tag(&site.test.store, *device, "region", "us").await;
        }
        for device in &devices[4..6] {
            fleet::tag(&site.test.store, *device, "ring", "lab").await;
        }
        let rule = json!({
            "strategy": "canary", "canary": {"tags": {"ring": "lab"}}, "batch_by": "region",
            "batches": [{"percent": 25}, {"percent": 100}],
        });
        site.policy("apps", rule).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        let mut read = site.test.store.read().await.unwrap();
        let dealt: Vec<(i64, String, i64)> = read
            .sql(
                "SELECT s.batch, COALESCE(g.value, ''), COUNT(*) FROM device_rollout_status s \
                 LEFT JOIN device_tags g ON g.device_uuid = s.device_uuid AND g.key = 'region' \
                 WHERE s.rollout_id = $1 GROUP BY s.batch, g.value ORDER BY 1, 2",
            )
            .bind(id.0)
            .all()
            .await
            .unwrap();
        let row = |batch, value: &str, devices| (batch, value.to_owned(), devices);
        assert_eq!(
            dealt,
            [
                row(1, "eu", 2),
                row(2, "", 1),
                row(2, "eu", 3),
                row(2, "us", 1),
                row(3, "", 1),
                row(3, "eu", 15),
                row(3, "us", 3),
            ]
        );
        let (lab,): (i64,) = read
            .sql(
                "SELECT COUNT(*) FROM device_rollout_status s JOIN device_tags g \
                 ON g.device_uuid = s.device_uuid AND g.key = 'ring' \
                 WHERE s.rollout_id = $1 AND s.batch = 1",
            )
            .bind(id.0)
            .one()
            .await
            .unwrap();
        assert_eq!(lab, 2);
    }
}

#[tokio::test]
async fn a_class_in_quarantine_and_devices_set_aside_are_left_out() {
    for site in running().await {
        let devices = fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        fleet::tag(&site.test.store, devices[0], "model", "old").await;
        let mut tx = site.test.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO quarantined_digests (digest, tag_key, tag_value, repository, reason, \
             evidence, created_at) VALUES ($1, 'model', 'old', 'r.io/demo/app', 'failed', $2, $3)",
        )
        .bind(digest('b'))
        .bind(windlass_store::Json(json!({})))
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.sql(
            "INSERT INTO device_penalties (device_uuid, reason, evidence, since, until) \
             VALUES ($1, 'failed again', $2, $3, $4)",
        )
        .bind(devices[1].0)
        .bind(windlass_store::Json(json!({})))
        .bind(now)
        .bind(now + chrono::TimeDelta::hours(1))
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        site.policy("apps", json!({"strategy": "auto"})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        let mut read = site.test.store.read().await.unwrap();
        let found = reasons(&mut read, id).await;
        let skipped: Vec<&str> = found.iter().map(|(_, reason)| reason.as_str()).collect();
        assert!(skipped.contains(&"quarantined"), "{found:?}");
        assert!(skipped.contains(&"penalty_box"), "{found:?}");
    }
}
