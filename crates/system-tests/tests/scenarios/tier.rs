//! The two tiers, each as it is run: one process on SQLite, or a process for each service on
//! PostgreSQL and Redis; with a registry that tells of pushes.

use crate::api::Api;
use serde_json::json;
use std::time::Duration;
use windlass_service::keys::{Pepper, generate};
use windlass_store::{Options, Store};
use windlass_testkit::{
    Notify, Process, RedisServer, Registry, TestStore, eventually, free_port, http, postgres,
};

const SECRET: &str = "a-secret-of-the-registry";
const FIRST_KEY: &str = "the-first-operators-key";
/// How long a start may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVICES: [&str; 5] = [
    "webhook-ingest",
    "rollout-planner",
    "health-checker",
    "rollback-manager",
    "state-api",
];

/// A running system.
pub(crate) struct Tier {
    pub(crate) url: String,
    pub(crate) registry: Registry,
    /// Two different people.
    pub(crate) ann: Api,
    pub(crate) bob: Api,
    /// The port at which simulated devices answer, each at an address of its own.
    pub(crate) health_port: u16,
    _processes: Vec<Process>,
    _place: Place,
}

/// What lies under the services; removed when it is dropped.
enum Place {
    One {
        _folder: tempfile::TempDir,
    },
    Many {
        _redis: Box<RedisServer>,
        _database: TestStore,
    },
}

/// What every service gets.
fn settings(store: &str, host: &str) -> Vec<(&'static str, String)> {
    let endpoints = json!({"docker-registry": {"secret": SECRET}});
    vec![
        ("WINDLASS_STORE_URL", store.to_owned()),
        ("WINDLASS_STATE_API_API_KEY", FIRST_KEY.to_owned()),
        // Devices are seen to the second, because health is judged by the second here.
        ("WINDLASS_STATE_API_PRESENCE_SECONDS", "1".to_owned()),
        (
            "WINDLASS_STATE_API_PROVISIONING_PER_MINUTE",
            "100000".to_owned(),
        ),
        ("WINDLASS_WEBHOOKS_ENDPOINTS", endpoints.to_string()),
        ("WINDLASS_REGISTRY_HTTP_HOSTS", json!([host]).to_string()),
        // Simulated devices, gates and the like are all on this machine.
        (
            "WINDLASS_HEALTH_ALLOWED_TARGETS",
            json!(["127.0.0.0/8"]).to_string(),
        ),
        ("WINDLASS_ROLLBACK_PENALTY_FAILURES", "2".to_owned()),
        ("WINDLASS_LOG_LEVEL", "warn".to_owned()),
    ]
}

fn start(program: &str, arguments: &[&str], settings: &[(&str, String)], listen: &str) -> Process {
    let mut environment: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    environment.push(("WINDLASS_HTTP_LISTEN", listen));
    Process::workspace(program, arguments, &environment)
}

/// A registry whose notifications get nowhere.
async fn registry_cut_off() -> Registry {
    registry_for(&format!("127.0.0.1:{}", free_port())).await
}

async fn registry_for(ingest: &str) -> Registry {
    let notify = Notify {
        url: format!("http://{ingest}/api/v1/webhooks/docker-registry"),
        headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
    };
    Registry::start(&[notify]).await
}

impl Tier {
    /// One process on SQLite.
    pub(crate) async fn one() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let registry = registry_for(&address).await;
        let store = format!("sqlite:{}", folder.path().join("windlass.db").display());
        let health_port = free_port();
        let settings = settings(&store, &registry.host);
        let process = start("windlass", &["up"], &settings, &address);
        let place = Place::One { _folder: folder };
        let ready = vec![address.clone()];
        Self::ready(
            &ready,
            &address,
            &store,
            registry,
            health_port,
            vec![process],
            place,
        )
        .await
    }

    /// One process on SQLite that no webhook reaches and that looks for itself every second.
    pub(crate) async fn looking() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let registry = registry_cut_off().await;
        let store = format!("sqlite:{}", folder.path().join("windlass.db").display());
        let health_port = free_port();
        let mut settings = settings(&store, &registry.host);
        settings.push(("WINDLASS_WATCH_INTERVAL_SECONDS", "1".to_owned()));
        settings.push((
            "WINDLASS_WATCH_INTERVAL_WITH_WEBHOOKS_SECONDS",
            "1".to_owned(),
        ));
        let process = start("windlass", &["up"], &settings, &address);
        let place = Place::One { _folder: folder };
        let ready = vec![address.clone()];
        Self::ready(
            &ready,
            &address,
            &store,
            registry,
            health_port,
            vec![process],
            place,
        )
        .await
    }

    /// A process for each service on PostgreSQL and Redis.
    pub(crate) async fn many() -> Self {
        let database = postgres().await;
        let redis = RedisServer::start().await;
        let addresses: Vec<String> = SERVICES
            .iter()
            .map(|_| format!("127.0.0.1:{}", free_port()))
            .collect();
        let registry = registry_for(&addresses[0]).await;
        let health_port = free_port();
        let mut settings = settings(&database.url, &registry.host);
        settings.push(("WINDLASS_BUS_REDIS_URL", redis.url.clone()));
        let processes = SERVICES
            .iter()
            .zip(&addresses)
            .map(|(service, address)| {
                start(&format!("windlass-{service}"), &[], &settings, address)
            })
            .collect();
        let store = database.url.clone();
        let place = Place::Many {
            _redis: Box::new(redis),
            _database: database,
        };
        let api = addresses[4].clone();
        Self::ready(
            &addresses,
            &api,
            &store,
            registry,
            health_port,
            processes,
            place,
        )
        .await
    }

    async fn ready(
        addresses: &[String],
        api: &str,
        store: &str,
        registry: Registry,
        health_port: u16,
        processes: Vec<Process>,
        place: Place,
    ) -> Self {
        for address in addresses {
            let url = format!("http://{address}/readyz");
            eventually(&format!("{address} is ready"), PATIENCE, async || {
                let answer = http().get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
        let url = format!("http://{api}");
        let store = Store::connect(&Options::new(store)).await.unwrap();
        let second = second_key(&store).await;
        store.close().await;
        Self {
            ann: Api::new(&url, FIRST_KEY),
            bob: Api::new(&url, &second),
            url,
            registry,
            health_port,
            _processes: processes,
            _place: place,
        }
    }
}

/// A second person's key, stored as the first one is.
async fn second_key(store: &Store) -> String {
    let pepper = Pepper::load(store).await.unwrap();
    let key = generate("wlo_").unwrap();
    let mut tx = store.begin().await.unwrap();
    let now = tx.now();
    tx.sql("INSERT INTO api_keys (id, name, key_hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(uuid::Uuid::now_v7())
        .bind("bob".to_owned())
        .bind(pepper.hash(&key).to_vec())
        .bind(now)
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    key
}
