//! The service as a test starts it, and a device as it talks to it.

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use tokio::runtime::Runtime;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::Config;
use windlass_service::{Deps, serve};
use windlass_store::Store;

pub const OPERATOR: &str = "operator-key-of-the-tests";

/// A running service.
pub struct Api {
    pub base: String,
    pub http: reqwest::Client,
    pub deps: Deps,
    runtime: Option<Runtime>,
}

impl Api {
    /// Starts it on this store.
    pub async fn start(store: Store) -> Self {
        Self::start_with(store, |_| {}).await
    }

    /// Starts it with other settings.
    pub async fn start_with(store: Store, change: impl FnOnce(&mut Config)) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut config = Config::default();
        config.state_api.api_key = Some(OPERATOR.to_owned());
        config.state_api.presence_seconds = 1;
        config.http.workers = 1;
        config.http.shutdown_timeout_seconds = 1;
        change(&mut config);
        let deps = Deps::new(store, Bus::local());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/api/v1", listener.local_addr().unwrap());
        // A runtime of its own, so that a test can end the program as a crash would.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (started, begun) = tokio::sync::oneshot::channel();
        let served = deps.clone();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            handle.block_on(async move {
                let part = windlass_state_api::part(&config, &served).await.unwrap();
                started.send(()).ok();
                serve(vec![part], &served, &config.http, listener)
                    .await
                    .unwrap();
            });
        });
        begun.await.unwrap();
        Self {
            base,
            http: reqwest::Client::new(),
            deps,
            runtime: Some(runtime),
        }
    }

    /// Ends the program at once, in the middle of whatever it does.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A call by the operator that must succeed.
    pub async fn operate(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.request(method, path).bearer_auth(OPERATOR);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// A provisioning key for this many devices.
    pub async fn provisioning_key(&self, max_devices: i64) -> Value {
        let body = json!({"fleetId": "edge", "maxDevices": max_devices});
        self.operate(Method::POST, "/provisioning-keys", Some(body))
            .await
    }

    /// A registration as an agent sends it.
    pub async fn register(&self, provisioning_key: &str, body: &Value) -> Response {
        self.request(Method::POST, "/device/register")
            .bearer_auth(provisioning_key)
            .json(body)
            .send()
            .await
            .unwrap()
    }

    /// A device that is registered.
    pub async fn device(&self) -> Device {
        let key = self.provisioning_key(1).await;
        let device = Device::new();
        let response = self
            .register(key["key"].as_str().unwrap(), &device.registration())
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        device
    }

    /// Gives a device this image by hand; returns the version.
    pub async fn set_image(&self, device: &Device, image: &str) -> i64 {
        self.set_target(device, &target(image, &json!({}))).await
    }

    pub async fn set_target(&self, device: &Device, target: &Value) -> i64 {
        let path = format!("/devices/{}/target-state", device.uuid);
        let answer = self.operate(Method::PUT, &path, Some(target.clone())).await;
        answer["version"].as_i64().unwrap()
    }

    /// A poll with these headers.
    pub async fn poll(&self, device: &Device, headers: &[(&str, &str)]) -> Response {
        let mut request = self
            .request(Method::GET, &format!("/device/{}/state", device.uuid))
            .header("X-Device-API-Key", &device.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// A report's body under this key, gzipped as agents send it.
    pub async fn send_report(&self, key: &str, body: &Value) -> Response {
        self.send_bytes(key, gzip(&serde_json::to_vec(body).unwrap()))
            .await
    }

    pub async fn send_bytes(&self, key: &str, gzipped: Vec<u8>) -> Response {
        self.request(Method::PATCH, "/device/state")
            .header("X-Device-API-Key", key)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip")
            .body(gzipped)
            .send()
            .await
            .unwrap()
    }

    /// A report that must be taken.
    pub async fn report(&self, device: &Device, state: Value) {
        let response = self.send_report(&device.key, &device.body(state)).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, r#"{"status":"ok"}"#)
        );
    }

    /// What is made of a device's reports.
    pub async fn observation(&self, device: &Device) -> Value {
        let path = format!("/devices/{}/current-state", device.uuid);
        self.operate(Method::GET, &path, None).await["observation"].clone()
    }

    /// The one service of a device.
    pub async fn service(&self, device: &Device) -> Value {
        let observation = self.observation(device).await;
        let services = observation["services"].as_array().unwrap();
        assert_eq!(services.len(), 1, "{observation}");
        services[0].clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.deps.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A device.
#[derive(Clone)]
pub struct Device {
    pub uuid: Uuid,
    pub key: String,
}

impl Device {
    pub fn new() -> Self {
        let half = || Uuid::new_v4().simple().to_string();
        Self {
            uuid: Uuid::new_v4(),
            key: half() + &half(),
        }
    }

    pub fn registration(&self) -> Value {
        json!({
            "uuid": self.uuid, "deviceName": "press 7", "deviceType": "standalone",
            "deviceApiKey": self.key, "macAddress": "aa:bb", "osVersion": "Debian 12",
            "agentVersion": "1.0.84",
        })
    }

    /// A body of which this is the device's part.
    pub fn body(&self, state: Value) -> Value {
        let mut body = json!({});
        body[self.uuid.to_string()] = state;
        body
    }
}

/// A target of one service on this image.
pub fn target(image: &str, config: &Value) -> Value {
    let mut config = config.clone();
    config["image"] = json!(image);
    json!({"apps": {"1001": {"appId": 1001, "appName": "demo", "services": [
        {"serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
         "config": config}]}}, "config": {}})
}

/// A report's apps: containers of one service as (image, container, status).
pub fn apps(containers: &[(&str, &str, &str)]) -> Value {
    let services: Vec<Value> = containers
        .iter()
        .map(|(image, container, status)| {
            json!({"serviceId": 1, "serviceName": "web", "imageName": image,
                   "containerId": container, "status": status, "state": status, "config": {}})
        })
        .collect();
    json!({"1001": {"appId": 1001, "appName": "demo", "services": services}})
}

/// A report as an existing agent sends it.
pub fn report(version: i64, containers: &[(&str, &str, &str)]) -> Value {
    json!({"apps": apps(containers), "is_online": true, "version": version, "cpu_usage": 12.5,
           "memory_usage": 1024, "agent_version": "1.0.84", "os_version": "Debian 12",
           "top_processes": [{"pid": 1}], "network_interfaces": []})
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The problem in an answer, after its status was checked.
pub async fn problem(response: Response, status: u16) -> Value {
    let kind = response.headers().get("content-type").cloned();
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    assert_eq!(kind.unwrap(), "application/problem+json", "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status);
    body
}
