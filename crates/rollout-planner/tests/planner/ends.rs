//! Whom the end of a batch waits for, and what is left of rows whose device a newer rollout has.

use crate::site::{PATIENCE, Site, running};
use serde_json::json;
use windlass_core::plan::{Input, plan};
use windlass_store::rollouts;
use windlass_testkit::eventually;
use windlass_testkit::fleet::{self, digest};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{CommandKind, CommandOutcome, DeviceStatus, RolloutStatus};

/// What a rollout waits for by the facts that are stored.
async fn waits_for(site: &Site, id: RolloutId) -> String {
    let mut read = site.test.store.read().await.unwrap();
    let facts = rollouts::facts(&mut read, id).await.unwrap().unwrap();
    let plan = plan(&Input {
        facts: &facts,
        now: read.now(),
    });
    assert!(plan.is_idle(), "{plan:?}");
    plan.waits_for.unwrap().to_string()
}

async fn until_waits_for(site: &Site, id: RolloutId, what: &str) {
    eventually(what, PATIENCE, async || {
        let mut read = site.test.store.read().await.unwrap();
        let facts = rollouts::facts(&mut read, id).await.unwrap().unwrap();
        let now = read.now();
        let plan = plan(&Input { facts: &facts, now });
        let wait = plan.waits_for.as_ref();
        plan.is_idle() && wait.is_some_and(|wait| wait.to_string().starts_with(what))
    })
    .await;
}

#[tokio::test]
async fn a_batch_waits_for_devices_of_earlier_ones_that_a_person_tries_again() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..10, &["r.io/demo/app:v1"]).await;
        let failure = json!({"max_failure_rate": 1.0, "max_consecutive_failures": 0});
        let layout = json!([{"count": 2}, {"count": 3}, {"percent": 100}]);
        site.policy("apps", json!({"batches": layout, "failure": failure}))
            .await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.judge(id, DeviceStatus::Failed, 2).await, 2);
        site.reaches(id, RolloutStatus::InProgress, 2).await;
        let done = site.ordered(id, CommandKind::Retry).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        until_waits_for(&site, id, "5 of 5 devices of batch 2 of 3").await;
        // The present batch is done, and one of the earlier one; the other is silent and back again.
        let judged =
            "status = 'completed', verdict = 'healthy', judged_at = updated_at, check_at = NULL";
        site.sql(&format!(
            "UPDATE device_rollout_status SET {judged} WHERE batch = 2"
        ))
        .await;
        assert!(
            waits_for(&site, id)
                .await
                .starts_with("2 of 5 devices of batch 2 of 3")
        );
        assert_eq!(site.judge(id, DeviceStatus::Unreachable, 1).await, 1);
        assert!(
            waits_for(&site, id)
                .await
                .starts_with("1 of 4 devices of batch 2 of 3")
        );
        assert_eq!(site.read(id).await.current_batch, 2);
        assert_eq!(site.judge(id, DeviceStatus::Completed, 1).await, 1);
        site.reaches(id, RolloutStatus::InProgress, 3).await;
        // Back again, and nobody waits for it: it was silent when its batch ended.
        site.sql("UPDATE device_rollout_status SET status = 'verifying', check_at = deadline_at WHERE status = 'unreachable'")
            .await;
        until_waits_for(&site, id, "5 of 5 devices of batch 3 of 3").await;
        site.sql(&format!(
            "UPDATE device_rollout_status SET {judged} WHERE batch = 3"
        ))
        .await;
        site.reaches(id, RolloutStatus::Completed, 3).await;
    }
}

#[tokio::test]
async fn a_device_that_joins_after_the_last_batch_has_ended_is_waited_for() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let id = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(id, RolloutStatus::InProgress, 1).await;
        assert_eq!(site.judge(id, DeviceStatus::Unreachable, 2).await, 2);
        let paused = site.reaches(id, RolloutStatus::Paused, 1).await;
        assert!(paused.next_batch_at.is_some(), "the batch has ended");
        let late = fleet::add(&site.test.store, "north", 5..6, &["r.io/demo/app:v1"]).await[0];
        let mut tx = site.test.store.begin().await.unwrap();
        let event = NewEvent::new(EventType::DeviceRegistered, "test").device(late);
        windlass_store::events::append(&mut tx, event)
            .await
            .unwrap();
        site.deps.commit(tx).await.unwrap();
        eventually("it has joined", PATIENCE, async || {
            site.told(EventType::DeviceJoined).await == 1
        })
        .await;
        let done = site.ordered(id, CommandKind::Resume).await;
        assert_eq!(done.outcome, CommandOutcome::Applied, "{:?}", done.detail);
        let now = site.read(id).await;
        assert_eq!(now.status, RolloutStatus::InProgress);
        assert_eq!(now.next_batch_at, None, "the batch is open again");
        until_waits_for(&site, id, "1 of 3 devices of batch 1 of 1").await;
        assert_eq!(site.judge(id, DeviceStatus::Completed, 1).await, 1);
        site.reaches(id, RolloutStatus::Completed, 1).await;
    }
}

#[tokio::test]
async fn a_row_whose_device_a_newer_rollout_has_is_not_to_go_back() {
    for site in running().await {
        fleet::add(&site.test.store, "north", 0..2, &["r.io/demo/app:v1"]).await;
        site.policy("apps", json!({"strategy": "auto"})).await;
        let older = site
            .rollout(&format!("r.io/demo/app:v2@{}", digest('b')))
            .await;
        site.reaches(older, RolloutStatus::InProgress, 1).await;
        site.sql("UPDATE device_rollout_status SET rollback_why = 'operator'")
            .await;
        let newer = site
            .rollout(&format!("r.io/demo/app:v3@{}", digest('c')))
            .await;
        site.reaches(newer, RolloutStatus::InProgress, 1).await;
        let mut read = site.test.store.read().await.unwrap();
        let rows: Vec<(String, Option<String>, Option<String>)> = read
            .sql(
                "SELECT status, reason, rollback_why FROM device_rollout_status \
                 WHERE rollout_id = $1",
            )
            .bind(older.0)
            .all()
            .await
            .unwrap();
        let gone = || {
            let (status, reason) = ("skipped".to_owned(), "target_changed".to_owned());
            (status, Some(reason), None)
        };
        assert_eq!(rows, [gone(), gone()]);
    }
}
