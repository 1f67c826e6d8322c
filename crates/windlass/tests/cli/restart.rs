//! kill -9 in the middle: the next start reads the store and goes on, and nothing is done twice.

use crate::server::{PATIENCE, Server, image, policy};
use std::collections::BTreeMap;
use windlass_client::RolloutQuery;
use windlass_testkit::eventually;
use windlass_types::rollout::RolloutView;

async fn rollout(server: &Server) -> Option<RolloutView> {
    let page = server.client().rollouts(&RolloutQuery::default()).await;
    page.unwrap().items.into_iter().next()
}

#[tokio::test]
async fn a_rollout_survives_kill_9_at_every_stage_and_updates_each_device_once() {
    const DEVICES: usize = 20;
    let mut server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(20, &image(&registry, "v1", &v1)).await;
    let file = server.file("policy.toml", &policy(&registry, "web"));
    server
        .json(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;

    // Right after the webhook was answered: the delivery is durable, nothing else may be.
    let v2 = registry.push("demo/web", "v2", "two").await.unwrap();
    server.kill();
    server.restart();
    eventually("the push leads to a rollout", PATIENCE, async || {
        rollout(&server).await.is_some()
    })
    .await;

    // In the middle of each batch.
    for batch in 1..=3 {
        eventually("the batch is under way", PATIENCE, async || {
            rollout(&server).await.is_some_and(|view| {
                view.rollout.current_batch > batch
                    || view.rollout.status.is_final()
                    || view
                        .batches
                        .iter()
                        .any(|b| b.batch == batch && b.in_flight() > 0)
            })
        })
        .await;
        server.kill();
        server.restart();
    }

    let watched = server
        .windlass(&["rollouts", "watch", "latest", "--timeout", "80"])
        .await;
    assert_eq!(watched.code, 0, "{watched:?}");
    let view = rollout(&server).await.unwrap();
    let healthy: i64 = view.batches.iter().map(|batch| batch.completed).sum();
    assert_eq!(healthy, 20);
    assert_eq!(
        server.json(&["rollouts"]).await.as_array().unwrap().len(),
        1
    );

    for device in devices.snapshots() {
        let images = device.images_of("web");
        assert_eq!(images.len(), 2, "{device:?}");
        assert!(images[1].contains(v2.as_str()), "{device:?}");
        assert!(device.versions.is_sorted(), "{device:?}");
        assert_eq!(device.version, 3, "{device:?}");
    }
    let events = server
        .windlass(&["events", "--rollout", "latest", "--json"])
        .await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in events.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        *counts
            .entry(event["type"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    for (kind, wanted) in [
        ("image.rollout_created", 1),
        ("image.rollout_batch_started", 3),
        ("image.rollout_batch_completed", 3),
        ("image.rollout_completed", 1),
        ("device.image_update_scheduled", DEVICES),
        ("device.update_completed", DEVICES),
    ] {
        assert_eq!(counts.get(kind), Some(&wanted), "{kind} in {counts:?}");
    }
    devices.shutdown().await;
}
