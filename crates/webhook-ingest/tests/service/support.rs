//! A running service, deliveries to send to it, and looking at what it stored.

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use std::net::TcpListener;
use std::sync::Arc;
use url::Url;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::{Config, EndpointSection};
use windlass_service::{Deps, listen, serve};
use windlass_store::Store;
use windlass_types::event::EventType;
use windlass_types::ids::CorrelationId;
use windlass_webhook_ingest::fetch::{Fetch, FetchError, Fetched};

pub(crate) const SECRET: &str = "a-secret-of-tests";
pub(crate) const OPERATOR: &str = "the-operators-key-of-tests";
/// Nobody listens there, so a digest that is asked for is not told.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// The service on a port of its own; it ends when this is dropped.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) deps: Deps,
    pub(crate) client: reqwest::Client,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.deps.shutdown.cancel();
    }
}

/// Fetches nothing: no test asks anybody outside.
struct Nobody;

impl Fetch for Nobody {
    fn get<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        panic!("{url} was asked for");
    }
}

pub(crate) fn open(sender: Option<&str>) -> EndpointSection {
    EndpointSection {
        insecure: true,
        sender: sender.map(str::to_owned),
        ..EndpointSection::default()
    }
}

/// `docker-registry` with a secret, `open` and `open-two` without.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.http.workers = 1;
    config.http.shutdown_timeout_seconds = 0;
    config.state_api.api_key = Some(OPERATOR.to_owned());
    config.registry.http_hosts = vec![NOBODY.to_owned()];
    config.registry.timeout_seconds = 5;
    let signed = EndpointSection {
        secret: Some(SECRET.to_owned()),
        ..EndpointSection::default()
    };
    let endpoints = &mut config.webhooks.endpoints;
    endpoints.insert("docker-registry".to_owned(), signed);
    endpoints.insert("open".to_owned(), open(None));
    endpoints.insert("open-two".to_owned(), open(None));
    config
}

impl Service {
    pub(crate) async fn start(store: &Store) -> Self {
        Self::start_with(store, &config()).await
    }

    pub(crate) async fn start_with(store: &Store, config: &Config) -> Self {
        Self::start_on(listen("127.0.0.1:0").unwrap(), store, config).await
    }

    /// On this port.
    pub(crate) async fn start_on(listener: TcpListener, store: &Store, config: &Config) -> Self {
        Self::started(listener, store, config, Arc::new(Nobody)).await
    }

    pub(crate) async fn start_fetching(
        store: &Store,
        config: &Config,
        fetch: Arc<dyn Fetch>,
    ) -> Self {
        Self::started(listen("127.0.0.1:0").unwrap(), store, config, fetch).await
    }

    async fn started(
        listener: TcpListener,
        store: &Store,
        config: &Config,
        fetch: Arc<dyn Fetch>,
    ) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let deps = Deps::new(store.clone(), Bus::local());
        let part = windlass_webhook_ingest::part_fetching(config, &deps, fetch)
            .await
            .unwrap();
        let url = format!("http://{}/api/v1/webhooks", listener.local_addr().unwrap());
        let (served, http) = (deps.clone(), config.http.clone());
        tokio::spawn(async move { serve(vec![part], &served, &http, listener).await.unwrap() });
        Self {
            url,
            deps,
            client: reqwest::Client::new(),
        }
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client
            .post(format!("{}/{path}", self.url))
            .header("content-type", "application/json")
    }

    /// Sends a delivery that is to be taken, and returns the answer.
    pub(crate) async fn deliver(&self, path: &str, delivery: &Delivery) -> Value {
        let (status, answer) = answer(delivery.on(self.post(path))).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        answer
    }

    /// An answer to an operator.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(
            self.client
                .get(format!("{}/{path}", self.url))
                .bearer_auth(OPERATOR),
        )
        .await
    }

    /// The page of its numbers.
    pub(crate) async fn metrics(&self) -> String {
        let url = self.url.replace("/api/v1/webhooks", "/metrics");
        let page = self.client.get(url).send().await.unwrap();
        page.text().await.unwrap()
    }

    /// A single number from the store.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut session = self.deps.store.read().await.unwrap();
        let (count,): (i64,) = session.sql(sql).one().await.unwrap();
        count
    }

    /// How often this happened.
    pub(crate) async fn events(&self, kind: EventType) -> i64 {
        let mut session = self.deps.store.read().await.unwrap();
        let (count,): (i64,) = session
            .sql("SELECT COUNT(*) FROM events WHERE type = $1")
            .bind(kind.as_str())
            .one()
            .await
            .unwrap();
        count
    }

    pub(crate) async fn correlation(&self, delivery: &Value) -> CorrelationId {
        let id = delivery["delivery_id"].as_str().unwrap();
        let (_, detail) = self.get(&format!("deliveries/{id}")).await;
        serde_json::from_value(detail["correlation_id"].clone()).unwrap()
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let kind = response.headers()["content-type"].to_str().unwrap();
    let expected = if status.is_success() {
        "application/json"
    } else {
        "application/problem+json"
    };
    assert_eq!(kind, expected, "{status}");
    (status, response.json().await.unwrap())
}

/// Something to send.
pub(crate) struct Delivery {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Delivery {
    pub(crate) fn on(&self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(self.body.clone())
    }
}

pub(crate) fn digest(n: u32) -> String {
    format!("sha256:{n:064x}")
}

/// A time, so many seconds into an afternoon that is over.
pub(crate) fn at(second: u32) -> String {
    chrono::DateTime::from_timestamp(1_772_366_400 + i64::from(second), 0)
        .unwrap()
        .to_rfc3339()
}

/// GitHub's event of a push to `ghcr.io/acme/app`.
pub(crate) fn ghcr(
    event: &str,
    id: &str,
    tag: &str,
    digest: Option<&str>,
    second: u32,
) -> Delivery {
    let version = json!({
        "package_url": format!("ghcr.io/acme/app:{tag}"),
        "container_metadata": {"tag": {"name": tag, "digest": digest}},
    });
    Delivery {
        headers: vec![
            ("x-github-event".to_owned(), event.to_owned()),
            ("x-github-delivery".to_owned(), id.to_owned()),
        ],
        body: json!({
            "action": "published",
            event: {
                "name": "app", "namespace": "acme", "package_type": "CONTAINER",
                "updated_at": at(second), "package_version": version,
            },
            "sender": {"login": "octo"},
        })
        .to_string(),
    }
}

/// Docker Hub's delivery of a push, which never has a digest.
pub(crate) fn hub(tag: &str, second: u32) -> Delivery {
    Delivery {
        headers: vec![],
        body: json!({
            "callback_url": format!("https://registry.hub.docker.com/u/acme/app/hook/{second}/"),
            "push_data": {"pushed_at": 1_772_366_400 + second, "pusher": "maria", "tag": tag},
            "repository": {"repo_name": "acme/app"},
        })
        .to_string(),
    }
}

/// Distribution's envelope of pushes to `repository` at `host`: tag, digest and second of each.
pub(crate) fn distribution(host: &str, pushes: &[(&str, &str, u32)]) -> Delivery {
    let events: Vec<_> = pushes
        .iter()
        .map(|(tag, digest, second)| {
            json!({
                "id": Uuid::new_v4(), "timestamp": at(*second), "action": "push",
                "target": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest, "repository": "demo/app", "tag": tag,
                },
                "request": {"host": host},
            })
        })
        .collect();
    Delivery {
        headers: vec![],
        body: json!({"events": events}).to_string(),
    }
}

pub(crate) fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
