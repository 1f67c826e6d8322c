//! The server is away, the engine is restarted.

use crate::bench::{Bench, PATIENCE, ask, web, with_v1};
use windlass_testkit::{DockerEngine, eventually};

#[tokio::test]
async fn a_device_goes_on_with_its_last_target_while_the_server_is_away() {
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;

    device.server.go_away();
    // The agent is started again without a server; somebody removes the container meanwhile.
    device.agent().terminate();
    let untouched = device.running("web").await;
    assert_eq!(
        (&untouched[0].id, untouched[0].started_at),
        (&first.id, first.started_at)
    );
    device.engine.kill(&first.id).await.unwrap();
    device.engine.remove(&first.id).await.unwrap();
    device.start(&[]);
    eventually("it runs again without a server", PATIENCE, async || {
        let running = device.running("web").await;
        match running.first() {
            Some(one) => ask(one, "/").await.as_deref() == Some("version v1"),
            None => false,
        }
    })
    .await;

    device.server.wants(&[web(&v2)]);
    device.server.come_back().await;
    device.settles("web", &v2).await;
}

#[tokio::test]
async fn an_engine_that_is_restarted_under_the_agent_is_taken_up_again() {
    let engine = DockerEngine::start().await;
    let (registry, v1) = with_v1().await;
    let v2 = registry.push_app("demo/app", "v2", &[]).await;
    let mut device = Bench::on(&engine.host).await;
    device.server.wants(&[web(&v1)]);
    device.start(&[]);
    let first = device.settles("web", &v1).await;

    engine.restart().await;
    let after = device.settles("web", &v1).await;
    assert_eq!(after.id, first.id, "the engine started it again by itself");
    device.server.wants(&[web(&v2)]);
    device.settles("web", &v2).await;
}
