//! Waiting for the rollouts, with a planner played by the test.

use crate::support::{Service, digest, ghcr};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;
use windlass_store::Json;
use windlass_testkit::{eventually, stores};
use windlass_types::event::{EventType, NewEvent};

/// Decides about every version that is not decided about: a rollout of seven devices, or nothing.
async fn plan(service: &Service, rollout: bool) {
    let mut tx = service.deps.store.begin().await.unwrap();
    let now = tx.now();
    let versions: Vec<(Uuid, String)> = tx
        .sql(
            "SELECT id, digest FROM image_versions v WHERE NOT EXISTS \
             (SELECT 1 FROM image_plans p WHERE p.image_version_id = v.id)",
        )
        .all()
        .await
        .unwrap();
    for (version, named) in versions {
        let id = rollout.then(Uuid::now_v7);
        if let Some(id) = id {
            tx.sql(
                "INSERT INTO image_rollouts (id, image_version_id, repository, tag, digest, strategy, \
                 rule, filters, tag_rule, seed, status, batch_count, total_devices, correlation_id, \
                 created_by, created_at) VALUES ($1, $2, 'ghcr.io/acme/app', 'v1', $3, 'staged', $4, \
                 $4, $4, 1, 'pending', 1, 7, $1, 'rollout-planner', $5)",
            )
            .bind(id)
            .bind(version)
            .bind(named)
            .bind(Json(json!({})))
            .bind(now)
            .execute()
            .await
            .unwrap();
        }
        tx.sql(
            "INSERT INTO image_plans (image_version_id, decision, rollout_id, decided_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(version)
        .bind(if rollout { "rollout" } else { "no_policy" })
        .bind(id)
        .bind(now)
        .execute()
        .await
        .unwrap();
    }
    let kind = if rollout {
        EventType::RolloutCreated
    } else {
        EventType::UpdateIgnored
    };
    windlass_store::events::append(&mut tx, NewEvent::new(kind, "rollout-planner"))
        .await
        .unwrap();
    service.deps.commit(tx).await.unwrap();
}

/// Delivers with a wait, and plans once the version is there. Returns the answer and the time taken.
async fn wait_for(service: &Service, wait: u64, rollout: Option<bool>) -> (Value, Duration) {
    let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
    let begun = Instant::now();
    let request = sent
        .on(service.post("open"))
        .header("prefer", format!("wait={wait}"));
    let answering = tokio::spawn(async move { request.send().await.unwrap() });
    if let Some(rollout) = rollout {
        eventually("a version", Duration::from_secs(10), async || {
            service.count("SELECT COUNT(*) FROM image_versions").await == 1
        })
        .await;
        plan(service, rollout).await;
    }
    let response = answering.await.unwrap();
    assert_eq!(response.status(), 202);
    let applied = response.headers().get("preference-applied").unwrap();
    assert_eq!(applied, &format!("wait={}", wait.min(30)));
    (response.json().await.unwrap(), begun.elapsed())
}

#[tokio::test]
async fn who_waits_is_answered_with_the_rollout_and_so_is_every_duplicate() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let (got, took) = wait_for(&service, 600, Some(true)).await;
        assert!(took < Duration::from_secs(20), "{took:?}");
        let rollouts = got["rollouts"].as_array().unwrap();
        assert_eq!(rollouts.len(), 1, "{got}");
        assert_eq!(rollouts[0]["status"], "pending");
        assert_eq!(rollouts[0]["affected_devices"], 7);
        let again = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        assert_eq!(service.deliver("open", &again).await, got);
        let other = ghcr("registry_package", "2", "v1", Some(&digest(1)), 1);
        let other = service.deliver("open", &other).await;
        assert_eq!(other["decision"], "duplicate");
        assert_eq!(other["rollouts"], got["rollouts"]);
        let id = got["delivery_id"].as_str().unwrap();
        let (_, shown) = service.get(&format!("deliveries/{id}")).await;
        assert_eq!(shown["rollouts"], got["rollouts"], "it is shown later too");
    }
}

#[tokio::test]
async fn a_decision_for_no_rollout_ends_the_wait_too() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let (got, took) = wait_for(&service, 30, Some(false)).await;
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert_eq!(got["rollouts"], json!([]));
    }
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_up() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let (got, took) = wait_for(&service, 1, None).await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(got["decision"], "accepted");
    assert_eq!(got["rollouts"], json!([]));
}
