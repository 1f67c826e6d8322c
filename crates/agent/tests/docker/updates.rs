//! Starting and updating.

use crate::bench::{Bench, PATIENCE, ask, image_of, probed, service, web, with_v1};
use serde_json::json;
use windlass_testkit::eventually;

#[tokio::test]
async fn a_device_starts_what_its_target_says_and_updates_it_by_digest() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    assert_eq!(ask(&first, "/").await.as_deref(), Some("version v1"));

    device.server.wants(&[web(&v2)]);
    let second = device.settles("web", &v2).await;
    assert_eq!(ask(&second, "/").await.as_deref(), Some("version v2"));
    assert_ne!(first.id, second.id);

    // A target that wants it no more takes it away.
    device.server.wants(&[]);
    eventually("nothing is left", PATIENCE, async || {
        device.containers().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn only_what_makes_a_container_makes_a_new_one() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;

    let mut other_probe = probed();
    other_probe["readinessProbe"]["periodSeconds"] = json!(2);
    device
        .server
        .wants(&[service(1, "web", &v1, other_probe.clone())]);
    let version = json!(2);
    eventually("the new target is taken", PATIENCE, async || {
        device.agent_knows(&version)
    })
    .await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);

    other_probe["environment"] = json!({"A": "b"});
    device.server.wants(&[service(1, "web", &v1, other_probe)]);
    eventually("another container", PATIENCE, async || {
        let running = device.running("web").await;
        running.len() == 1 && running[0].id != first.id
    })
    .await;
}

#[tokio::test]
async fn a_service_waits_until_the_one_it_needs_is_well() {
    let (registry, v1) = with_v1().await;
    let slow = registry
        .push_app("demo/slow", "v1", &[("APP_UNHEALTHY", "1")])
        .await;
    let mut device = Bench::new().await;
    let web = service(
        2,
        "web",
        &v1,
        json!({"depends_on": {"base": {"condition": "service_healthy"}}}),
    );
    // Listed after the one that needs it, and not well.
    device
        .server
        .wants(&[web.clone(), service(1, "base", &slow, probed())]);
    device.start(&[]);
    eventually("base runs", PATIENCE, async || {
        device.running("base").await.len() == 1
    })
    .await;
    device.tells("base", "health").await;
    assert!(device.running("web").await.is_empty());

    device
        .server
        .wants(&[web, service(1, "base", &v1, probed())]);
    let web = device.settles("web", &v1).await;
    let base = device.settles("base", &v1).await;
    assert!(
        base.started_at < web.started_at,
        "the one that is needed first"
    );
}

#[tokio::test]
async fn containers_and_networks_that_are_not_its_own_are_left_alone() {
    let (_registry, v1) = with_v1().await;
    let mut mine = Bench::new().await;
    mine.server.wants(&[web(&v1)]);
    mine.start(&[]);
    let before = mine.settles("web", &v1).await;

    // Another agent on the same engine wants nothing at all.
    let mut other = Bench::new().await;
    other.server.wants(&[web(&v1)]);
    other.start(&[]);
    other.settles("web", &v1).await;
    other.server.wants(&[]);
    eventually("the other's are gone", PATIENCE, async || {
        other.containers().await.is_empty()
    })
    .await;
    let after = mine.settles("web", &v1).await;
    assert_eq!(
        (before.id, before.started_at),
        (after.id.clone(), after.started_at)
    );
    assert_eq!(image_of(&after), v1);
}
