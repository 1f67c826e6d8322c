//! Approvals and retries.

use crate::site::{PATIENCE, running};
use serde_json::{Value, json};
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::EventType;
use windlass_types::rollout::{CommandKind, CommandOutcome, DeviceStatus, RolloutStatus};

#[tokio::test]
async fn a_manual_rollout_begins_once_it_is_approved() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"strategy": "manual"})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::AwaitingApproval, 0).await;
        let done = site.ordered(id, CommandKind::Approve).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.told(EventType::RolloutApproved).await, 1);
        let mut read = site.test.store.read().await.unwrap();
        let by: Vec<(i64, String)> = read
            .sql("SELECT batch, actor FROM rollout_approvals WHERE rollout_id = $1")
            .bind(id.0)
            .all()
            .await
            .unwrap();
        assert_eq!(by, [(1, "operator:ann".to_owned())]);
    }
}

#[tokio::test]
async fn a_failed_device_that_is_tried_again_gets_the_same_image_as_a_new_version() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..3, &["r.io/demo/app:v1"]).await;
        let failure = json!({"max_failure_rate": 1.0, "max_consecutive_failures": 0});
        site.policy("apps", json!({"strategy": "auto", "failure": failure}))
            .await;
        let image = format!("r.io/demo/app:v2@{}", digest('b'));
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.judge(id, DeviceStatus::Failed, 1).await, 1);
        let done = site.ordered(id, CommandKind::Retry).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        eventually("it is admitted again", PATIENCE, async || {
            site.targets(&image).await == [(2, 2), (3, 1)]
        })
        .await;
        assert_eq!(site.told(EventType::RetryScheduled).await, 1);
        let mut read = site.test.store.read().await.unwrap();
        let (data,): (String,) = read
            .sql("SELECT CAST(data AS TEXT) FROM events WHERE type = 'device.retry_scheduled'")
            .one()
            .await
            .unwrap();
        drop(read);
        // The log alone tells what the row is: pending, without a reason and a verdict.
        let data: Value = serde_json::from_str(&data).unwrap();
        let told = json!([
            data["status"],
            data["batch"],
            data["retries"],
            data["reason"],
            data["verdict"]
        ]);
        assert_eq!(told, json!(["pending", 1, 0, null, null]));
        assert_eq!(site.told(EventType::ImageUpdateScheduled).await, 4);
        assert_eq!(site.judge(id, DeviceStatus::Completed, 3).await, 3);
        site.reaches(id, RolloutStatus::Completed, 1).await;
    }
}
