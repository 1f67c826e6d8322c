//! What fails is put back by the device alone, or changes nothing.

use crate::bench::{Bench, PATIENCE, ask, image_of, service, web, with_v1};
use serde_json::json;
use std::time::Duration;
use windlass_reconcile::observed::ContainerState;
use windlass_testkit::{Cutter, eventually};

/// A device that runs v1.
async fn settled(v1: &str) -> (Bench, windlass_engine::Found) {
    let mut device = Bench::new().await;
    device.server.wants(&[web(v1)]);
    device.start(&[]);
    let first = device.settles("web", v1).await;
    (device, first)
}

#[tokio::test]
async fn an_image_that_crashes_is_put_back_with_the_registry_gone() {
    let (mut registry, v1) = with_v1().await;
    let v2 = registry
        .push_app("demo/app", "v2", &[("APP_CRASH_AFTER_MS", "300")])
        .await;
    let (device, first) = settled(&v1).await;
    device.server.wants(&[web(&v2)]);
    eventually("v2 was pulled", PATIENCE, async || {
        let containers = device.containers().await;
        containers.iter().any(|one| image_of(one) == v2)
    })
    .await;
    registry.kill();
    device.tells("web", "crash_loop").await;
    let back = device.settles("web", &v1).await;
    assert_eq!(back.id, first.id, "the old container itself is back");
    assert_eq!(ask(&back, "/").await.as_deref(), Some("version v1"));
}

#[tokio::test]
async fn an_image_whose_probe_does_not_pass_is_put_back() {
    let (registry, v1) = with_v1().await;
    let v2 = registry
        .push_app("demo/app", "v2", &[("APP_UNHEALTHY", "1")])
        .await;
    let v3 = registry
        .push_app("demo/app", "v3", &[("APP_HANG", "1")])
        .await;
    let (device, first) = settled(&v1).await;
    for bad in [&v2, &v3] {
        device.server.wants(&[web(bad)]);
        device.tells("web", "health").await;
        let back = device.settles("web", &v1).await;
        assert_eq!(back.id, first.id);
    }
}

#[tokio::test]
async fn a_crash_loop_without_a_way_back_is_told() {
    let (registry, _) = with_v1().await;
    let bad = registry
        .push_app("demo/app", "v2", &[("APP_CRASH_AFTER_MS", "0")])
        .await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&bad)]);
    device.start(&[]);
    device.tells("web", "crash_loop").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure_to_start() {
    let (_registry, v1) = with_v1().await;
    let (device, first) = settled(&v1).await;
    let config = json!({"entrypoint": ["/no-such-program"]});
    device.server.wants(&[service(1, "web", &v1, config)]);
    device.tells("web", "start").await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);
}

#[tokio::test]
async fn too_much_memory_ends_in_the_way_back() {
    let (registry, v1) = with_v1().await;
    let v2 = registry
        .push_app("demo/app", "v2", &[("APP_EAT_MIB", "200")])
        .await;
    let (device, first) = settled(&v1).await;
    let config = json!({"resources": {"limits": {"memory": "32Mi"}}});
    device.server.wants(&[service(1, "web", &v2, config)]);
    device.tells("web", "crash_loop").await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);
}

#[tokio::test]
async fn a_pull_that_fails_half_way_changes_nothing_and_is_tried_again() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let (device, first) = settled(&v1).await;
    // Another layer than v1's, or there would be nothing to pull.
    let other = registry.push("demo/bulk", "v1", &noise(4 << 20)).await;
    let line = Cutter::to(&registry.host).await;
    line.cut_after(64 * 1024);
    let through = format!("{}/demo/bulk:v1@{other}", line.host);
    device.server.wants(&[web(&through)]);
    device.tells("web", "registry").await;
    assert_eq!(
        device.running("web").await.first().map(|one| &one.id),
        Some(&first.id)
    );
    // The line holds again: the pull goes through, and no container can be made of an image without a program.
    line.cut_after(u64::MAX);
    device.tells("web", "config").await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);

    device.server.wants(&[web(&v2)]);
    device.settles("web", &v2).await;
}

/// What cannot be packed.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b' ' + u8::try_from(state % 95).unwrap()));
    }
    text
}

#[tokio::test]
async fn a_disk_with_too_little_room_changes_nothing() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let (mut device, first) = settled(&v1).await;
    device.agent().terminate();
    let all = (1_u64 << 60).to_string();
    device.start(&[("WINDLASS_AGENT_UPDATE_RESERVE_BYTES", &all)]);
    device.server.wants(&[web(&v2)]);
    device.tells("web", "disk").await;
    let after = device.running("web").await;
    assert_eq!(
        (&after[0].id, after[0].started_at),
        (&first.id, first.started_at)
    );
}

#[tokio::test]
async fn an_image_for_another_processor_is_not_pulled() {
    let (registry, v1) = with_v1().await;
    let foreign = registry.push_app_for("demo/app", "v2", "s390x", &[]).await;
    let (device, first) = settled(&v1).await;
    device.server.wants(&[web(&foreign)]);
    device.tells("web", "pull").await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);
    let plain = foreign.replace(":v2@", "@");
    assert_eq!(device.engine.image(&plain).await.unwrap(), None);
}

#[tokio::test]
async fn one_that_ignores_being_asked_to_stop_is_ended_after_its_grace() {
    let (registry, v1) = with_v1().await;
    let stubborn = registry
        .push_app("demo/app", "v2", &[("APP_IGNORE_TERM", "1")])
        .await;
    let mut device = Bench::new().await;
    let config = json!({"stop_grace_period": "2s"});
    device.server.wants(&[service(1, "web", &stubborn, config)]);
    device.start(&[]);
    device.settles("web", &stubborn).await;
    device.server.wants(&[web(&v1)]);
    let mut begun = None;
    eventually("the stubborn one is ended", PATIENCE, async || {
        let ended = device
            .containers()
            .await
            .into_iter()
            .find(|one| image_of(one) == stubborn && one.state == ContainerState::Exited);
        begun = ended.or(begun.take());
        begun.is_some()
    })
    .await;
    // 128 + SIGKILL.
    assert_eq!(begun.and_then(|one| one.exit_code), Some(137));
    device.settles("web", &v1).await;
}

#[tokio::test]
async fn one_that_is_not_alive_any_more_is_restarted() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    let config = json!({"livenessProbe": {"type": "http", "path": "/health", "port": 8080,
        "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}});
    device.server.wants(&[service(1, "web", &v1, config)]);
    device.start(&[("WINDLASS_AGENT_UPDATE_RESTART_FIRST_SECONDS", "1")]);
    let first = device.settles("web", &v1).await;
    assert!(ask(&first, "/do/sicken").await.is_some());
    eventually(
        "it was started again",
        Duration::from_secs(60),
        async || {
            let running = device.running("web").await;
            running.len() == 1
                && running[0].id == first.id
                && running[0].started_at > first.started_at
        },
    )
    .await;
}
