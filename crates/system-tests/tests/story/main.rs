//! The whole story with real parts: a registry, `windlass up`, and three agents as processes with containers on a
//! Docker engine. Versions are pushed as people push them, and the engine's own events say afterwards how long
//! each service was without a running container.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod device;
mod engine;
mod gaps;
mod server;

use crate::device::{Device, Strategy};
use crate::engine::{Events, StopStart};
use crate::gaps::gaps;
use crate::server::Server;
use std::time::Duration;
use windlass_engine::Found;
use windlass_testkit::{docker_host, eventually};
use windlass_types::api::PlanDecision;
use windlass_types::delivery::Decision;
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until each device runs this image in one container, and the server was told so.
async fn all_run(server: &Server, devices: &[Device], image: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for device in devices {
        found.push(device.runs("web", image).await);
        let what = format!("the server knows that {} runs {image}", device.name);
        eventually(&what, PATIENCE, async || {
            server.reported(device).await.as_deref() == Some(image)
        })
        .await;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_reaches_all_and_a_bad_one_leaves_them_as_they_were() {
    let host = docker_host();
    let server = Server::start().await;
    let key = server.provisioning_key().await;
    let mut devices = Vec::new();
    for strategy in [Strategy::Recreate, Strategy::SlowStop, Strategy::HandOver] {
        devices.push(Device::start(&host, &server, strategy, &key).await);
    }
    let mut beside = StopStart::begin(&host, &server.registry).await;
    let events = Events::of(&host, &mut beside).await;

    // The first version, given by hand.
    let v1 = server.push("v1", &[]).await;
    let store_image = server.registry.push_app("demo/store", "v1", &[]).await;
    for device in &devices {
        server.install(device, &v1, &store_image).await;
    }
    all_run(&server, &devices, &v1).await;
    let mut stores = Vec::new();
    for device in &devices {
        stores.push(device.runs("store", &store_image).await);
    }
    server.policy().await;

    // A good one.
    let v2 = server.push("v2", &[]).await;
    let good = server.rollout_of(&v2).await;
    server.ends(&good, &[RolloutStatus::Completed]).await;
    let on_v2 = all_run(&server, &devices, &v2).await;
    let counted = server.devices_of(&good).await;
    assert!(
        counted.len() == 3 && counted.iter().all(|d| d.status == DeviceStatus::Completed),
        "{counted:#?}"
    );

    // One that is never ready and ends again and again, however slow the machine.
    let crashes = [("APP_HANG", "1"), ("APP_CRASH_AFTER_MS", "200")];
    let v3 = server.push("v3", &crashes).await;
    let bad = server.rollout_of(&v3).await;
    let ended = [RolloutStatus::Paused, RolloutStatus::Failed];
    server.ends(&bad, &ended).await;
    let struck = server.devices_of(&bad).await;
    let went_back = struck
        .iter()
        .filter(|device| device.status == DeviceStatus::RolledBack);
    assert!(went_back.count() > 0, "somebody met it: {struck:#?}");
    let quarantine = server.quarantine().await;
    assert_eq!(quarantine.len(), 1, "{quarantine:#?}");
    assert!(v3.ends_with(quarantine[0].digest.as_str()));
    let after = all_run(&server, &devices, &v2).await;
    let ids = |found: &[Found]| -> Vec<String> { found.iter().map(|one| one.id.clone()).collect() };
    assert_eq!(ids(&after), ids(&on_v2), "back in the very containers");

    // Pushed again, under its tag and under another one.
    let targets = server.targets(&devices).await;
    server.copy("v3", "v3");
    server.copy("v3", "v4");
    eventually("both pushes are decided on", PATIENCE, async || {
        let again = server.deliveries(Decision::Duplicate).await;
        let under_v4 = server.decision("v4").await;
        again > 0 && under_v4 == Some(PlanDecision::Quarantined)
    })
    .await;
    assert_eq!(server.rollouts().await.len(), 2, "it ships no more");
    assert_eq!(server.targets(&devices).await, targets);
    let still = all_run(&server, &devices, &v2).await;
    let starts = |found: &[Found]| -> Vec<_> { found.iter().map(|one| one.started_at).collect() };
    assert_eq!((ids(&still), starts(&still)), (ids(&after), starts(&after)));

    // How it was in between.
    let (longest, cycles) = beside.end(&events).await;
    println!("the longest of {cycles} stops and starts by hand: {longest:?}");
    let all = events.seen();
    for (device, store) in devices.iter().zip(&stores) {
        let gaps = gaps(&all, &device.scope, "web");
        println!("{}: {gaps:?}", device.name);
        if device.strategy == Strategy::HandOver {
            assert!(gaps.is_empty(), "never without: {gaps:#?}");
        } else {
            assert!(!gaps.is_empty(), "it was stopped before it was started");
        }
        for gap in &gaps {
            assert_eq!(
                gap.made, 0,
                "the next container is made before the old one is stopped: {gap:?}"
            );
            // Once for its own work, once for what held up everything meanwhile, and once for what held up this agent
            // alone: a machine has fewer processors than this test has processes.
            assert!(
                gap.took <= 3 * longest,
                "{} was without for longer than it takes to stop and start one: {gap:?}",
                device.name
            );
        }
        // What was not updated was left alone.
        let now = device.runs("store", &store_image).await;
        assert_eq!(
            (now.id, now.started_at),
            (store.id.clone(), store.started_at)
        );
    }
}
