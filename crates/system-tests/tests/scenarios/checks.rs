//! When a device counts as healthy, and a batch as good.

use crate::api::until;
use crate::scene::{Scene, own_address};
use crate::tier::Tier;
use serde_json::{Value, json};
use std::sync::Arc;
use windlass_simulator::{Behaviour, Failure, Probe, Style};
use wiremock::matchers::{body_partial_json, method, path, query_param_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Four devices of which one fails its checks; each answers at an address of its own, and tells what
/// its probes say.
async fn one_of_four_fails(
    tier: &Arc<Tier>,
    name: &'static str,
    probe: Probe,
    check: Value,
) -> (Scene, String) {
    let port = tier.health_port;
    let scene = Scene::of(tier, name, 4, move |index, mut device| {
        device.style = Style::Ours;
        let device = device.at(Some(own_address()), Some(port));
        match index {
            0 => device.bad_on(":v2@", Failure::Probes(probe)),
            _ => device,
        }
    })
    .await;
    scene
        .policy(json!({"health": {"checks": [check], "deadline_seconds": 12}, "failure": {"max_failure_rate": 0.5}}))
        .await;
    let rollout = scene.ship("v2").await;
    (scene, rollout)
}

/// One failed the check and is back, the others are healthy by it.
async fn one_failed(scene: &Scene, rollout: &str) {
    scene.rests(rollout, "completed").await;
    until("the one that failed is back", async || {
        (scene.count(rollout, "rolled_back").await == 1).then_some(())
    })
    .await;
    assert_eq!((scene.running("v1"), scene.running("v2")), (1, 3));
    let rows = scene.rows(rollout).await;
    let failed: Vec<&Value> = rows
        .iter()
        .filter(|row| row["status"] == "rolled_back")
        .collect();
    assert_eq!(failed.len(), 1, "{rows:#?}");
    assert_eq!(failed[0]["device_uuid"], scene.uuids[0].to_string());
}

/// With times of seconds.
fn quick(mut check: Value) -> Value {
    check["timeout_seconds"] = json!(10);
    check["retry_count"] = json!(2);
    check["interval_seconds"] = json!(1);
    check
}

pub(crate) async fn http_asked_by_the_device(tier: Arc<Tier>) {
    let check = json!({"type": "http", "url": "http://{address}:8080/health"});
    let (scene, rollout) =
        one_of_four_fails(&tier, "http-device", Probe::Fails, quick(check)).await;
    one_failed(&scene, &rollout).await;
}

pub(crate) async fn tcp_asked_by_the_device(tier: Arc<Tier>) {
    let check = json!({"type": "tcp", "port": 8080});
    let (scene, rollout) = one_of_four_fails(&tier, "tcp-device", Probe::Fails, quick(check)).await;
    one_failed(&scene, &rollout).await;
}

pub(crate) async fn http_asked_by_the_server(tier: Arc<Tier>) {
    let url = format!("http://{{address}}:{}/health", tier.health_port);
    let check = json!({"type": "http", "from": "server", "url": url, "body_contains": "healthy: "});
    let (scene, rollout) =
        one_of_four_fails(&tier, "http-server", Probe::Fails, quick(check)).await;
    one_failed(&scene, &rollout).await;
}

pub(crate) async fn tcp_asked_by_the_server(tier: Arc<Tier>) {
    let check = json!({"type": "tcp", "from": "server", "port": tier.health_port});
    let (scene, rollout) =
        one_of_four_fails(&tier, "tcp-server", Probe::Refuses, quick(check)).await;
    one_failed(&scene, &rollout).await;
}

pub(crate) async fn the_container_must_run(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "running", 4, |index, mut device: Behaviour| {
        // An existing agent shows a container that does not start as exited, and says nothing more.
        device.style = Style::Existing;
        match index {
            0 => device.bad_on(":v2@", Failure::ReportsError),
            _ => device,
        }
    })
    .await;
    let checks = json!([{"type": "container_running"}]);
    scene
        .policy(json!({"health": {"checks": checks, "deadline_seconds": 12}, "failure": {"max_failure_rate": 0.5}}))
        .await;
    let rollout = scene.ship("v2").await;
    one_failed(&scene, &rollout).await;
}

pub(crate) async fn a_device_without_an_address_is_inconclusive_and_pauses(tier: Arc<Tier>) {
    let port = tier.health_port;
    let scene = Scene::of(&tier, "no-address", 2, move |index, device| match index {
        0 => device.at(None, None),
        _ => device.at(Some(own_address()), Some(port)),
    })
    .await;
    let url = format!("http://{{address}}:{port}/health");
    let check = quick(json!({"type": "http", "from": "server", "url": url}));
    scene
        .policy(json!({"health": {"checks": [check], "deadline_seconds": 12}}))
        .await;
    let rollout = scene.ship("v2").await;
    let view = scene.rests(&rollout, "paused").await;
    assert_eq!(view["status_reason"], "inconclusive", "{view:#}");
    assert_eq!(scene.count(&rollout, "inconclusive").await, 1);
    // A person who resumes it takes it upon himself.
    let outcome = scene.ann().command(&rollout, "resume", json!({}));
    assert_eq!(outcome.await, "applied");
    scene.rests(&rollout, "completed").await;
}

/// A rollout of two batches with a check between them.
async fn gated(tier: &Arc<Tier>, name: &'static str, check: Value) -> (Scene, String) {
    let scene = Scene::of(tier, name, 3, |_, device| device).await;
    let batches = json!([{"count": 1}, {"percent": 100}]);
    scene
        .policy(
            json!({"strategy": "staged", "batches": batches, "health": {"checks": [quick(check)]}}),
        )
        .await;
    let rollout = scene.ship("v2").await;
    (scene, rollout)
}

pub(crate) async fn a_gate_that_is_asked_says_yes(tier: Arc<Tier>) {
    let gate = MockServer::start().await;
    let yes = json!({"decision": "pass", "reason": "sales are up"});
    Mock::given(method("POST"))
        .and(path("/gate"))
        .and(body_partial_json(json!({"batch": 1})))
        .respond_with(ResponseTemplate::new(200).set_body_json(&yes))
        .expect(1)
        .mount(&gate)
        .await;
    Mock::given(method("POST"))
        .and(path("/gate"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&yes))
        .mount(&gate)
        .await;
    let check = json!({"type": "custom", "url": format!("{}/gate", gate.uri())});
    let (scene, rollout) = gated(&tier, "gate-yes", check).await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 3);
    gate.verify().await;
}

pub(crate) async fn a_gate_that_is_asked_says_no(tier: Arc<Tier>) {
    let gate = MockServer::start().await;
    let no = json!({"decision": "fail", "reason": "sales are down"});
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&no))
        .mount(&gate)
        .await;
    let check = json!({"type": "custom", "url": format!("{}/gate", gate.uri())});
    let (scene, rollout) = gated(&tier, "gate-no", check).await;
    let view = scene.rests(&rollout, "paused").await;
    assert_eq!(view["status_reason"], "check_failed", "{view:#}");
    assert_eq!((scene.running("v1"), scene.running("v2")), (2, 1));
}

pub(crate) async fn a_gate_that_says_nothing_is_no_yes(tier: Arc<Tier>) {
    let gate = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"decision": "wait"})))
        .mount(&gate)
        .await;
    let check = json!({"type": "custom", "url": format!("{}/gate", gate.uri())});
    let (scene, rollout) = gated(&tier, "gate-wait", check).await;
    let view = scene.rests(&rollout, "paused").await;
    assert_eq!(view["status_reason"], "inconclusive", "{view:#}");
    assert_eq!(scene.running("v2"), 1);
}

/// A small server that speaks Prometheus' API: errors of the new version and of the old one.
async fn prometheus(new: &str, old: &str) -> MockServer {
    let server = MockServer::start().await;
    for (label, value) in [("tag=\"v2\"", new), ("tag!=\"v2\"", old)] {
        let found = json!({"status": "success", "data": {"resultType": "vector",
            "result": [{"metric": {}, "value": [1_700_000_000.0, value]}]}});
        Mock::given(path("/api/v1/query"))
            .and(query_param_contains("query", label))
            .respond_with(ResponseTemplate::new(200).set_body_json(found))
            .mount(&server)
            .await;
    }
    server
}

fn compared(server: &MockServer) -> Value {
    json!({"type": "prometheus", "url": server.uri(), "query": "errors{tag=\"{tag}\"}",
           "baseline_query": "errors{tag!=\"{tag}\"}", "condition": {"is": "le", "value": 1.5}})
}

pub(crate) async fn prometheus_finds_the_new_version_no_worse(tier: Arc<Tier>) {
    let server = prometheus("3", "2.5").await;
    let (scene, rollout) = gated(&tier, "prometheus-yes", compared(&server)).await;
    scene.rests(&rollout, "completed").await;
    assert_eq!(scene.running("v2"), 3);
}

pub(crate) async fn prometheus_finds_the_new_version_worse(tier: Arc<Tier>) {
    let server = prometheus("10", "2.5").await;
    let (scene, rollout) = gated(&tier, "prometheus-no", compared(&server)).await;
    let view = scene.rests(&rollout, "paused").await;
    assert_eq!(view["status_reason"], "check_failed", "{view:#}");
    assert_eq!(scene.running("v2"), 1);
}

pub(crate) async fn of_two_versions_the_checks_keep_the_old_one(tier: Arc<Tier>) {
    let server = prometheus("10", "2.5").await;
    let scene = Scene::of(&tier, "ab-checks", 4, |_, device| device).await;
    let checks = json!([quick(compared(&server))]);
    let ab = json!({"percent": 50, "hold_seconds": 1, "decide": "checks", "checks": checks});
    scene.policy(json!({"strategy": "ab", "ab": ab})).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "rolled_back").await;
    assert_eq!(scene.running("v1"), 4);
}
