//! Logs on their way to the server.

use crate::world::{Device, PATIENCE, Server, target};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use windlass_agent::machine::LogLine;
use windlass_agent::state::POSITIONS;
use windlass_testkit::eventually;

fn print(device: &Device, texts: &[&str]) {
    let mut inner = device.engine.inner();
    let id = inner.containers[0].id.clone();
    for text in texts {
        let at = Utc::now() + TimeDelta::milliseconds(i64::try_from(inner.printed.len()).unwrap());
        let line = LogLine {
            at,
            is_stderr: false,
            text: (*text).to_owned(),
        };
        inner.printed.push((id.clone(), line));
    }
}

async fn kept(server: &Server, device: &Device) -> Vec<String> {
    let store = server.logs(device.uuid()).await;
    store.into_iter().map(|line| line.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_shipped_where_the_target_asks_for_it_and_not_again_after_a_restart() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let agent = device.agent();
    let uuid = device.uuid();
    server.set(uuid, &target(&["r/app:v1"])).await;
    device.runs(&["r/app:v1"]).await;
    print(&device, &["one", "two"]);
    let mut asks = target(&["r/app:v1"]);
    asks["config"] = json!({"logs": {"ship": ["web"]}});
    server.set(uuid, &asks).await;
    eventually("both lines came", PATIENCE, async || {
        kept(&server, &device).await == ["one", "two"]
    })
    .await;
    agent.end().await;
    assert!(device.state().file(POSITIONS).exists());
    print(&device, &["three"]);
    let _agent = device.agent();
    eventually("the third came", PATIENCE, async || {
        kept(&server, &device).await.len() > 2
    })
    .await;
    assert_eq!(kept(&server, &device).await, ["one", "two", "three"]);
}
