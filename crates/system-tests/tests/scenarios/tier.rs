//! The two tiers, each as it is run: one process on SQLite, or a process for each service on
//! PostgreSQL and Redis; with a registry that tells of pushes.

use crate::api::Api;
use crate::limited::Limited;
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
/// The services beside webhook-ingest.
const OTHERS: [&str; 4] = [
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
    /// Ann at webhook-ingest, which answers for deliveries and for the watch.
    pub(crate) at_ingest: Api,
    /// Every webhook-ingest.
    pub(crate) ingests: Vec<String>,
    /// What is asked in the registry's place, where there is something.
    pub(crate) limited: Option<Limited>,
    /// The port at which simulated devices answer, each at an address of its own.
    pub(crate) health_port: u16,
    _processes: Vec<Process>,
    _place: Place,
}

/// The processes of a tier, and where they listen.
struct Running {
    ingests: Vec<String>,
    others: Vec<String>,
    api: String,
    store: String,
    processes: Vec<Process>,
    place: Place,
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

/// A registry that tells this address of pushes.
async fn registry_for(ingest: &str) -> Registry {
    let notify = Notify {
        url: format!("http://{ingest}/api/v1/webhooks/docker-registry"),
        headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
    };
    Registry::start(&[notify]).await
}

/// What looks at registries every second, whether or not webhooks come.
fn looking(settings: &mut Vec<(&'static str, String)>, grace_seconds: u32) {
    settings.extend([
        ("WINDLASS_WATCH_INTERVAL_SECONDS", "1".to_owned()),
        (
            "WINDLASS_WATCH_INTERVAL_WITH_WEBHOOKS_SECONDS",
            "1".to_owned(),
        ),
        ("WINDLASS_WATCH_GRACE_SECONDS", grace_seconds.to_string()),
    ]);
}

impl Tier {
    /// One process on SQLite.
    pub(crate) async fn one() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let registry = registry_for(&address).await;
        Self::one_with(&address, &address, registry, |_| {}).await
    }

    /// One process on SQLite that no webhook reaches and that looks for itself every second.
    pub(crate) async fn looking() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let registry = registry_for(&format!("127.0.0.1:{}", free_port())).await;
        Self::one_with(&address, &address, registry, |settings| {
            looking(settings, 0);
        })
        .await
    }

    /// One process on SQLite that looks for itself every second too, and whose webhooks come to an address of their
    /// own, so that they alone can be cut off.
    pub(crate) async fn behind_firewall() -> (Self, String) {
        let port = free_port();
        let (address, webhooks) = (format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"));
        let registry = registry_for(&webhooks).await;
        let listen = format!("0.0.0.0:{port}");
        let tier = Self::one_with(&listen, &address, registry, |settings| {
            looking(settings, 10);
        });
        (tier.await, webhooks)
    }

    async fn one_with(
        listen: &str,
        address: &str,
        registry: Registry,
        change: impl FnOnce(&mut Vec<(&'static str, String)>),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("windlass.db").display());
        let mut settings = settings(&store, &registry.host);
        change(&mut settings);
        let running = Running {
            ingests: vec![address.to_owned()],
            others: Vec::new(),
            api: address.to_owned(),
            store,
            processes: vec![start("windlass", &["up"], &settings, listen)],
            place: Place::One { _folder: folder },
        };
        Self::ready(running, registry, None).await
    }

    /// A process for each service on PostgreSQL and Redis.
    pub(crate) async fn many() -> Self {
        let ingest = format!("127.0.0.1:{}", free_port());
        let registry = registry_for(&ingest).await;
        Self::many_with(vec![ingest], registry, None, |_| {}).await
    }

    /// The same with a second webhook-ingest. No webhook reaches them: both look for themselves every second, at a
    /// registry that can refuse them.
    pub(crate) async fn many_looking() -> Self {
        let registry = registry_for(&format!("127.0.0.1:{}", free_port())).await;
        let limited = Limited::before(&registry.host).await;
        let ingests = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let change = |settings: &mut Vec<_>| looking(settings, 0);
        Self::many_with(ingests.into(), registry, Some(limited), change).await
    }

    async fn many_with(
        ingests: Vec<String>,
        registry: Registry,
        limited: Option<Limited>,
        change: impl FnOnce(&mut Vec<(&'static str, String)>),
    ) -> Self {
        let database = postgres().await;
        let redis = RedisServer::start().await;
        let host = limited
            .as_ref()
            .map_or(&registry.host, |before| &before.host);
        let mut settings = settings(&database.url, host);
        settings.push(("WINDLASS_BUS_REDIS_URL", redis.url.clone()));
        change(&mut settings);
        let others: Vec<String> = OTHERS
            .iter()
            .map(|_| format!("127.0.0.1:{}", free_port()))
            .collect();
        let first = ingests.iter().map(|address| ("webhook-ingest", address));
        let processes = first
            .chain(OTHERS.into_iter().zip(&others))
            .map(|(service, address)| {
                start(&format!("windlass-{service}"), &[], &settings, address)
            })
            .collect();
        let running = Running {
            ingests,
            api: others[3].clone(),
            others,
            store: database.url.clone(),
            processes,
            place: Place::Many {
                _redis: Box::new(redis),
                _database: database,
            },
        };
        Self::ready(running, registry, limited).await
    }

    async fn ready(running: Running, registry: Registry, limited: Option<Limited>) -> Self {
        for address in running.ingests.iter().chain(&running.others) {
            let url = format!("http://{address}/readyz");
            eventually(&format!("{address} is ready"), PATIENCE, async || {
                let answer = http().get(&url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
        let url = format!("http://{}", running.api);
        let store = Store::connect(&Options::new(&running.store)).await.unwrap();
        let second = second_key(&store).await;
        store.close().await;
        let ingests = running.ingests.iter();
        let ingests: Vec<String> = ingests.map(|address| format!("http://{address}")).collect();
        Self {
            ann: Api::new(&url, FIRST_KEY),
            bob: Api::new(&url, &second),
            at_ingest: Api::new(&ingests[0], FIRST_KEY),
            ingests,
            url,
            registry,
            limited,
            health_port: free_port(),
            _processes: running.processes,
            _place: running.place,
        }
    }

    /// What images begin with: the registry, or whatever is before it.
    pub(crate) fn host(&self) -> &str {
        let before = self.limited.as_ref();
        before.map_or(&self.registry.host, |before| &before.host)
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
