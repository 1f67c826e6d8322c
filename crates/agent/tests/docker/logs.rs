//! What containers print, on its way to the server.

use crate::bench::{Bench, PATIENCE, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::eventually;

fn lines(device: &Bench, service: &str) -> Vec<String> {
    let of = |line: &Value| line["serviceName"] == json!(service);
    let text = |line: Value| line["message"].as_str().unwrap().to_owned();
    let all = device.server.logs().into_iter().flatten();
    all.filter(of).map(text).collect()
}

#[tokio::test]
async fn lines_are_shipped_in_batches_where_the_target_asks_for_them() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    let both = |image: &str| {
        ["web", "worker"]
            .map(|name| service(if name == "web" { 1 } else { 2 }, name, image, json!({})))
    };
    device.server.wants(&both(&v1));
    device.start(&[]);
    device.settles("web", &v1).await;
    device.settles("worker", &v1).await;
    assert!(device.server.logs().is_empty(), "nobody asked");

    device.server.asks_for_logs();
    for name in ["web", "worker"] {
        eventually(
            "what was printed before it was asked for",
            PATIENCE,
            async || lines(&device, name) == ["version v1 starts"],
        )
        .await;
    }
    let first = &device.server.logs()[0][0];
    assert!(
        first["timestamp"].is_i64() && first["containerId"].is_string(),
        "{first}"
    );

    device.server.wants(&both(&v2));
    device.settles("web", &v2).await;
    eventually("the new one's lines, and each once", PATIENCE, async || {
        let lines = lines(&device, "web");
        lines.last().map(String::as_str) == Some("version v2 starts")
            && lines
                .iter()
                .filter(|line| *line == "version v1 starts")
                .count()
                == 1
    })
    .await;
}
