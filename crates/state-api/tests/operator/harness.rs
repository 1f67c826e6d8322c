//! A running state-api on a database of its own, and rows to ask for.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpListener;
use windlass_bus::Bus;
use windlass_core::batches::Layout;
use windlass_core::target::state_id;
use windlass_service::config::Config;
use windlass_service::{Deps, serve};
use windlass_store::rollouts::{NewRollout, Scope, Spread};
use windlass_store::{commands, rollouts, targets};
use windlass_testkit::{TestStore, eventually, stores};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId};
use windlass_types::policy::{RolloutRule, TagRule};
use windlass_types::rollout::{CommandOutcome, RolloutStatus};
use windlass_types::target::{TargetSource, TargetState};

pub(crate) const KEY: &str = "an operator's key for tests";
pub(crate) const IMAGE: &str = "r.io:5000/demo/app:v1";

/// A digest of one hex digit.
pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

pub(crate) struct Api {
    pub(crate) deps: Deps,
    pub(crate) base: String,
    http: reqwest::Client,
    _store: TestStore,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.deps.shutdown.cancel();
    }
}

/// One on SQLite and one on PostgreSQL.
pub(crate) async fn apis() -> Vec<Api> {
    let mut apis = Vec::new();
    for store in stores().await {
        apis.push(start(store).await);
    }
    apis
}

pub(crate) async fn start(store: TestStore) -> Api {
    let deps = Deps::new(store.store.clone(), Bus::local());
    let mut config = Config::default();
    config.state_api.api_key = Some(KEY.to_owned());
    config.http.shutdown_timeout_seconds = 1;
    let part = windlass_state_api::part(&config, &deps).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (serving, http) = (deps.clone(), config.http.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { serve(vec![part], &serving, &http, listener).await.unwrap() });
    });
    Api {
        deps,
        base,
        http: windlass_testkit::http(),
        _store: store,
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, which must be one by every sign.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], json!(self.status), "{self:?}");
        let kind = self.body["type"].as_str().unwrap();
        kind.strip_prefix("urn:windlass:problem:").unwrap()
    }

    /// The fields that a problem names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|e| e["field"].as_str().unwrap())
            .collect()
    }
}

impl Api {
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.request_by(KEY, method, path)
    }

    /// A request by somebody else.
    pub(crate) fn request_by(
        &self,
        key: &str,
        method: &str,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("{}/api/v1{path}", self.base))
            .bearer_auth(key)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Answer {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path).json(&body)).await
    }

    /// A device of this fleet, whose target runs [`IMAGE`].
    pub(crate) async fn device(&self, fleet: &str) -> DeviceId {
        let device = DeviceId(uuid::Uuid::new_v4());
        let state: TargetState = serde_json::from_value(json!({"apps": {"1": {"appId": 1,
            "appName": "demo", "services": [{"serviceId": 1, "serviceName": "web",
            "imageName": IMAGE, "config": {"image": IMAGE}}]}}}))
        .unwrap();
        let (empty, id) = (TargetState::default(), state_id(&state));
        let first = state_id(&empty);
        let mut tx = self.deps.store.begin().await.unwrap();
        let now = tx.now();
        windlass_store::devices::ensure_fleet(&mut tx, &fleet.parse().unwrap())
            .await
            .unwrap();
        tx.sql(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, shuffle, created_at) \
             VALUES ($1, 'a device', 'standalone', $2, $3, 7, $4)",
        )
        .bind(device.0)
        .bind(fleet.to_owned())
        .bind(device.0.as_bytes().to_vec())
        .bind(now)
        .execute()
        .await
        .unwrap();
        targets::ensure_states(&mut tx, &BTreeMap::from([(first, empty), (id, state)]))
            .await
            .unwrap();
        targets::create(&mut tx, device, first).await.unwrap();
        targets::set(&mut tx, device, id, TargetSource::Operator, None, None)
            .await
            .unwrap();
        self.deps.commit(tx).await.unwrap();
        device
    }

    /// A running rollout to every device, in one batch.
    pub(crate) async fn rollout(&self, digit: char) -> RolloutId {
        let id = RolloutId(uuid::Uuid::now_v7());
        let mut tx = self.deps.store.begin().await.unwrap();
        let repository = "r.io:5000/demo/app".parse().unwrap();
        let moved = rollouts::images_in_use(&mut tx, &repository).await.unwrap();
        let made = NewRollout {
            id,
            policy: None,
            delivery: None,
            version: None,
            trigger: None,
            tag: Some("v2".to_owned()),
            scope: Scope {
                digest: Some(digest(digit).parse().unwrap()),
                ..Scope::new(repository, moved, (1, 0))
            },
            rule: RolloutRule::default(),
            tag_rule: TagRule::default(),
            priority: 0,
            seed: 0,
            status: RolloutStatus::Pending,
            layout: Layout::default(),
            spread: Spread::default(),
            correlation: CorrelationId(uuid::Uuid::now_v7()),
            created_by: "test".to_owned(),
        };
        rollouts::create(&mut tx, &made).await.unwrap();
        self.deps.commit(tx).await.unwrap();
        id
    }

    /// Plays the service whose work the next command is, and says this of it.
    pub(crate) async fn settle(&self, rollout: RolloutId, outcome: CommandOutcome, detail: &str) {
        let within = std::time::Duration::from_secs(10);
        eventually("a command to settle", within, async || {
            let mut tx = self.deps.store.begin().await.unwrap();
            let pending = commands::pending(&mut tx, rollout).await.unwrap();
            let Some(command) = pending.first() else {
                return false;
            };
            commands::settle(&mut tx, command.id, outcome, Some(detail), "test")
                .await
                .unwrap();
            self.deps.commit(tx).await.unwrap();
            true
        })
        .await;
    }
}
