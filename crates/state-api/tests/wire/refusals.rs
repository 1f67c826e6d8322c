//! Reports that are refused, and that nothing of them is stored.

use crate::api::{Api, Device, gzip, problem, report};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use windlass_testkit::stores;

/// That nothing is known of what the device runs.
async fn is_blank(api: &Api, device: &Device) {
    let path = format!("/devices/{}/current-state", device.uuid);
    let shown = api.operate(Method::GET, &path, None).await;
    assert_eq!(shown["report"], Value::Null, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_on_another_device_or_on_two_is_forbidden_and_nothing_is_stored() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let (mine, other) = (api.device().await, api.device().await);
        let state = report(1, &[("a:v1", "c1", "running")]);
        let mut both = mine.body(state.clone());
        both[other.uuid.to_string()] = state.clone();
        let unknown = Device::new();
        for body in [
            other.body(state.clone()),
            both,
            unknown.body(state.clone()),
            json!({"not-a-uuid": state}),
        ] {
            problem(api.send_report(&mine.key, &body).await, 403).await;
        }
        // A key that is nobody's is not told whose it would have to be.
        problem(
            api.send_report(&unknown.key, &mine.body(state.clone()))
                .await,
            401,
        )
        .await;
        problem(
            api.send_report(&unknown.key, &unknown.body(state.clone()))
                .await,
            401,
        )
        .await;
        let none = api.request(Method::PATCH, "/device/state");
        problem(none.json(&mine.body(state)).send().await.unwrap(), 401).await;
        // What a stranger sends is not looked at: this is no gzip, and far too much.
        let odd = vec![b' '; 1024];
        problem(api.send_bytes(&unknown.key, odd).await, 401).await;
        is_blank(&api, &mine).await;
        is_blank(&api, &other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_switched_off_may_not_report() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let path = format!("/devices/{}", device.uuid);
        api.operate(Method::PATCH, &path, Some(json!({"enabled": false})))
            .await;
        windlass_testkit::eventually(
            "the switch is known",
            std::time::Duration::from_secs(5),
            async || api.poll(&device, &[]).await.status() == StatusCode::FORBIDDEN,
        )
        .await;
        let body = device.body(report(1, &[]));
        problem(api.send_report(&device.key, &body).await, 403).await;
        is_blank(&api, &device).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_malformed() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    for body in ["", "{", "[]", "7", "{}", "{\"a\": 1e999}"] {
        let response = api.send_bytes(&device.key, gzip(body.as_bytes())).await;
        problem(response, 400).await;
    }
    let whole = gzip(device.body(report(1, &[])).to_string().as_bytes());
    let cut = whole[..whole.len() / 2].to_vec();
    problem(api.send_bytes(&device.key, cut).await, 400).await;
    problem(api.send_bytes(&device.key, b"plain".to_vec()).await, 400).await;
    let brotli = api
        .request(Method::PATCH, "/device/state")
        .header("X-Device-API-Key", &device.key)
        .header("Content-Encoding", "br")
        .body("x");
    problem(brotli.send().await.unwrap(), 415).await;
    is_blank(&api, &device).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_is_too_large_and_harms_nobody() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    // 300 MiB of blanks in some 300 kB.
    let bomb = gzip(&vec![b' '; 300 * 1024 * 1024]);
    assert!(bomb.len() < 3_000_000);
    let before = resident();
    problem(api.send_bytes(&device.key, bomb).await, 413).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB more");
    let plain = api
        .request(Method::PATCH, "/device/state")
        .header("X-Device-API-Key", &device.key)
        .body(vec![b' '; 11 * 1024 * 1024]);
    problem(plain.send().await.unwrap(), 413).await;
    // Just what fits is taken.
    let mut state = report(1, &[]);
    state["padding"] = json!("x".repeat(9 * 1024 * 1024));
    api.report(&device, state).await;
}

/// This process's resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_report_is_answered_yes_while_the_store_is_gone() {
    for test in stores().await {
        let store = test.open_again().await;
        let api = Api::start(store.clone()).await;
        let device = api.device().await;
        api.report(&device, report(1, &[])).await;
        store.close().await;
        let body = device.body(report(2, &[]));
        let response = api.send_report(&device.key, &body).await;
        assert!(response.headers().contains_key("retry-after"));
        problem(response, 503).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_reports_wait_devices_are_told_to_come_back() {
    for test in stores().await {
        let api = Api::start_with(test.store.clone(), |config| {
            config.state_api.report_queue = 2;
            config.state_api.report_group = 1;
        })
        .await;
        let device = api.device().await;
        // Somebody else holds the row, or on SQLite the whole store.
        let other = test.open_again().await;
        let mut holder = other.begin().await.unwrap();
        holder
            .sql("DELETE FROM devices WHERE uuid = $1")
            .bind(device.uuid)
            .execute()
            .await
            .unwrap();
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let request = api
                .request(Method::PATCH, "/device/state")
                .header("X-Device-API-Key", &device.key)
                .json(&device.body(report(1, &[])));
            sent.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        // Those that find no room are answered while the others wait.
        let refused = sent.join_next().await.unwrap().unwrap();
        assert_eq!(refused, 503);
        holder.rollback().await.unwrap();
        let statuses = sent.join_all().await;
        assert!(statuses.contains(&200), "{statuses:?}");
        assert!(
            statuses.iter().all(|s| [200, 503].contains(s)),
            "{statuses:?}"
        );
    }
}
