//! An agent that is a container of the engine it works on.

use crate::world::{Device, PATIENCE, target};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_agent::link::Offer;
use windlass_agent::picture::Picture;
use windlass_agent::reconciler::{Fault, Kept, Reconciler};
use windlass_agent::ship::Shipped;
use windlass_testkit::{eventually, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_its_successor_before_it_stops_itself_whatever_the_target_says() {
    let device = Device::without_server(&format!("http://127.0.0.1:{}", free_port()));
    device.write_target(3, &target(&["r/agent:v1"]));
    let agent = device.agent();
    device.runs(&["r/agent:v1"]).await;
    device.settles().await;
    agent.end().await;
    device.engine.inner().done.clear();
    device.write_target(4, &target(&["r/agent:v2"]));
    let own = device.engine.inner().containers[0].id.clone();
    let reconciler = Reconciler {
        machine: Arc::new(device.engine.clone()),
        kept: Kept::open(device.state()).unwrap(),
        settings: device.config.update.clone(),
        own: Some(own),
        offers: watch::Sender::new(Offer::None).subscribe(),
        pictures: watch::Sender::new(Arc::new(Picture::default())),
        shipped: watch::Sender::new(Arc::new(Shipped::new())),
        fault: Fault::default(),
        watching: None,
    };
    let shutdown = CancellationToken::new();
    let ends = shutdown.clone();
    let task = tokio::spawn(async move { reconciler.run(&ends).await });
    eventually("it stops itself", PATIENCE, async || {
        device.engine.inner().done.contains(&"stop".to_owned())
    })
    .await;
    let done = device.engine.inner().done.clone();
    let at = |name: &str| done.iter().position(|step| step == name).unwrap();
    assert!(
        at("create") < at("start") && at("start") < at("stop"),
        "{done:?}"
    );
    device.runs(&["r/agent:v2"]).await;
    shutdown.cancel();
    task.await.unwrap();
}
