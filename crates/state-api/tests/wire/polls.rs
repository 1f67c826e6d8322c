//! Target states: device protocol, section 2.

use crate::api::{Api, Device, problem, target};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use windlass_core::target::state_id;
use windlass_store::{Store, events, targets};
use windlass_testkit::{eventually, stores};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::target::{TargetSource, TargetState};

/// Gives a device another target as another process would, without a ring on this one's bus.
async fn set_elsewhere(store: &Store, device: &Device, image: &str) -> i64 {
    let state: TargetState = serde_json::from_value(target(image, &json!({}))).unwrap();
    let id = state_id(&state);
    let mut tx = store.begin().await.unwrap();
    targets::ensure_states(&mut tx, &[(id, state)].into())
        .await
        .unwrap();
    let uuid = DeviceId(device.uuid);
    let version = targets::set(&mut tx, uuid, id, TargetSource::Operator, None, None)
        .await
        .unwrap()
        .unwrap();
    let event = NewEvent::new(EventType::TargetSet, "operator:x")
        .device(uuid)
        .version(version);
    events::append(&mut tx, event).await.unwrap();
    tx.commit().await.unwrap();
    version
}

/// The ETag of an unconditional poll.
async fn etag(api: &Api, device: &Device) -> String {
    let response = api.poll(device, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.headers()["etag"].to_str().unwrap().to_owned()
}

/// Waits until the cache is filled: then a device that is not there costs one look-up at most.
async fn known(api: &Api, device: &Device) -> String {
    let tag = etag(api, device).await;
    let response = api.poll(device, &[("If-None-Match", &tag)]).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    tag
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_target_gets_an_empty_one_under_its_uuid() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let response = api.poll(&device, &[]).await;
        assert_eq!(response.headers()["etag"], "\"1\"");
        let body: Value = response.json().await.unwrap();
        let expected = json!({"apps": {}, "config": {}, "version": 1,
                              "needs_deployment": false, "last_deployed_at": null});
        assert_eq!(body, device.body(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_reaches_the_device_as_it_was_given() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let config = json!({
            "ports": ["18081:8080"], "environment": {"K": "v"}, "volumes": ["data:/var/lib/data"],
            "networks": [], "networkMode": "bridge", "restart": "unless-stopped",
            "labels": {"iotistic.managed": "true"},
            "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
            "livenessProbe": {"type": "tcp", "tcpPort": 8080},
            "startupProbe": {"type": "exec", "command": ["/bin/true"], "failureThreshold": 10}
        });
        let target = target("registry:5000/demo/app:v1", &config);
        let version = api.set_target(&device, &target).await;
        eventually(
            "the poll gives the target",
            Duration::from_secs(5),
            async || {
                let response = api.poll(&device, &[("If-None-Match", "\"1\"")]).await;
                if response.status() == StatusCode::NOT_MODIFIED {
                    return false;
                }
                let tag = response.headers()["etag"].to_str().unwrap().to_owned();
                let body: Value = response.json().await.unwrap();
                let mine = &body[device.uuid.to_string()];
                assert_eq!(mine["apps"], target["apps"]);
                assert_eq!(mine["version"], version);
                tag == format!("\"{version}\"")
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_is_304_without_a_body_and_an_unconditional_poll_is_always_answered() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let tag = etag(&api, &device).await;
        for sent in [tag.clone(), format!("W/{tag}"), format!("\"0\", {tag}")] {
            let response = api.poll(&device, &[("If-None-Match", &sent)]).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(response.headers()["etag"], tag.as_str());
            assert!(response.bytes().await.unwrap().is_empty());
        }
        for _ in 0..3 {
            assert_eq!(api.poll(&device, &[]).await.status(), StatusCode::OK);
        }
        let other = api.poll(&device, &[("If-None-Match", "\"77\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_changes_nothing_needs_no_database() {
    for test in stores().await {
        let store = test.open_again().await;
        let api = Api::start(store.clone()).await;
        let device = api.device().await;
        let tag = known(&api, &device).await;
        store.close().await;
        for _ in 0..3 {
            let response = api.poll(&device, &[("If-None-Match", &tag)]).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        }
        let wrong = Device {
            key: Device::new().key,
            ..device.clone()
        };
        problem(api.poll(&wrong, &[]).await, 401).await;
        // What does need it says so, and never that all is well.
        problem(api.poll(&device, &[]).await, 503).await;
        problem(api.poll(&Device::new(), &[]).await, 503).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_needs_the_devices_own_key() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let (one, two) = (api.device().await, api.device().await);
        let path = format!("/device/{}/state", one.uuid);
        let none = api.request(Method::GET, &path).send().await.unwrap();
        problem(none, 401).await;
        let crossed = Device {
            uuid: one.uuid,
            key: two.key.clone(),
        };
        problem(api.poll(&crossed, &[]).await, 401).await;
        let bearer = api.request(Method::GET, &path).bearer_auth(&one.key);
        assert_eq!(bearer.send().await.unwrap().status(), StatusCode::OK);
        problem(api.poll(&Device::new(), &[]).await, 404).await;
        let path = format!("/devices/{}", one.uuid);
        api.operate(Method::PATCH, &path, Some(json!({"enabled": false})))
            .await;
        eventually(
            "the device is refused",
            Duration::from_secs(5),
            async || api.poll(&one, &[]).await.status() == StatusCode::FORBIDDEN,
        )
        .await;
        problem(api.poll(&one, &[]).await, 403).await;
        let odd = api
            .request(Method::GET, "/device/not-a-uuid/state")
            .header("X-Device-API-Key", &one.key);
        problem(odd.send().await.unwrap(), 400).await;
        let post = api.request(Method::POST, &format!("/device/{}/state", one.uuid));
        problem(post.send().await.unwrap(), 405).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_answered_when_another_process_changes_the_target() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let tag = known(&api, &device).await;
        let elsewhere = test.open_again().await;
        let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=30")];
        let poll = async {
            let response = api.poll(&device, &headers).await;
            (response, Instant::now())
        };
        let change = async {
            eventually("the poll is held", Duration::from_secs(20), async || {
                waiting(&api).await == 1
            })
            .await;
            let version = set_elsewhere(&elsewhere, &device, "r:5000/a:v2").await;
            (version, Instant::now())
        };
        let ((response, answered), (version, changed)) = tokio::join!(poll, change);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["etag"], format!("\"{version}\""));
        // Without a ring the log is read twice a second; the rest is room for a busy machine.
        let took = answered.saturating_duration_since(changed);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

/// Held polls, as the metrics say.
async fn waiting(api: &Api) -> usize {
    let url = api.base.replace("/api/v1", "/metrics");
    let text = api
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("windlass_devices_waiting "))
        .map_or(0, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_is_answered_when_the_bus_rings() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    let tag = known(&api, &device).await;
    let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=30")];
    let poll = async {
        let response = api.poll(&device, &headers).await;
        (response, Instant::now())
    };
    let change = async {
        eventually("the poll is held", Duration::from_secs(20), async || {
            waiting(&api).await == 1
        })
        .await;
        api.set_image(&device, "r:5000/a:v2").await;
        Instant::now()
    };
    let ((response, answered), changed) = tokio::join!(poll, change);
    assert_eq!(response.status(), StatusCode::OK);
    let took = answered.saturating_duration_since(changed);
    // It is held for thirty seconds; how fast it is is for benchmarks to say.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_poll_ends_with_304_when_its_time_is_up() {
    for test in stores().await {
        let api = Api::start_with(test.store.clone(), |config| {
            config.state_api.max_wait_seconds = 1;
        })
        .await;
        let device = api.device().await;
        let tag = known(&api, &device).await;
        let began = Instant::now();
        let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=60")];
        let response = api.poll(&device, &headers).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(950), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_without_an_etag_is_not_held() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    let began = Instant::now();
    let response = api.poll(&device, &[("Prefer", "wait=60")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_switched_off_while_it_waits_is_refused() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let tag = known(&api, &device).await;
        let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=30")];
        let switch = async {
            let path = format!("/devices/{}", device.uuid);
            api.operate(Method::PATCH, &path, Some(json!({"enabled": false})))
                .await;
        };
        let (response, ()) = tokio::join!(api.poll(&device, &headers), switch);
        problem(response, 403).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_held_polls_are_all_answered_by_one_change_each() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start_with(test.store.clone(), |config| {
        config.state_api.provisioning_per_minute = 10_000;
    })
    .await;
    let key = api.provisioning_key(200).await;
    let mut devices = Vec::new();
    for _ in 0..200 {
        let device = Device::new();
        api.register(key["key"].as_str().unwrap(), &device.registration())
            .await;
        devices.push(device);
    }
    let mut polls = tokio::task::JoinSet::new();
    for device in &devices {
        let request = api
            .request(Method::GET, &format!("/device/{}/state", device.uuid))
            .header("X-Device-API-Key", &device.key)
            .header("If-None-Match", "\"1\"")
            .header("Prefer", "wait=50");
        polls.spawn(async move { request.send().await.unwrap().status() });
    }
    eventually("all are held", Duration::from_secs(20), async || {
        waiting(&api).await == 200
    })
    .await;
    for device in &devices {
        set_elsewhere(&test.store, device, "r:5000/a:v2").await;
    }
    let statuses = polls.join_all().await;
    assert!(
        statuses.iter().all(|s| *s == StatusCode::OK),
        "{statuses:?}"
    );
    eventually(
        "nobody is left waiting",
        Duration::from_secs(5),
        async || waiting(&api).await == 0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_registered_at_one_replica_is_known_to_the_other_at_once() {
    for test in stores().await {
        let here = Api::start(test.store.clone()).await;
        let there = Api::start(test.open_again().await).await;
        for _ in 0..5 {
            let device = here.device().await;
            let response = there.poll(&device, &[]).await;
            assert_eq!(response.status(), StatusCode::OK);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_known_before_the_start_are_known_after_it() {
    for test in stores().await {
        let first = Api::start(test.store.clone()).await;
        let device = first.device().await;
        let version = first.set_image(&device, "r:5000/a:v2").await;
        drop(first);
        let second = Api::start(test.open_again().await).await;
        let tag = format!("\"{version}\"");
        let response = second.poll(&device, &[("If-None-Match", &tag)]).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_can_be_slowed_down() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start_with(test.store.clone(), |config| {
        config.state_api.poll_interval_seconds = 90;
    })
    .await;
    let device = api.device().await;
    for tag in ["\"0\"", "\"1\""] {
        let response = api.poll(&device, &[("If-None-Match", tag)]).await;
        assert_eq!(response.headers()["x-poll-interval"], "90");
        assert_eq!(response.headers()["retry-after"], "90");
    }
    for tag in ["\"0\"", "\"1\""] {
        let headers = [("If-None-Match", tag), ("Prefer", "wait=1")];
        let response = api.poll(&device, &headers).await;
        assert!(!response.headers().contains_key("x-poll-interval"));
        assert!(!response.headers().contains_key("retry-after"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn held_polls_do_not_hold_up_the_end_of_the_program() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    let tag = known(&api, &device).await;
    let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=50")];
    let end = async {
        eventually("the poll is held", Duration::from_secs(20), async || {
            waiting(&api).await == 1
        })
        .await;
        api.deps.shutdown.cancel();
    };
    let (response, ()) = tokio::join!(api.poll(&device, &headers), end);
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
}
