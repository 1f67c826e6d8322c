//! What concerns everybody: freezes and the stop button.

use crate::scene::Scene;
use crate::tier::Tier;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn stop_holds_everybody_but_whom_a_person_lets_go_on(tier: Arc<Tier>) {
    let held = Scene::of(&tier, "stopped", 2, |_, device| device).await;
    let hotfix = Scene::of(&tier, "hotfix", 2, |_, device| device).await;
    held.policy(json!({})).await;
    hotfix.policy(json!({})).await;
    tier.ann
        .post("/stop", &json!({"reason": "the building burns"}))
        .await;
    let (one, other) = (held.ship("v2").await, hotfix.ship("v2").await);
    held.waits(&one, "pending", "the building burns").await;
    hotfix.waits(&other, "pending", "the building burns").await;
    let outcome = hotfix.ann().command(&other, "override-freeze", json!({}));
    assert_eq!(outcome.await, "applied");
    hotfix.rests(&other, "completed").await;
    let overridden = hotfix.events(&other, "image.freeze_overridden").await;
    assert_eq!(overridden.len(), 1, "{overridden:#?}");
    assert_eq!(held.running("v2"), 0);
    tier.ann
        .post("/stop/lift", &json!({"reason": "it is out"}))
        .await;
    held.rests(&one, "completed").await;
    assert_eq!(held.running("v2"), 2);
}

pub(crate) async fn a_freeze_holds_until_it_is_lifted(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "frozen", 2, |_, device| device).await;
    scene.policy(json!({})).await;
    let freeze = tier
        .ann
        .post("/freezes", &json!({"reason": "the sale days"}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.waits(&rollout, "pending", "the sale days").await;
    assert_eq!(scene.running("v2"), 0);
    let id = freeze["id"].as_str().unwrap();
    tier.ann
        .post(
            &format!("/freezes/{id}/lift"),
            &json!({"reason": "they are over"}),
        )
        .await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 2);
}
