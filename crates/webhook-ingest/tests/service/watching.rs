//! Pushes that no webhook tells of, at a real registry.

use crate::support::{OPERATOR, SECRET, Service, config};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;
use windlass_service::config::{Config, FirstLook};
use windlass_store::{Store, policies};
use windlass_testkit::{DEVICE, Notify, Registry, Setup, eventually, stores};
use windlass_types::event::EventType;
use windlass_types::ids::PolicyId;

const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at this registry every second.
pub(crate) fn looking(registry: &Registry) -> Config {
    let mut config = config();
    config.registry.http_hosts = vec![registry.host.clone()];
    config.watch.interval_seconds = 1;
    config.watch.interval_with_webhooks_seconds = 1;
    config.watch.grace_seconds = 0;
    config
}

pub(crate) async fn policy(store: &Store, registry: &Registry, tag: Value) {
    let mut spec = json!({
        "name": "watched", "image": format!("{}/demo/app", registry.host), "strategy": "auto",
    });
    spec["tag"] = tag;
    let mut tx = store.begin().await.unwrap();
    let id = PolicyId(Uuid::now_v7());
    policies::create(
        &mut tx,
        id,
        &serde_json::from_value(spec).unwrap(),
        "a test",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

pub(crate) fn glob(pattern: &str) -> Value {
    json!({"type": "glob", "pattern": pattern})
}

async fn shown(service: &Service) -> Value {
    let url = service.url.replace("/webhooks", "/registry-watch");
    let answer = service.client.get(url).bearer_auth(OPERATOR).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// Waits until the repository was looked at again, to the end or in vain.
pub(crate) async fn looked(service: &Service) -> Value {
    let of = |shown: &Value| shown["repositories"][0].clone();
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut last = Value::Null;
    eventually("the repository is looked at", PATIENCE, async || {
        last = of(&shown(service).await);
        last["looked_at"]
            .as_str()
            .is_some_and(|at| at > now.as_str())
    })
    .await;
    last
}

pub(crate) async fn versions(service: &Service) -> Vec<(String, String, String)> {
    let mut session = service.deps.store.read().await.unwrap();
    session
        .sql("SELECT tag, COALESCE(digest, ''), kind FROM image_versions ORDER BY seen_at, id")
        .all()
        .await
        .unwrap()
}

async fn has(service: &Service, expected: &[(&str, &str, &str)]) {
    let expected: Vec<(String, String, String)> = expected
        .iter()
        .map(|(tag, digest, kind)| ((*tag).to_owned(), (*digest).to_owned(), (*kind).to_owned()))
        .collect();
    eventually("the versions are there", PATIENCE, async || {
        versions(service).await == expected
    })
    .await;
}

#[tokio::test]
async fn the_watch_finds_pushes_that_came_after_its_first_look() {
    for test in stores().await {
        let registry = Registry::start(&[]).await;
        registry.push("demo/app", "v1", "one").await;
        registry.push("demo/app", "v2", "two").await;
        policy(&test.store, &registry, glob("v*")).await;
        let service = Service::start_with(&test.store, &looking(&registry)).await;
        let first = looked(&service).await;
        assert_eq!((&first["tags"], &first["found"]), (&json!(2), &json!(0)));
        assert_eq!(versions(&service).await, []);
        // A new tag, an index under one, a moved one, one that no policy takes, a signature.
        let three = registry.push("demo/app", "v3", "three").await;
        has(&service, &[("v3", &three, "new")]).await;
        let four = registry
            .push_index("demo/app", "v4", &["amd64", "arm64"], "four")
            .await;
        has(&service, &[("v3", &three, "new"), ("v4", &four, "new")]).await;
        let moved = registry.push("demo/app", "v2", "two, again").await;
        registry.push("demo/app", "x1", "not for us").await;
        let signature = format!("{}.sig", four.replace(':', "-"));
        registry.push("demo/app", &signature, "a signature").await;
        let all = [
            ("v3", three.as_str(), "new"),
            ("v4", &four, "new"),
            ("v2", &moved, "moved"),
        ];
        has(&service, &all).await;
        looked(&service).await;
        has(&service, &all).await;
        assert_eq!(service.events(EventType::UpdateAvailable).await, 3);
        // A tag that is deleted takes nothing back, and is nothing new when it is there again.
        registry.delete("demo/app", &moved).await;
        eventually("it is seen to be gone", PATIENCE, async || {
            service
                .count("SELECT COUNT(*) FROM watched_tags WHERE gone_at IS NOT NULL")
                .await
                == 1
        })
        .await;
        has(&service, &all).await;
        let shown = shown(&service).await;
        assert_eq!(shown["repositories"][0]["found"], 3, "{shown}");
        // Nobody was to tell of them.
        assert_eq!(shown["repositories"][0]["missed"], 0, "{shown}");
        assert!(shown["registries"][0]["requests"].as_i64().unwrap() > 3);
    }
}

#[tokio::test]
async fn of_what_is_there_only_the_newest_that_a_policy_orders_ships() {
    for (first_look, expected) in [(FirstLook::Newest, 1), (FirstLook::Record, 0)] {
        for test in stores().await {
            let registry = Registry::start(&[]).await;
            for tag in ["1.9.0", "1.10.0", "1.2.0", "2.0.0"] {
                registry.push("demo/app", tag, tag).await;
            }
            let range = json!({"type": "semver", "range": "<2"});
            policy(&test.store, &registry, range).await;
            let mut config = looking(&registry);
            config.watch.first_look = first_look;
            let service = Service::start_with(&test.store, &config).await;
            looked(&service).await;
            looked(&service).await;
            let tags: Vec<String> = versions(&service).await.into_iter().map(|v| v.0).collect();
            assert_eq!(tags, vec!["1.10.0"; expected], "{first_look:?}");
        }
    }
}

/// A way to the service that can be cut off: what comes then is held and never answered, as behind a
/// firewall that drops.
struct Way {
    port: u16,
    to: Arc<OnceLock<String>>,
    cut: Arc<AtomicBool>,
}

impl Way {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self {
            port: listener.local_addr().unwrap().port(),
            to: Arc::default(),
            cut: Arc::default(),
        };
        let (to, cut) = (Arc::clone(&way.to), Arc::clone(&way.cut));
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut from, _)) = listener.accept().await {
                if cut.load(Ordering::SeqCst) {
                    held.push(from);
                } else if let Some(to) = to.get() {
                    let mut to = TcpStream::connect(to).await.unwrap();
                    tokio::spawn(async move {
                        tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
                    });
                }
            }
        });
        way
    }
}

#[tokio::test]
async fn a_push_whose_webhook_is_cut_off_is_found_shipped_and_counted() {
    for test in stores().await {
        let way = Way::open().await;
        let registry = Registry::start(&[Notify {
            url: format!(
                "http://127.0.0.1:{}/api/v1/webhooks/docker-registry",
                way.port
            ),
            // Each on a connection of its own, so that cutting it off cuts off all.
            headers: vec![
                ("Authorization".to_owned(), format!("Bearer {SECRET}")),
                ("Connection".to_owned(), "close".to_owned()),
            ],
        }])
        .await;
        policy(&test.store, &registry, glob("*")).await;
        let mut config = looking(&registry);
        // Webhooks are faster than this.
        config.watch.interval_seconds = 3;
        config.watch.interval_with_webhooks_seconds = 3;
        config.watch.grace_seconds = 1;
        let service = Service::start_with(&test.store, &config).await;
        let address = service.url.split('/').nth(2).unwrap().to_owned();
        way.to.set(address).unwrap();
        let one = registry.push("demo/app", "v1", "one").await;
        has(&service, &[("v1", &one, "new")]).await;
        looked(&service).await;
        way.cut.store(true, Ordering::SeqCst);
        let two = registry.push("demo/app", "v1", "two").await;
        has(&service, &[("v1", &one, "new"), ("v1", &two, "moved")]).await;
        assert_eq!(service.events(EventType::UpdateAvailable).await, 2);
        let mut last = Value::Null;
        eventually("the webhook counts as missed", PATIENCE, async || {
            last = shown(&service).await["repositories"][0].clone();
            last["missed"] == 1
        })
        .await;
        assert_eq!(last["missed_by"], "docker-registry", "{last}");
        assert_eq!(last["found"], 1, "{last}");
        assert!(last["webhook_at"].is_string(), "{last}");
        // It shows in the endpoint's health, and in the numbers.
        let (_, health) = service.get("endpoints").await;
        let of = |name: &str| {
            let mut all = health.as_array().unwrap().iter();
            all.find(|one| one["endpoint"] == name).unwrap().clone()
        };
        assert_eq!(of("docker-registry")["missed"], 1, "{health}");
        assert!(of("docker-registry")["last_missed_at"].is_string());
        assert_eq!(of("open")["missed"], 0, "{health}");
        assert!(of("open")["last_missed_at"].is_null());
        let page = service.metrics().await;
        let line = "windlass_watch_missed_webhooks_total{endpoint=\"docker-registry\"} 1";
        assert!(page.contains(line), "{page}");
        // The same push told of after all makes nothing new.
        way.cut.store(false, Ordering::SeqCst);
        let three = registry.push("demo/app", "v3", "three").await;
        let all = [
            ("v1", one.as_str(), "new"),
            ("v1", &two, "moved"),
            ("v3", &three, "new"),
        ];
        has(&service, &all).await;
        looked(&service).await;
        has(&service, &all).await;
    }
}

#[tokio::test]
async fn two_replicas_look_once_and_find_once() {
    for test in stores().await {
        let registry = Registry::start(&[]).await;
        registry.push("demo/app", "v1", "one").await;
        policy(&test.store, &registry, glob("*")).await;
        let one = Service::start_with(&test.store, &looking(&registry)).await;
        let other = Service::start_with(&test.store, &looking(&registry)).await;
        looked(&one).await;
        let mut expected = Vec::new();
        for tag in ["v2", "v3", "v4"] {
            let digest = registry.push("demo/app", tag, tag).await;
            expected.push((tag.to_owned(), digest, "new".to_owned()));
            eventually("it is found", PATIENCE, async || {
                versions(&one).await == expected
            })
            .await;
        }
        looked(&other).await;
        assert_eq!(one.events(EventType::UpdateAvailable).await, 3);
    }
}

#[tokio::test]
async fn a_registry_that_is_away_takes_nothing_back_and_is_looked_at_again() {
    for test in stores().await {
        let mut registry = Registry::start(&[]).await;
        registry.push("demo/app", "v1", "one").await;
        policy(&test.store, &registry, glob("*")).await;
        let service = Service::start_with(&test.store, &looking(&registry)).await;
        looked(&service).await;
        registry.kill();
        let mut last = Value::Null;
        eventually("it is seen to be away", PATIENCE, async || {
            last = shown(&service).await["repositories"][0].clone();
            last["failures"].as_i64() > Some(0)
        })
        .await;
        assert!(last["error"].is_string(), "{last}");
        assert_eq!(
            service
                .count("SELECT COUNT(*) FROM watched_tags WHERE gone_at IS NOT NULL")
                .await,
            0
        );
        registry.restart().await;
        let two = registry.push("demo/app", "v2", "two").await;
        has(&service, &[("v2", &two, "new")]).await;
    }
}

/// Copies an image with Skopeo, as people push.
fn skopeo(registry: &Registry, from: &str, to: &str, options: &[&str]) {
    let place = |tag: &str| format!("docker://{}/demo/app:{tag}", registry.host);
    let done = Command::new("skopeo")
        .args(["copy", "--all"])
        .args(options)
        .args([place(from), place(to)])
        .output()
        .unwrap_or_else(|error| panic!("skopeo is to be installed: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "skopeo: {said}");
}

#[tokio::test]
async fn a_registry_with_tls_and_a_login_is_watched_too() {
    let folder = tempfile::tempdir().unwrap();
    for (login, tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let test = windlass_testkit::sqlite().await;
        let registry = Registry::start_as(Setup {
            private: login,
            tls,
            ..Setup::default()
        })
        .await;
        registry
            .push_index("demo/app", "v1", &["amd64", "arm64"], "one")
            .await;
        policy(&test.store, &registry, glob("*")).await;
        let mut config = looking(&registry);
        if tls {
            config.registry.http_hosts.clear();
            let authority = registry.authority();
            config.registry.ca_files = [(registry.host.clone(), authority)].into();
        }
        if login {
            let docker = folder.path().join("config.json");
            let auth = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                format!("{}:{}", DEVICE.0, DEVICE.1),
            );
            let text = json!({"auths": {&registry.host: {"auth": auth}}});
            std::fs::write(&docker, text.to_string()).unwrap();
            config.registry.docker_config = Some(docker);
        }
        let service = Service::start_with(&test.store, &config).await;
        looked(&service).await;
        let credentials = format!("{}:{}", DEVICE.0, DEVICE.1);
        let authority = registry.authority();
        let authorities = authority.parent().unwrap().to_string_lossy().into_owned();
        let mut options = vec!["--src-no-creds", "--dest-no-creds"];
        if login {
            options = vec!["--src-creds", &credentials, "--dest-creds", &credentials];
        }
        if tls {
            options.extend([
                "--src-cert-dir",
                &authorities,
                "--dest-cert-dir",
                &authorities,
            ]);
        } else {
            options.extend(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        }
        let image = registry.push("demo/app", "source", "two").await;
        has(&service, &[("source", &image, "new")]).await;
        skopeo(&registry, "v1", "v2", &options);
        eventually("skopeo's push is found", PATIENCE, async || {
            let found = versions(&service).await;
            found.len() == 2 && found[1].0 == "v2"
        })
        .await;
    }
}

#[tokio::test]
async fn a_registry_without_the_right_login_is_told_of() {
    let test = windlass_testkit::sqlite().await;
    let registry = Registry::start_as(Setup {
        private: true,
        ..Setup::default()
    })
    .await;
    registry.push("demo/app", "v1", "one").await;
    policy(&test.store, &registry, glob("*")).await;
    let service = Service::start_with(&test.store, &looking(&registry)).await;
    let mut last = Value::Null;
    eventually("it is seen to refuse", PATIENCE, async || {
        last = shown(&service).await["repositories"][0].clone();
        last["failures"].as_i64() > Some(0)
    })
    .await;
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("registry.users"), "{error}");
}
