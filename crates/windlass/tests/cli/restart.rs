//! kill -9 in the middle: the next start reads the store and goes on, and nothing is done twice.

use crate::server::{BINARY, PATIENCE, Server, image, policy};
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use windlass_client::RolloutQuery;
use windlass_simulator::{Failure, Style};
use windlass_testkit::eventually;
use windlass_types::rollout::{RolloutStatus, RolloutView};

/// Whether a rollout has come so far.
type Reached = fn(&RolloutView) -> bool;

async fn rollout(server: &Server) -> Option<RolloutView> {
    let page = server.client().rollouts(&RolloutQuery::default()).await;
    page.unwrap().items.into_iter().next()
}

/// How many events of each type the latest rollout has.
async fn events(server: &Server) -> BTreeMap<String, usize> {
    let told = server
        .windlass(&["events", "--rollout", "latest", "--json"])
        .await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in told.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        *counts
            .entry(event["type"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
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

    // Somebody watches all the while.
    let mut watching = tokio::process::Command::new(BINARY)
        .args(["rollouts", "watch", "latest", "--timeout", "80"])
        .env("WINDLASS_URL", &server.url)
        .env("WINDLASS_API_KEY", &server.key)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut watched = BufReader::new(watching.stdout.take().unwrap()).lines();
    watched.next_line().await.unwrap().unwrap();

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

    let ended = timeout(PATIENCE, watching.wait()).await.unwrap().unwrap();
    let mut last = String::new();
    while let Some(line) = watched.next_line().await.unwrap() {
        last = line;
    }
    assert!(ended.success(), "{last}");
    assert!(last.contains("20 healthy"), "{last}");
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
    let counts = events(&server).await;
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

#[tokio::test]
async fn a_bad_release_is_held_and_taken_back_once_whatever_is_killed_meanwhile() {
    let mut server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let v1 = image(&registry, "v1", &v1);
    let bad = windlass_simulator::Registry::digest_of("two").unwrap();
    let devices = server
        .cast(20, &v1, |index, style| {
            let healthy = windlass_simulator::Behaviour::healthy(style);
            match (index % 3, style) {
                (0, Style::Ours) => healthy.bad_on(bad.as_str(), Failure::ReportsError),
                (0, Style::Existing) => healthy.bad_on(bad.as_str(), Failure::CrashLoop),
                _ => healthy,
            }
        })
        .await;
    let file = server.file("policy.toml", &policy(&registry, "web"));
    server
        .json(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;
    registry.push("demo/web", "v2", "two").await.unwrap();
    eventually("the push leads to a rollout", PATIENCE, async || {
        rollout(&server).await.is_some()
    })
    .await;
    // Killed as soon as anybody fails, is on the way back, is back; and when it has paused.
    let stages: [(&str, Reached); 4] = [
        ("somebody failed", |view| {
            view.batches.iter().any(|batch| batch.attempted_failed > 0)
        }),
        ("somebody is on the way back", |view| {
            view.batches
                .iter()
                .any(|batch| batch.rolling_back + batch.rolled_back > 0)
        }),
        ("somebody is back", |view| {
            view.batches.iter().any(|batch| batch.rolled_back > 0)
        }),
        ("it has paused", |view| {
            view.rollout.status == RolloutStatus::Paused
        }),
    ];
    for (what, reached) in stages {
        eventually(what, PATIENCE, async || {
            rollout(&server).await.is_some_and(|view| reached(&view))
        })
        .await;
        server.kill();
        server.restart();
    }
    eventually("nobody is on the way any more", PATIENCE, async || {
        rollout(&server).await.is_some_and(|view| {
            view.batches
                .iter()
                .all(|batch| batch.in_flight() + batch.failed + batch.rolling_back == 0)
        })
    })
    .await;

    let view = rollout(&server).await.unwrap();
    assert_eq!(view.rollout.status, RolloutStatus::Paused, "{view:?}");
    let failed: i64 = view.batches.iter().map(|batch| batch.rolled_back).sum();
    assert!(failed > 0, "{view:?}");
    let quarantine = server.json(&["quarantine"]).await;
    assert_eq!(quarantine.as_array().unwrap().len(), 1, "{quarantine}");
    assert_eq!(quarantine[0]["digest"], bad.as_str());

    let rows = server
        .client()
        .rollout_devices(
            view.rollout.id,
            None,
            &windlass_client::PageQuery::default(),
        )
        .await
        .unwrap()
        .items;
    assert_eq!(rows.len(), 20);
    for row in rows {
        use windlass_types::rollout::DeviceStatus;
        let device = devices.snapshot(row.device_uuid).unwrap();
        let wanted = match row.status {
            DeviceStatus::Completed => bad.as_str(),
            DeviceStatus::RolledBack | DeviceStatus::Pending => &v1,
            other => panic!("{other} in the end: {row:?}"),
        };
        assert!(device.runs("web", wanted), "{row:?}: {device:?}");
        let starts = |part: &str| {
            let images = device.images_of("web");
            images.iter().filter(|image| image.contains(part)).count()
        };
        assert!(starts(bad.as_str()) <= 1 && starts(&v1) <= 2, "{device:?}");
        assert!(device.versions.is_sorted(), "{device:?}");
    }
    let counts = events(&server).await;
    let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert_eq!(count("image.rollout_paused"), 1, "{counts:?}");
    assert_eq!(count("image.quarantined"), 1, "{counts:?}");
    let back = usize::try_from(failed).unwrap();
    assert_eq!(count("device.rollback_scheduled"), back, "{counts:?}");
    assert_eq!(count("device.rolled_back"), back, "{counts:?}");
    devices.shutdown().await;
}
