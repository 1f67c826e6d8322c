//! Disks that are too full. Each test has an engine with a small disk of its own, which needs root and the right to mount.

use crate::bench::{Bench, image_of, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::DockerEngine;

const MIB: usize = 1 << 20;

fn web(image: &str) -> Value {
    service(1, "web", image, json!({}))
}

/// An engine whose disk holds v1 and no image of 16 MiB beside it, and how v1 stands there.
async fn full(
    image: &str,
    settings: &[(&str, &str)],
) -> (DockerEngine, Bench, windlass_engine::Found) {
    let engine = DockerEngine::start_on_a_disk_of(24).await;
    let mut device = Bench::on(&engine.host).await;
    device.server.wants(&[web(image)]);
    device.start(settings);
    let first = device.settles("web", image).await;
    (engine, device, first)
}

async fn goes_on(device: &Bench, first: &windlass_engine::Found) {
    let running = device.running("web").await;
    assert_eq!(
        (&running[0].id, running[0].started_at),
        (&first.id, first.started_at),
        "the old one goes on"
    );
}

#[tokio::test]
async fn an_image_that_cannot_fit_is_not_pulled_and_one_that_shares_its_layers_is() {
    let (registry, v1) = with_v1().await;
    let large = registry.push_large_app("demo/app", "v2", 16 * MIB).await;
    // The same layer as v1's under another configuration.
    let v3 = registry.push_app("demo/app", "v3", &[("N", "1")]).await;
    let reserve = [("WINDLASS_AGENT_UPDATE_RESERVE_BYTES", "8388608")];
    let (engine, device, first) = full(&v1, &reserve).await;

    device.server.wants(&[web(&large)]);
    device
        .tells_why("web", "disk", "and 8 MiB are to stay free, but only")
        .await;
    let told = device.server.reported("web").unwrap();
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("takes about"),
        "{told}"
    );
    goes_on(&device, &first).await;
    let pulled = device.engine.images().await.unwrap();
    assert_eq!(pulled.len(), 1, "nothing was pulled: {pulled:?}");

    device.server.wants(&[web(&v3)]);
    let second = device.settles("web", &v3).await;
    device.server.wants(&[web(&large)]);
    device.tells("web", "disk").await;
    goes_on(&device, &second).await;
    // Somebody makes room.
    engine.resize_disk(256);
    let after = device.settles("web", &large).await;
    assert_eq!(image_of(&after), large);
}

#[tokio::test]
async fn a_disk_that_is_full_in_the_middle_of_a_pull_changes_nothing_that_runs() {
    let (registry, v1) = with_v1().await;
    let large = registry.push_large_app("demo/app", "v2", 24 * MIB).await;
    // Sizes are not asked for, and what other programs write meanwhile is never known.
    let settings = [("WINDLASS_AGENT_ENGINE_UNPACK_FACTOR", "0")];
    let (engine, device, first) = full(&v1, &settings).await;

    device.server.wants(&[web(&large)]);
    device
        .tells_why("web", "disk", "no space left on device")
        .await;
    goes_on(&device, &first).await;
    engine.resize_disk(256);
    let after = device.settles("web", &large).await;
    assert_eq!(image_of(&after), large);
}
