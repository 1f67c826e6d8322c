//! Handing over to the new container while a client asks all the time.

use crate::bench::{Bench, PATIENCE, probed, service, with_v1};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use windlass_engine::Found;
use windlass_testkit::eventually;

fn services(image: &str, client: &str) -> [Value; 2] {
    let mut config = probed();
    config["update_strategy"] = json!("blue-green");
    config["stop_grace_period"] = json!("10s");
    // Many times what a client needs to try the next address.
    config["drainPeriod"] = json!("10s");
    let asks = json!({"command": ["client", "web:8080"]});
    [
        service(1, "web", image, config),
        service(2, "client", client, asks),
    ]
}

/// What a container has printed so far.
async fn printed(device: &Bench, container: &Found) -> Vec<String> {
    let lines = device.engine.logs(&container.id, None, false).await;
    let lines: Vec<_> = lines.unwrap().collect().await;
    lines.into_iter().flatten().map(|line| line.text).collect()
}

#[tokio::test]
async fn a_hand_over_loses_no_request() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let v3 = registry.push_app("demo/app", "v3", &[]).await;
    let mut device = Bench::new().await;
    device.server.wants(&services(&v1, &v1));
    device.start(&[]);
    device.settles("web", &v1).await;
    let client = device.settles("client", &v1).await;
    for (image, version) in [(&v2, "v2"), (&v3, "v3")] {
        device.server.wants(&services(image, &v1));
        device.settles("web", image).await;
        let first = format!("first version {version}");
        eventually(&first, PATIENCE, async || {
            printed(&device, &client).await.contains(&first)
        })
        .await;
    }

    device
        .engine
        .stop(&client.id, Duration::from_secs(10))
        .await
        .unwrap();
    let printed = printed(&device, &client).await;
    let last = printed
        .iter()
        .rfind(|line| line.starts_with("asked="))
        .cloned();
    let last = last.unwrap_or_else(|| panic!("the client printed {printed:?}"));
    println!("{last}");
    for line in printed
        .iter()
        .filter(|line| line.starts_with("passed over"))
    {
        println!("{line}");
    }
    for version in ["version v1", "version v2", "version v3"] {
        assert!(last.contains(version), "{version} answered: {last}");
    }
    assert!(last.contains(" lost=0 "), "{printed:?}");
}

#[tokio::test]
async fn a_hand_over_to_one_that_is_not_ready_leaves_the_old_one_serving() {
    let (registry, v1) = with_v1().await;
    let v2 = registry
        .push_app("demo/app", "v2", &[("APP_UNHEALTHY", "1")])
        .await;
    let mut device = Bench::new().await;
    device.server.wants(&services(&v1, &v1));
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    device.server.wants(&services(&v2, &v1));
    device.tells("web", "health").await;
    let after = device.settles("web", &v1).await;
    assert_eq!((after.id, after.started_at), (first.id, first.started_at));
}

#[tokio::test]
async fn a_hand_over_with_a_fixed_port_is_refused_and_the_old_one_goes_on() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let port = windlass_testkit::free_port();
    let with_port = |image: &str| {
        let mut both = services(image, &v1);
        both[0]["config"]["ports"] = json!([format!("127.0.0.1:{port}:8080")]);
        both
    };
    device.server.wants(&with_port(&v1));
    device.start(&[]);
    let first = device.settles("web", &v1).await;
    device.server.wants(&with_port(&v2));
    device.tells("web", "config").await;
    eventually("the old one goes on", PATIENCE, async || {
        let running = device.running("web").await;
        running.len() == 1 && running[0].id == first.id && running[0].started_at == first.started_at
    })
    .await;
}
