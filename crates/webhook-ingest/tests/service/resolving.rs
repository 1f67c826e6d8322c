//! Digests that senders do not tell, asked for at a registry played by the test.

use crate::support::{Service, config, digest, distribution, hub};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use windlass_service::config::{Config, EndpointSection};
use windlass_store::{Json, events};
use windlass_testkit::{eventually, stores};
use windlass_types::event::{Cursor, Event, EventType};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SOON: Duration = Duration::from_secs(20);

/// A registry whose tag names this digest, or that does not know it.
async fn registry(named: Option<u32>) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/v2/"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    names(&server, 9, named).await;
    server
}

/// Lets the tag name this digest; a lower rank goes before a higher one.
async fn names(server: &MockServer, rank: u8, named: Option<u32>) {
    let answer = match named {
        Some(number) => ResponseTemplate::new(200)
            .insert_header("docker-content-digest", digest(number).as_str()),
        None => ResponseTemplate::new(404),
    };
    Mock::given(method("HEAD"))
        .and(path("/v2/acme/app/manifests/v1"))
        .respond_with(answer)
        .with_priority(rank)
        .mount(server)
        .await;
}

fn at(server: &MockServer) -> Config {
    let host = server.address().to_string();
    let mut config = config();
    config.registry.http_hosts = vec![host.clone()];
    config.registry.attempts = 1;
    for name in ["hub", "hub-two"] {
        let settings = EndpointSection {
            insecure: true,
            registry: Some(host.clone()),
            ..EndpointSection::default()
        };
        config.webhooks.endpoints.insert(name.to_owned(), settings);
    }
    config
}

async fn available(service: &Service) -> Vec<Event> {
    let mut session = service.deps.store.read().await.unwrap();
    let log = events::after(&mut session, Cursor::default(), 100)
        .await
        .unwrap();
    log.into_iter()
        .filter(|event| event.kind == EventType::UpdateAvailable)
        .collect()
}

async fn until_available(service: &Service, count: usize) -> Vec<Event> {
    eventually("versions are available", SOON, async || {
        available(service).await.len() >= count
    })
    .await;
    available(service).await
}

async fn shown(service: &Service, delivery: &Value) -> Value {
    let id = delivery["delivery_id"].as_str().unwrap();
    service.get(&format!("deliveries/{id}")).await.1
}

#[tokio::test]
async fn a_missing_digest_is_asked_for_once_by_two_replicas() {
    for test in stores().await {
        let server = registry(Some(7)).await;
        let config = at(&server);
        let service = Service::start_with(&test.store, &config).await;
        let other = Service::start_with(&test.store, &config).await;
        let got = service.deliver("hub", &hub("v1", 1)).await;
        assert_eq!(got["decision"], "accepted");
        assert_eq!(got["images"][0]["digest"], Value::Null);
        let log = until_available(&service, 1).await;
        assert_eq!(log[0].data["digest"], digest(7));
        assert_eq!(log[0].correlation_id, Some(service.correlation(&got).await));
        assert_eq!(
            shown(&service, &got).await["images"][0]["digest"],
            digest(7)
        );
        // Each replica looks once more, and finds nothing to do.
        other.deliver("hub-two", &hub("v1", 1)).await;
        assert_eq!(available(&other).await.len(), 1);
        assert_eq!(
            service.count("SELECT COUNT(*) FROM image_versions").await,
            1
        );
        let unresolved = "SELECT COUNT(*) FROM image_versions WHERE next_resolve_at IS NOT NULL";
        assert_eq!(service.count(unresolved).await, 0);
    }
}

#[tokio::test]
async fn a_registry_that_does_not_tell_is_told_of_once_and_asked_again() {
    for test in stores().await {
        let server = registry(None).await;
        let service = Service::start_with(&test.store, &at(&server)).await;
        service.deliver("hub", &hub("v1", 1)).await;
        let log = until_available(&service, 1).await;
        assert_eq!(log[0].data["digest"], Value::Null);
        let reason = log[0].data["resolve_error"].as_str().unwrap();
        assert!(reason.contains("acme/app:v1"), "{reason}");
        names(&server, 8, Some(7)).await;
        // Asked again after two seconds.
        let log = until_available(&service, 2).await;
        assert_eq!(log.len(), 2);
        assert_eq!(log[1].data["digest"], digest(7));
        assert_eq!(log[1].correlation_id, log[0].correlation_id);
    }
}

#[tokio::test]
async fn a_push_without_a_digest_that_changes_nothing_ships_nothing() {
    for test in stores().await {
        let server = registry(Some(7)).await;
        let service = Service::start_with(&test.store, &at(&server)).await;
        service.deliver("hub", &hub("v1", 1)).await;
        until_available(&service, 1).await;
        // What the planner does.
        let mut tx = service.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO image_plans (image_version_id, decision, decided_at) \
             SELECT id, 'no_policy', $1 FROM image_versions",
        )
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let again = service.deliver("hub", &hub("v1", 2)).await;
        assert_eq!(
            again["images"][0]["kind"], "moved",
            "it may be: nobody knows yet"
        );
        eventually("the answer is there", SOON, async || {
            shown(&service, &again).await["images"][0]["digest"] == digest(7)
        })
        .await;
        let present = "SELECT COUNT(*) FROM image_versions v JOIN image_plans p \
                       ON p.image_version_id = v.id WHERE v.replaced_at IS NULL";
        assert_eq!(
            service.count(present).await,
            1,
            "the planned version is the present one again"
        );
        assert_eq!(available(&service).await.len(), 1);
        names(&server, 8, Some(8)).await;
        service.deliver("hub", &hub("v1", 3)).await;
        let log = until_available(&service, 2).await;
        assert_eq!(log[1].data["digest"], digest(8));
        assert_eq!(log[1].data["kind"], "moved");
    }
}

#[tokio::test]
async fn a_version_replaced_before_it_was_planned_is_shipped_by_the_one_that_repeats_it() {
    for test in stores().await {
        let server = registry(Some(7)).await;
        let service = Service::start_with(&test.store, &at(&server)).await;
        service.deliver("hub", &hub("v1", 1)).await;
        until_available(&service, 1).await;
        service.deliver("hub", &hub("v1", 2)).await;
        let log = until_available(&service, 2).await;
        assert_eq!(log[1].data["digest"], digest(7));
        let unplanned = "SELECT COUNT(*) FROM image_versions WHERE replaced_at IS NULL";
        assert_eq!(service.count(unplanned).await, 1);
    }
}

#[tokio::test]
async fn a_digest_told_by_another_sender_ends_the_asking() {
    for test in stores().await {
        let server = registry(None).await;
        let mut config = at(&server);
        config.registry.attempts = 100;
        let host = server.address().to_string();
        let service = Service::start_with(&test.store, &config).await;
        let first = service.deliver("hub", &hub("v1", 5)).await;
        let body = distribution(&host, &[("v1", &digest(9), 6)]);
        let told = crate::support::Delivery {
            body: body.body.replace("demo/app", "acme/app"),
            ..body
        };
        let got = service.deliver("open", &told).await;
        assert_eq!(got["decision"], "duplicate", "{got}");
        let log = until_available(&service, 1).await;
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].data["digest"], digest(9));
        assert_eq!(
            log[0].correlation_id,
            Some(service.correlation(&first).await)
        );
        assert_eq!(
            service.count("SELECT COUNT(*) FROM image_versions").await,
            1
        );
    }
}

#[tokio::test]
async fn an_operators_trigger_gets_its_digest_too() {
    for test in stores().await {
        let server = registry(Some(7)).await;
        let service = Service::start_with(&test.store, &at(&server)).await;
        let mut tx = service.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO image_triggers (id, repository, tag, rule, filters, on_unresolved, actor, \
             reason, correlation_id, created_at, next_resolve_at) \
             VALUES ($1, $2, 'v1', $3, $3, 'wait', 'operator:test', '', $1, $4, $4)",
        )
        .bind(Uuid::now_v7())
        .bind(format!("{}/acme/app", server.address()))
        .bind(Json(json!({})))
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let log = until_available(&service, 1).await;
        assert_eq!(log[0].data["digest"], digest(7));
        assert!(log[0].data["trigger_id"].is_string());
        let resolved = "SELECT COUNT(*) FROM image_triggers WHERE digest IS NOT NULL";
        assert_eq!(service.count(resolved).await, 1);
    }
}
