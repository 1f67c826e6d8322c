//! What proves a container, and how one that did not is told.

use crate::bench::{Bench, PATIENCE, image_of, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::eventually;

fn quick(mut probe: Value) -> Value {
    probe["periodSeconds"] = json!(1);
    probe["timeoutSeconds"] = json!(1);
    probe["failureThreshold"] = json!(2);
    probe
}

fn exec(word: &str) -> Value {
    quick(json!({"type": "exec", "command": ["/app", word]}))
}

fn tcp(port: u16) -> Value {
    quick(json!({"type": "tcp", "tcpPort": port}))
}

#[tokio::test]
async fn a_program_or_a_port_in_the_container_proves_it() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    let config = json!({"startupProbe": exec("ok"), "readinessProbe": tcp(8080), "livenessProbe": exec("ok")});
    device.server.wants(&[service(1, "web", &v1, config)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    eventually("all of them pass", PATIENCE, async || {
        let told = device.server.reported("web");
        told.is_some_and(|told| told["health"]["status"] == "healthy")
    })
    .await;

    // Each with another variable, so that there is something to start.
    for (number, probe, why) in [
        (
            1,
            exec("fail"),
            "startup does not pass: ended with 1: not well",
        ),
        (
            2,
            exec("hang"),
            "the program of the try before has not ended",
        ),
        (3, tcp(9), "startup does not pass"),
    ] {
        let config = json!({"environment": {"N": number}, "startupProbe": probe});
        device.server.wants(&[service(1, "web", &v1, config)]);
        device.tells_why("web", "health", why).await;
        assert_eq!(device.settles("web", &v1).await.id, first.id);
    }
}

#[tokio::test]
async fn what_the_engines_own_healthcheck_says_decides() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let checked = |image: &str, word: &str| {
        let check =
            json!({"test": ["CMD", "/app", word], "interval": "1s", "timeout": "1s", "retries": 2});
        service(1, "web", image, json!({"healthcheck": check}))
    };
    device.server.wants(&[checked(&v1, "ok")]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    eventually("the healthcheck is told", PATIENCE, async || {
        let told = device.server.reported("web").unwrap_or_default();
        told["health"]["probe"] == "healthcheck" && told["health"]["status"] == "healthy"
    })
    .await;

    device.server.wants(&[checked(&v2, "fail")]);
    device
        .tells_why("web", "health", "healthcheck does not pass")
        .await;
    assert_eq!(device.settles("web", &v1).await.id, first.id);
    device.server.wants(&[checked(&v2, "ok")]);
    device.settles("web", &v2).await;
}

#[tokio::test]
async fn how_a_container_ended_is_told() {
    let (registry, v1) = with_v1().await;
    let ends = registry
        .push_app("demo/app", "v2", &[("APP_CRASH_AFTER_MS", "100")])
        .await;
    let eats = registry
        .push_app("demo/app", "v3", &[("APP_EAT_MIB", "200")])
        .await;
    let mut device = Bench::new().await;
    device.server.wants(&[service(1, "web", &v1, json!({}))]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    let limit = json!({"resources": {"limits": {"memory": "32Mi"}}});
    for (image, config, why) in [
        (&ends, json!({}), "it ended with 3"),
        (&eats, limit, "it was ended for want of memory"),
    ] {
        device.server.wants(&[service(1, "web", image, config)]);
        device.tells_why("web", "crash_loop", why).await;
        assert_eq!(device.settles("web", &v1).await.id, first.id);
    }
}

#[tokio::test]
async fn one_whose_policy_leaves_it_ended_comes_back_after_a_failed_update() {
    let (registry, v1) = with_v1().await;
    let v2 = registry
        .push_app("demo/app", "v2", &[("APP_UNHEALTHY", "1")])
        .await;
    let mut device = Bench::new().await;
    let once = |image: &str| {
        let mut config = crate::bench::probed();
        config["restart"] = json!("on-failure");
        service(1, "web", image, config)
    };
    device.server.wants(&[once(&v1)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    device.server.wants(&[once(&v2)]);
    device.tells("web", "health").await;
    let back = device.settles("web", &v1).await;
    assert_eq!(back.id, first.id);
    assert_eq!(image_of(&back), v1);
}
