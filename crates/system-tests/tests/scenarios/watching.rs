//! What ships when no webhook comes.

use crate::api::until;
use crate::firewall::Dropped;
use crate::scene::Scene;
use crate::tier::Tier;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use windlass_testkit::http;

/// What the watch shows of a repository.
async fn watched(tier: &Tier, repository: &str) -> Option<Value> {
    let shown = tier.at_ingest.get("/registry-watch").await;
    let all = shown["repositories"].as_array()?;
    all.iter()
        .find(|one| one["repository"] == repository)
        .cloned()
}

/// Waits until the repository was looked at, and returns what is shown of it.
async fn looked_at(tier: &Tier, repository: &str) -> Value {
    until(&format!("{repository} is looked at"), async || {
        let shown = watched(tier, repository).await?;
        shown["looked_at"].is_string().then_some(shown)
    })
    .await
}

fn staged() -> Value {
    json!({"strategy": "staged", "batches": [{"count": 2}, {"percent": 100}]})
}

pub(crate) async fn a_push_that_no_webhook_tells_of_reaches_the_devices(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "looking", 6, |_, device| device).await;
    scene.policy(staged()).await;
    let first = looked_at(&tier, &scene.repository()).await;
    // What was there before is nothing new.
    assert_eq!(first["found"], 0, "{first}");
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 6);
    let shown = watched(&tier, &scene.repository()).await.unwrap();
    assert_eq!(shown["found"], 1, "{shown}");
    let deliveries = tier.at_ingest.get("/webhooks/deliveries").await;
    assert_eq!(deliveries["items"], json!([]), "no webhook came");
}

/// For how long the registry wants to be left alone: longer than a look in vain waits by itself (10 s), so that
/// whoever did not heed it would ask again.
const ALONE: Duration = Duration::from_secs(15);
/// Repositories that are looked at beside the one that ships.
const BESIDE: usize = 5;

pub(crate) async fn two_replicas_leave_a_registry_alone_that_asks_for_it(tier: Arc<Tier>) {
    let limited = tier.limited.as_ref().unwrap();
    let scene = Scene::of(&tier, "limited", 6, |_, device| device).await;
    scene.policy(staged()).await;
    for number in 0..BESIDE {
        let path = format!("demo/beside-{number}");
        tier.registry.push(&path, "v1", "beside").await;
        let image = format!("{}/{path}", tier.host());
        let policy = json!({"name": path, "image": image, "strategy": "auto"});
        tier.ann.post("/image-policies", &policy).await;
    }
    looked_at(&tier, &scene.repository()).await;
    for number in 0..BESIDE {
        looked_at(&tier, &format!("{}/demo/beside-{number}", tier.host())).await;
    }
    until("both replicas have looked", async || {
        for ingest in &tier.ingests {
            let page = http().get(format!("{ingest}/metrics")).send().await.ok()?;
            let page = page.text().await.ok()?;
            page.contains("windlass_watch_looks_total{answer=\"ok\"}")
                .then_some(())?;
        }
        Some(())
    })
    .await;

    limited.refuse(ALONE);
    let rollout = scene.ship("v2").await;
    // One look at each repository may have been on its way when the first was refused; nobody asked again before
    // the time was over, which either replica heard of by the other's question as a rule.
    let (asked, refused) = limited.counts();
    assert!(
        (1..=BESIDE + 1).contains(&refused),
        "{refused} of {asked} were refused"
    );
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 6);
    let found = watched(&tier, &scene.repository()).await.unwrap();
    assert_eq!(found["found"], 1, "{found}");
    assert_eq!(tier.ann.list("/rollouts").await.len(), 1);
    // Every question of both was spent from one budget.
    let (asked, _) = limited.counts();
    let shown = tier.at_ingest.get("/registry-watch").await;
    let registries = shown["registries"].as_array().unwrap();
    let spent = registries
        .iter()
        .find(|one| one["registry"] == tier.host())
        .and_then(|one| one["requests"].as_u64());
    assert!(
        spent >= u64::try_from(asked).ok(),
        "{asked} were asked: {shown}"
    );
}

pub(crate) async fn a_firewall_drops_webhooks(tier: Arc<Tier>, webhooks: String) {
    let scene = Scene::of(&tier, "walled", 6, |_, device| device).await;
    scene.policy(staged()).await;
    looked_at(&tier, &scene.repository()).await;
    let told = async |tag: &str| {
        until(&format!("a webhook tells of {tag}"), async || {
            let page = tier.at_ingest.get("/webhooks/deliveries?limit=200").await;
            let all = page["items"].as_array()?.clone();
            all.into_iter().find(|delivery| {
                let images = delivery["images"].as_array();
                images.is_some_and(|images| images.iter().any(|image| image["tag"] == tag))
            })
        })
        .await
    };
    let first = scene.ship("v2").await;
    scene.rests(&first, "completed").await;
    told("v2").await;

    let wall = Dropped::to(&webhooks);
    let second = scene.ship("v3").await;
    scene.rests(&second, "completed").await;
    assert_eq!(scene.running("v3"), 6);
    let missed = until("the webhook counts as missed", async || {
        let shown = watched(&tier, &scene.repository()).await?;
        (shown["missed"] != 0).then_some(shown)
    })
    .await;
    assert_eq!(missed["missed"], 1, "{missed}");
    assert_eq!(missed["missed_by"], "docker-registry", "{missed}");
    let health = tier.at_ingest.get("/webhooks/endpoints").await;
    assert_eq!(health[0]["missed"], 1, "{health}");

    // The registry tells of it after all, and nothing comes of it any more.
    wall.lift();
    let late = told("v3").await;
    assert_eq!(late["decision"], "duplicate", "{late}");
    let rollouts = tier.ann.list("/rollouts").await;
    let mut ids: Vec<_> = rollouts.iter().map(|one| one["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [Some(first.as_str()), Some(second.as_str())]);
    let shown = watched(&tier, &scene.repository()).await.unwrap();
    assert_eq!(shown["missed"], 1, "{shown}");
}
