//! What people order: the way back, plans that are shipped as they were shown.

use crate::api::until;
use crate::scene::Scene;
use crate::tier::Tier;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;

async fn completed(tier: &Arc<Tier>, name: &'static str) -> (Scene, String) {
    let scene = Scene::of(tier, name, 4, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 100}]);
    scene
        .policy(json!({"strategy": "staged", "batches": batches}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 4);
    (scene, rollout)
}

pub(crate) async fn a_device_a_batch_and_all_are_taken_back_by_hand(tier: Arc<Tier>) {
    let (scene, rollout) = completed(&tier, "by-hand").await;
    let rows = scene.rows(&rollout).await;
    let second = rows.iter().find(|row| row["batch"] == 2).unwrap();
    let device = second["device_uuid"].as_str().unwrap();
    let command = format!("devices/{device}/rollback");
    let outcome = scene.ann().command(&rollout, &command, json!({}));
    assert_eq!(outcome.await, "applied");
    scene.runs("v1", 1).await;
    let outcome = scene
        .ann()
        .command(&rollout, "batches/1/rollback", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.runs("v1", 2).await;
    assert_eq!(scene.running("v2"), 2);
    let outcome = scene.ann().command(&rollout, "rollback-all", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "rolled_back").await;
    assert_eq!(scene.running("v1"), 4);
    let again = scene.ann().command(&rollout, "rollback-all", json!({}));
    assert_eq!(again.await, "no_change");
}

async fn plan(scene: &Scene, image: &str) -> (String, Value) {
    let asked = json!({"image": image, "filters": {"fleets": [scene.name]}, "reason": "a plan",
                       "dry_run": true, "rule": scene_rule()});
    let plan = scene.ann().post("/images/trigger-update", &asked).await;
    let id = plan["plan_id"]
        .as_str()
        .expect("the plan is kept")
        .to_owned();
    (id, plan)
}

fn scene_rule() -> Value {
    json!({"strategy": "staged", "batches": [{"count": 1}, {"percent": 100}], "batch_delay_seconds": 0,
           "health": {"stable_window_seconds": 1, "deadline_seconds": 45}})
}

pub(crate) async fn a_plan_is_shipped_as_it_was_shown(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "plan", 4, |_, device| device).await;
    let image = scene.push("v2", "v2").await;
    let (id, plan) = plan(&scene, &image).await;
    assert_eq!(plan["total_devices"], 4, "{plan:#}");
    assert_eq!(scene.running("v1"), 4);
    scene
        .ann()
        .post(
            &format!("/rollout-plans/{id}/apply"),
            &json!({"reason": "as shown"}),
        )
        .await;
    let rollout = scene.rollout_of(&image).await;
    scene.rests(&rollout, "completed").await;
    let shown = |list: &Value| {
        let mut places: Vec<(String, i64)> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                (
                    row["device_uuid"].to_string(),
                    row["batch"].as_i64().unwrap(),
                )
            })
            .collect();
        places.sort();
        places
    };
    let rows = Value::Array(scene.rows(&rollout).await);
    assert_eq!(shown(&plan["devices"]), shown(&rows));
    assert_eq!(scene.running("v2"), 4);
}

pub(crate) async fn a_plan_that_changed_since_is_not_shipped(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "plan-changed", 3, |_, device| device).await;
    let image = scene.push("v2", "v2").await;
    let (id, _) = plan(&scene, &image).await;
    scene
        .patch(scene.uuids[0], json!({"fleet": "elsewhere"}))
        .await;
    let path = format!("/rollout-plans/{id}/apply");
    let asked = json!({"reason": "as shown"});
    let (status, answer) = scene.ann().send(Method::POST, &path, Some(&asked)).await;
    if status < 300 {
        // It was taken, and the planner says no.
        let trigger = answer["id"].as_str().unwrap().to_owned();
        until("the plan is refused", async || {
            let now = scene
                .ann()
                .get(&format!("/images/triggers/{trigger}"))
                .await;
            (now["decision"] == "plan_changed").then_some(())
        })
        .await;
    } else {
        assert_eq!(status, 409, "{answer:#}");
    }
    assert_eq!(scene.running("v1"), 3);
}
