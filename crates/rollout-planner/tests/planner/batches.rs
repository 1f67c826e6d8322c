//! Batches, delays and ends.

use crate::site::{PATIENCE, Site, running, sites};
use serde_json::json;
use windlass_store::{rollouts, targets};
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::EventType;
use windlass_types::rollout::{DeviceStatus, RolloutStatus, StatusReason};

/// Ten devices on v1, and the image v2.
async fn ten(site: &Site) -> String {
    fleet::add(
        &site.test.store,
        "north",
        0..10,
        &["r.io/demo/app:v1", "r.io/other:v1"],
    )
    .await;
    format!("r.io/demo/app:v2@{}", digest('b'))
}

async fn through(site: &Site) {
    let image = ten(site).await;
    site.policy("apps", json!({})).await;
    let id = site.rollout(&image).await;
    for (batch, size, sum) in [(1, 1, 1), (2, 4, 5), (3, 5, 10)] {
        site.reaches(id, RolloutStatus::InProgress, batch).await;
        assert_eq!(site.targets(&image).await, [(2, sum)], "batch {batch}");
        assert_eq!(
            site.targets("r.io/demo/app:v1").await,
            if sum < 10 {
                vec![(1, 10 - sum)]
            } else {
                vec![]
            }
        );
        assert_eq!(site.judge(id, DeviceStatus::Completed, 100).await, size);
    }
    let done = site.reaches(id, RolloutStatus::Completed, 3).await;
    assert!(done.finished_at.is_some() && done.started_at.is_some() && done.total_devices == 10);
    assert_eq!(
        site.targets("r.io/other:v1").await,
        [(2, 10)],
        "other services stay as they are"
    );
    for (kind, times) in [
        (EventType::RolloutCreated, 1),
        (EventType::RolloutStarted, 1),
        (EventType::RolloutBatchStarted, 3),
        (EventType::ImageUpdateScheduled, 10),
        (EventType::RolloutBatchCompleted, 3),
        (EventType::RolloutCompleted, 1),
    ] {
        assert_eq!(site.told(kind).await, times, "{kind}");
    }
}

#[tokio::test]
async fn a_push_goes_to_its_devices_batch_by_batch() {
    for site in running().await {
        through(&site).await;
    }
}

#[tokio::test]
async fn three_planners_at_once_do_everything_once() {
    for mut site in sites().await {
        for _ in 0..3 {
            site.start().await;
        }
        through(&site).await;
    }
}

#[tokio::test]
async fn an_admitted_device_remembers_where_it_came_from_and_has_a_deadline() {
    for site in running().await {
        let image = ten(&site).await;
        site.policy(
            "apps",
            json!({"strategy": "auto", "health": {"deadline_seconds": 300}}),
        )
        .await;
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        let now = read.now();
        let rows: Vec<(
            i64,
            chrono::DateTime<chrono::Utc>,
            chrono::DateTime<chrono::Utc>,
            uuid::Uuid,
        )> = read
            .sql(
                "SELECT target_version, check_at, deadline_at, old_state_id \
                 FROM device_rollout_status WHERE rollout_id = $1",
            )
            .bind(id.0)
            .all()
            .await
            .unwrap();
        assert_eq!(rows.len(), 10);
        let old =
            windlass_core::target::state_id(&fleet::state(&["r.io/demo/app:v1", "r.io/other:v1"]));
        for (version, check, deadline, state) in rows {
            assert_eq!((version, state), (2, old.0));
            assert_eq!((check - now).num_seconds(), 180);
            assert_eq!((deadline - now).num_seconds(), 300);
        }
        let (target, body) = targets::get(&mut read, fleet::device(3))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(target.version, 2);
        assert!(
            body.services()
                .any(|(_, service)| service.image_name == image)
        );
    }
}

#[tokio::test]
async fn the_delay_between_batches_is_kept() {
    for site in running().await {
        let image = ten(&site).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.judge(id, DeviceStatus::Completed, 10).await;
        eventually(
            "the batch is told to be complete",
            std::time::Duration::from_secs(20),
            async || site.told(EventType::RolloutBatchCompleted).await == 1,
        )
        .await;
        let waiting = site.read(id).await;
        let left = waiting.next_batch_at.unwrap() - site.test.store.clock().now();
        assert_eq!((waiting.current_batch, left.num_seconds()), (1, 600));
        site.advance(599);
        let mut read = site.test.store.read().await.unwrap();
        assert_eq!(
            rollouts::moving(&mut read).await.unwrap(),
            [],
            "a second too early"
        );
        assert_eq!(
            rollouts::next_due(&mut read).await.unwrap(),
            waiting.next_batch_at
        );
        drop(read);
        site.advance(1);
        site.reaches(id, RolloutStatus::InProgress, 2).await;
    }
}

#[tokio::test]
async fn unreachable_devices_neither_hold_a_batch_up_nor_count_as_evidence() {
    for site in running().await {
        let image = ten(&site).await;
        site.policy("apps", json!({})).await;
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.judge(id, DeviceStatus::Unreachable, 1).await;
        let paused = site.reaches(id, RolloutStatus::Paused, 1).await;
        assert_eq!(paused.status_reason, Some(StatusReason::NoEvidence));
        site.ordered(id, windlass_types::rollout::CommandKind::Resume)
            .await;
        site.reaches(id, RolloutStatus::InProgress, 2).await;
        site.judge(id, DeviceStatus::Unreachable, 3).await;
        site.judge(id, DeviceStatus::Completed, 1).await;
        site.reaches(id, RolloutStatus::InProgress, 3).await;
    }
}

#[tokio::test]
async fn nobody_is_admitted_over_the_failure_budget() {
    for site in running().await {
        let image = ten(&site).await;
        site.policy("apps", json!({"batches": [{"count": 5}, {"percent": 100}]}))
            .await;
        let id = site.rollout(&image).await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        site.judge(id, DeviceStatus::Failed, 2).await;
        site.judge(id, DeviceStatus::Completed, 3).await;
        let mut read = site.test.store.read().await.unwrap();
        let facts = rollouts::facts(&mut read, id).await.unwrap().unwrap();
        assert_eq!(facts.failures.latest_failed.len(), 3);
        drop(read);
        // Another rollout goes all the way meanwhile, so the planner has seen this one.
        fleet::add(&site.test.store, "south", 50..51, &["r.io/demo/web:v1"]).await;
        let other = site
            .rollout(&format!("r.io/demo/web:v2@{}", digest('c')))
            .await;
        site.reaches(other, RolloutStatus::InProgress, 1).await;
        site.judge(other, DeviceStatus::Completed, 1).await;
        site.reaches(other, RolloutStatus::Completed, 1).await;
        let held = site.read(id).await;
        assert_eq!(
            (held.status, held.current_batch),
            (RolloutStatus::InProgress, 1)
        );
        // What the rollback-manager does then, and what a person does who thinks otherwise.
        site.sql("UPDATE image_rollouts SET status = 'paused', status_reason = 'failure_rate' WHERE finished_at IS NULL").await;
        site.advance(1);
        site.ordered(id, windlass_types::rollout::CommandKind::Resume)
            .await;
        site.reaches(id, RolloutStatus::InProgress, 2).await;
    }
}

#[tokio::test]
async fn a_newer_push_takes_the_place_of_a_running_rollout() {
    for site in running().await {
        let old_image = ten(&site).await;
        site.policy("apps", json!({})).await;
        let old = site.rollout(&old_image).await;
        site.reaches(old, RolloutStatus::InProgress, 1).await;
        site.judge(old, DeviceStatus::Completed, 1).await;
        site.reaches(old, RolloutStatus::InProgress, 2).await;
        let new_image = format!("r.io/demo/app:v3@{}", digest('c'));
        let new = site.rollout(&new_image).await;
        let ended = site.reaches(old, RolloutStatus::Superseded, 2).await;
        assert_eq!(ended.status_reason, Some(StatusReason::NewerVersion));
        assert!(ended.status_detail.unwrap().contains(&new.to_string()));
        let skipped = site.counts(old).await;
        assert!(
            skipped.contains(&(3, "skipped".to_owned(), 5)),
            "{skipped:?}"
        );
        assert_eq!(site.told(EventType::RolloutSuperseded).await, 1);
        // Devices on their way in the old one are taken over by the new one as it reaches them.
        for batch in 1..=3 {
            site.reaches(new, RolloutStatus::InProgress, batch).await;
            site.judge(new, DeviceStatus::Completed, 10).await;
        }
        site.reaches(new, RolloutStatus::Completed, 3).await;
        let left = site.counts(old).await;
        assert!(
            left.iter()
                .all(|(_, status, _)| status == "skipped" || status == "completed"),
            "{left:?}"
        );
        assert_eq!(
            site.told(EventType::DeviceSkipped).await,
            4,
            "the old one is told of those that were on their way"
        );
        let at: i64 = site.targets(&new_image).await.iter().map(|(_, n)| n).sum();
        assert_eq!(at, 10);
    }
}

#[tokio::test]
async fn a_newer_push_that_nobody_can_take_still_ends_the_older_rollout() {
    for site in running().await {
        let old_image = ten(&site).await;
        site.policy("apps", json!({"batch_delay_seconds": 600}))
            .await;
        let old = site.rollout(&old_image).await;
        site.reaches(old, RolloutStatus::InProgress, 1).await;
        site.sql("UPDATE devices SET enabled = (1 = 0)").await;
        let newer = site
            .push(&format!("r.io/demo/app:v3@{}", digest('c')))
            .await;
        let (decision, detail, _) = site.decision(newer).await;
        assert_eq!(decision, "no_devices");
        assert!(detail.contains(&old.to_string()), "{detail}");
        let ended = site.reaches(old, RolloutStatus::Superseded, 1).await;
        let why = ended.status_detail.unwrap();
        assert!(
            why.contains("app:v3@") && why.contains("no device"),
            "{why}"
        );
        assert_eq!(site.told(EventType::RolloutSuperseded).await, 1);
    }
}

#[tokio::test]
async fn a_rollout_that_nobody_is_healthy_after_has_failed() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:v1"]).await;
        let rule = json!({"strategy": "auto",
            "failure": {"max_failure_rate": 1.0, "max_consecutive_failures": 0}});
        site.policy("apps", rule).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        eventually("both are judged", PATIENCE, async || {
            site.judge(id, DeviceStatus::Failed, 2).await == 2
        })
        .await;
        let ended = site.reaches(id, RolloutStatus::Failed, 1).await;
        assert!(ended.finished_at.is_some());
        assert_eq!(
            ended.status_detail.as_deref(),
            Some("2 devices failed and none is healthy")
        );
        assert_eq!(site.told(EventType::RolloutFailed).await, 1);
        assert_eq!(site.told(EventType::RolloutCompleted).await, 0);
    }
}
