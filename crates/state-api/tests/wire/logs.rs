//! Logs: device protocol, section 4.

use crate::api::{Api, Device, gzip, problem};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use windlass_testkit::stores;

async fn send(api: &Api, device: &Device, kind: &str, body: &str) -> Response {
    api.request(Method::POST, &format!("/device/{}/logs", device.uuid))
        .header("X-Device-API-Key", &device.key)
        .header("Content-Type", kind)
        .header("Content-Encoding", "gzip")
        .body(gzip(body.as_bytes()))
        .send()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_stored_and_bad_ones_counted() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let device = api.device().await;
        let line = |n: i64, message: &str| {
            json!({"timestamp": 1_700_000_000_000_i64 + n, "level": "info", "message": message,
                   "source": {"type": "container", "name": "web"}, "serviceName": "web",
                   "containerId": "c1", "isStdErr": n == 2})
            .to_string()
        };
        let lines = [line(1, "one"), "{broken".to_owned(), line(2, "two")].join("\n");
        let response = send(&api, &device, "application/x-ndjson", &lines).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(
            answer,
            json!({"status": "ok", "received": 2, "rejected": 1})
        );
        let array = format!("[{}, 5]", line(3, "three\u{0}"));
        let response = send(&api, &device, "application/json", &array).await;
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["received"], 1);
        let path = format!("/devices/{}/logs", device.uuid);
        let page = api
            .operate(Method::GET, &format!("{path}?limit=2"), None)
            .await;
        let messages: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(messages, ["three\u{fffd}", "two"]);
        assert_eq!(page["items"][1]["is_stderr"], true);
        assert_eq!(page["items"][1]["logged_at"], "2023-11-14T22:13:20.002Z");
        let next = page["next"].as_str().unwrap();
        let rest = api
            .operate(Method::GET, &format!("{path}?after={next}"), None)
            .await;
        assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_need_the_devices_own_key() {
    for test in stores().await {
        let api = Api::start(test.store.clone()).await;
        let (one, two) = (api.device().await, api.device().await);
        let crossed = Device {
            uuid: one.uuid,
            key: two.key,
        };
        problem(send(&api, &crossed, "application/json", "[]").await, 401).await;
        problem(send(&api, &one, "application/json", "[").await, 400).await;
        let unknown = send(&api, &Device::new(), "application/json", "[]").await;
        problem(unknown, 404).await;
    }
}
