//! What ships when no webhook comes.

use crate::api::until;
use crate::scene::Scene;
use crate::tier::Tier;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn a_push_that_no_webhook_tells_of_reaches_the_devices(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "looking", 6, |_, device| device).await;
    let batches = json!([{"count": 2}, {"percent": 100}]);
    scene
        .policy(json!({"strategy": "staged", "batches": batches}))
        .await;
    let looked = async || {
        let shown = tier.ann.get("/registry-watch").await;
        let first = &shown["repositories"][0];
        (first["repository"] == scene.repository() && first["looked_at"].is_string())
            .then(|| first.clone())
    };
    let first = until("the repository was looked at", looked).await;
    // What was there before is nothing new.
    assert_eq!(first["found"], 0, "{first}");
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 6);
    let shown = tier.ann.get("/registry-watch").await;
    assert_eq!(shown["repositories"][0]["found"], 1, "{shown}");
    let deliveries = tier.ann.get("/webhooks/deliveries").await;
    assert_eq!(deliveries["items"], json!([]), "no webhook came");
}
