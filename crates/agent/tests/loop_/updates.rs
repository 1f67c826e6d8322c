//! First start, update, failure, way back.

use crate::world::{Device, PATIENCE, Server, target};
use std::time::Duration;
use windlass_agent::state::MEMORY;
use windlass_testkit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_becomes_known_runs_what_it_is_told_and_says_so() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let agent = device.agent();
    let uuid = device.uuid();
    let version = server.set(uuid, &target(&["r/app:v1"])).await;
    device.runs(&["r/app:v1"]).await;
    eventually("the server knows", PATIENCE, async || {
        let told = server.told(uuid).await;
        told["imageName"] == "r/app:v1" && told["status"] == "running" && told["phase"] == "running"
    })
    .await;
    let state = server.operator.current_state(uuid).await.unwrap();
    let report = state.report.unwrap();
    assert_eq!(report["version"], version);
    assert!(report["platform"].as_str().unwrap().starts_with("linux/"));
    eventually("the status says the same", PATIENCE, async || {
        device.status().is_some_and(|status| {
            status.picture.version == Some(version) && status.waits().is_empty()
        })
    })
    .await;
    agent.end().await;
    assert_eq!(device.status().unwrap().process, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_goes_back_without_the_server_which_is_told_when_it_is_back() {
    let mut server = Server::start().await;
    let device = Device::of(&server).await;
    let agent = device.agent();
    let uuid = device.uuid();
    server.set(uuid, &target(&["r/app:v1"])).await;
    device.runs(&["r/app:v1"]).await;
    eventually("the first one has proved itself", PATIENCE, async || {
        std::fs::read_to_string(device.state().file(MEMORY))
            .is_ok_and(|text| text.contains("\"good\": {"))
    })
    .await;
    device.engine.inner().crashes.insert("r/app:v2".to_owned());
    // Told, and nothing of it done before the server is gone.
    device.engine.inner().away = true;
    let version = server.set(uuid, &target(&["r/app:v2"])).await;
    eventually("it is told", PATIENCE, async || {
        let status = device.status();
        status.is_some_and(|status| status.picture.version == Some(version))
    })
    .await;
    server.stop();
    device.engine.inner().away = false;
    eventually("it was tried and went back", PATIENCE, async || {
        let starts = device
            .engine
            .inner()
            .done
            .iter()
            .filter(|s| *s == "start")
            .count();
        starts >= 3
    })
    .await;
    device.runs(&["r/app:v1"]).await;
    eventually("it is told on the device", PATIENCE, async || {
        device.status().is_some_and(|status| {
            status.standing.trouble.is_some()
                && status.picture.services.iter().flatten().any(|view| {
                    view.error.is_some() && view.wanted_image.as_deref() == Some("r/app:v2")
                })
        })
    })
    .await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_changes_nothing_and_is_asked_again() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let _agent = device.agent();
    let uuid = device.uuid();
    server.set(uuid, &target(&["r/app:v1"])).await;
    device.runs(&["r/app:v1"]).await;
    device
        .engine
        .inner()
        .unpullable
        .insert("r/app:v2".to_owned());
    server.set(uuid, &target(&["r/app:v2"])).await;
    eventually("the server knows why", PATIENCE, async || {
        let told = server.told(uuid).await;
        told["error"]["type"] == "registry" && told["imageName"] == "r/app:v1"
    })
    .await;
    assert_eq!(device.engine.runs(), ["r/app:v1"]);
    device.engine.inner().unpullable.clear();
    device.runs(&["r/app:v2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_is_waited_for_and_reported_as_nothing_known() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let _agent = device.agent();
    let uuid = device.uuid();
    server.set(uuid, &target(&["r/app:v1"])).await;
    device.runs(&["r/app:v1"]).await;
    device.engine.inner().away = true;
    device.engine.ring();
    server.set(uuid, &target(&["r/app:v2"])).await;
    eventually(
        "the server knows that nothing is known",
        PATIENCE,
        async || {
            let state = server.operator.current_state(uuid).await.unwrap();
            let report = state.report.unwrap();
            report.get("apps").is_none() && report["agent_error"].is_string()
        },
    )
    .await;
    device.engine.inner().away = false;
    device.runs(&["r/app:v2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_keeps_no_other_service_from_being_updated() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let _agent = device.agent();
    let uuid = device.uuid();
    device.engine.inner().unpullable.insert("r/a:v1".to_owned());
    server.set(uuid, &target(&["r/a:v1", "r/b:v1"])).await;
    device.runs(&["r/b:v1"]).await;
    device.engine.inner().unpullable.clear();
    tokio::time::timeout(Duration::from_secs(60), device.runs(&["r/a:v1", "r/b:v1"]))
        .await
        .unwrap();
}
