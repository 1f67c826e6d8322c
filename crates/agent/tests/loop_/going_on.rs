//! Restarts, kills, broken files, two agents.

use crate::engine::made;
use crate::world::{Device, PATIENCE, Server, target};
use chrono::Utc;
use serde_json::json;
use windlass_agent::machine::{Claim, Claims};
use windlass_agent::state::{CLAIMS, IDENTITY, MEMORY, STATUS, StateDir, TARGET};
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_testkit::{eventually, free_port};

/// A device that was told this target some time ago and has no server.
fn offline(images: &[&str]) -> Device {
    let device = Device::without_server(&format!("http://127.0.0.1:{}", free_port()));
    device.uuid();
    device.write_target(3, &target(images));
    device
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_a_boot_goes_on_with_the_last_target() {
    let device = offline(&["r/app:v1"]);
    let agent = device.agent();
    device.runs(&["r/app:v1"]).await;
    agent.end().await;
    device.engine.inner().containers.clear();
    let _agent = device.agent();
    device.runs(&["r/app:v1"]).await;
    eventually("it is told that the server is away", PATIENCE, async || {
        device
            .status()
            .is_some_and(|status| status.standing.trouble.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_told_nothing_touches_nothing() {
    let device = Device::without_server(&format!("http://127.0.0.1:{}", free_port()));
    let wanted = Wanted::read(&serde_json::from_value(target(&["r/app:v1"])).unwrap(), 1);
    let (key, spec) = wanted.services.first_key_value().unwrap();
    let mut stranger = made(
        "ab".repeat(32),
        "x",
        *key,
        spec,
        "sha256:1".to_owned(),
        true,
    );
    stranger.state = ContainerState::Running;
    device.engine.inner().containers.push(stranger);
    let agent = device.agent();
    eventually("it runs", PATIENCE, async || {
        device
            .status()
            .is_some_and(|status| status.standing.trouble.is_some())
    })
    .await;
    agent.end().await;
    assert!(device.engine.inner().done.is_empty());
    assert_eq!(device.engine.runs(), ["r/app:v1"]);
}

/// Waits until the first service runs its new image and the second one went back from its bad one.
async fn one_new_one_back(device: &Device) {
    eventually("one is new, one went back", PATIENCE, async || {
        let services = device.status().and_then(|status| status.picture.services);
        let runs = |index: usize, image: &str, failed: bool| {
            let view = services.as_ref().and_then(|views| views.get(index));
            view.is_some_and(|view| {
                view.container
                    .as_ref()
                    .is_some_and(|c| c.image == image && c.status == "running")
                    && view.error.is_some() == failed
            })
        };
        runs(0, "r/app:v2", false)
            && runs(1, "r/b:v1", true)
            && device.engine.inner().containers.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_step_the_next_start_goes_on_and_ends_where_it_should() {
    // Until an update needs no more steps than this.
    for steps in 1..60 {
        let device = offline(&["r/app:v1", "r/b:v1"]);
        let agent = device.agent();
        device.runs(&["r/app:v1", "r/b:v1"]).await;
        device.settles().await;
        agent.end().await;
        device.engine.inner().crashes.insert("r/b:v2".to_owned());
        device.engine.inner().done.clear();
        device.engine.inner().kill_after = Some(steps);
        device.write_target(4, &target(&["r/app:v2", "r/b:v2"]));
        let agent = device.agent();
        let killed = tokio::select! {
            () = device.engine.kill.notified() => true,
            () = one_new_one_back(&device) => false,
        };
        agent.kill().await;
        // What the killed one told is not to be taken for what the next one does.
        std::fs::remove_file(device.state().file(STATUS)).unwrap();
        let agent = device.agent();
        one_new_one_back(&device).await;
        agent.end().await;
        assert_eq!(device.engine.inner().containers.len(), 2);
        if !killed {
            assert!(steps > 8, "only {steps} steps were seen");
            return;
        }
    }
    panic!("an update takes more steps than it should");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_cost_what_they_say_and_never_the_identity() {
    for (name, garbage) in [
        (MEMORY, &b""[..]),
        (MEMORY, b"{\"version\": \"x\"}"),
        (TARGET, b"\0\0\0"),
        (IDENTITY, b"{"),
    ] {
        let device = offline(&["r/app:v1"]);
        let uuid = device.uuid();
        let agent = device.agent();
        device.runs(&["r/app:v1"]).await;
        agent.end().await;
        std::fs::write(device.state().file(name), garbage).unwrap();
        let agent = device.agent();
        eventually("it runs", PATIENCE, async || {
            device
                .status()
                .is_some_and(|status| status.process.is_some())
        })
        .await;
        assert_eq!(device.uuid(), uuid);
        assert_eq!(device.engine.runs(), ["r/app:v1"]);
        agent.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_waits_for_the_first_and_takes_over() {
    let device = offline(&["r/app:v1"]);
    let first = device.agent();
    device.runs(&["r/app:v1"]).await;
    let second = device.agent();
    device.write_target(4, &target(&["r/app:v2"]));
    // The second would begin with what is on disk, the first does not read it again.
    device.engine.ring();
    eventually("the first one looks", PATIENCE, async || {
        device
            .status()
            .is_some_and(|status| status.at <= Utc::now())
    })
    .await;
    assert_eq!(device.engine.runs(), ["r/app:v1"]);
    assert!(!second.is_finished());
    first.kill().await;
    device.runs(&["r/app:v2"]).await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_below_the_one_that_was_taken_is_refused_and_told() {
    let server = Server::start().await;
    let device = Device::of(&server).await;
    let uuid = device.uuid();
    device.write_target(1000, &target(&["r/app:v1"]));
    let state = StateDir::at(device.folder.path());
    state
        .write(windlass_agent::state::REGISTERED, &json!(null))
        .unwrap();
    let _agent = device.agent();
    device.runs(&["r/app:v1"]).await;
    server.set(uuid, &target(&["r/app:v0"])).await;
    eventually("the server is told", PATIENCE, async || {
        let state = server.operator.current_state(uuid).await.unwrap();
        state
            .report
            .is_some_and(|report| report["target_error"].is_string() && report["version"] == 1000)
    })
    .await;
    assert_eq!(device.engine.runs(), ["r/app:v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_container_is_left_alone_until_its_service_changes() {
    let device = offline(&["r/app:v1"]);
    let key = ServiceKey { app: 7, service: 1 };
    let wanted = Wanted::read(&serde_json::from_value(target(&["r/app:v1"])).unwrap(), 3);
    let spec = &wanted.services[&key];
    let id = "ab".repeat(32);
    let mut stranger = made(
        id.clone(),
        "by-hand",
        key,
        spec,
        "sha256:1".to_owned(),
        true,
    );
    stranger.state = ContainerState::Running;
    stranger.started_at = Some(Utc::now());
    stranger.fingerprint = "made by hand".to_owned();
    device.engine.inner().containers.push(stranger);
    let claim = Claim {
        service: key,
        service_name: String::new(),
        app_name: String::new(),
        fingerprint: String::new(),
        image: String::new(),
        taken: false,
    };
    let claims = Claims::from([(id.clone(), claim)]);
    device.state().write(CLAIMS, &claims).unwrap();
    let agent = device.agent();
    device.settles().await;
    eventually("it counts as the service", PATIENCE, async || {
        device.status().is_some_and(|status| {
            let mut views = status.picture.services.iter().flatten();
            views.any(|v| v.container.as_ref().is_some_and(|c| c.id == id))
        })
    })
    .await;
    assert!(!device.engine.inner().done.contains(&"create".to_owned()));
    agent.end().await;
    device.write_target(4, &target(&["r/app:v2"]));
    let _agent = device.agent();
    device.runs(&["r/app:v2"]).await;
    eventually("the claimed one is gone", PATIENCE, async || {
        device.engine.inner().containers.len() == 1
    })
    .await;
}
