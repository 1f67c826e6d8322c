//! What operators order.

use crate::site::{Site, running};
use serde_json::json;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::EventType;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{CommandKind, CommandOutcome, DeviceStatus, RolloutStatus};

/// A rollout whose first batch is admitted.
async fn begun(site: &Site) -> RolloutId {
    fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
    site.policy("apps", json!({})).await;
    let id = site
        .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
        .await;
    site.reaches(id, RolloutStatus::InProgress, 1).await;
    id
}

#[tokio::test]
async fn a_paused_rollout_admits_nobody_until_it_is_resumed() {
    for site in running().await {
        let id = begun(&site).await;
        assert_eq!(
            site.ordered(id, CommandKind::Pause).await.outcome,
            CommandOutcome::Applied
        );
        let again = site.ordered(id, CommandKind::Pause).await;
        assert_eq!(again.outcome, CommandOutcome::NoChange);
        assert_eq!(again.detail.as_deref(), Some("it is paused already"));
        site.judge(id, DeviceStatus::Completed, 10).await;
        let paused = site.read(id).await;
        assert_eq!(
            (paused.status, paused.current_batch),
            (RolloutStatus::Paused, 1)
        );
        assert_eq!(paused.status_detail.as_deref(), Some("to see"));
        assert_eq!(
            site.ordered(id, CommandKind::Resume).await.outcome,
            CommandOutcome::Applied
        );
        site.reaches(id, RolloutStatus::InProgress, 2).await;
        let told = fleet::told(&site.test.store).await;
        for kind in [EventType::RolloutPaused, EventType::RolloutResumed] {
            let of: Vec<_> = told.iter().filter(|(found, _)| *found == kind).collect();
            assert_eq!(of, [&(kind, "operator:ann".to_owned())]);
        }
    }
}

#[tokio::test]
async fn a_cancelled_rollout_leaves_its_devices_as_they_are() {
    for site in running().await {
        let id = begun(&site).await;
        assert_eq!(
            site.ordered(id, CommandKind::Cancel).await.outcome,
            CommandOutcome::Applied
        );
        let ended = site.reaches(id, RolloutStatus::Cancelled, 1).await;
        assert!(ended.finished_at.is_some());
        let counts = site.counts(id).await;
        assert_eq!(
            counts,
            [
                (1, "scheduled".to_owned(), 1),
                (2, "skipped".to_owned(), 4),
                (3, "skipped".to_owned(), 5)
            ]
        );
        let late = site.ordered(id, CommandKind::Resume).await;
        assert_eq!(late.outcome, CommandOutcome::Refused);
        assert_eq!(late.detail.as_deref(), Some("it has ended: cancelled"));
        let again = site.ordered(id, CommandKind::Cancel).await;
        assert_eq!(again.outcome, CommandOutcome::NoChange);
        assert_eq!(site.told(EventType::CommandSettled).await, 3);
    }
}
