//! What images run on and who signed them, asked at a real registry and at none.

use crate::support::{Service, config};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;
use windlass_store::events;
use windlass_store::image_facts::{self, Known};
use windlass_testkit::{Registry, eventually, stores};
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::CorrelationId;
use windlass_types::image::{Digest, Repository};

const SOON: Duration = Duration::from_secs(20);

async fn known(service: &Service, repository: &Repository, digest: &Digest) -> Known {
    let mut session = service.deps.store.read().await.unwrap();
    let known = image_facts::get(&mut session, repository, digest)
        .await
        .unwrap();
    known.unwrap()
}

/// Has everything about a digest asked for, as the planner does.
async fn want(service: &Service, repository: &Repository, digest: &Digest) {
    let mut tx = service.deps.store.begin().await.unwrap();
    let until = tx.now() + chrono::TimeDelta::hours(1);
    image_facts::want(
        &mut tx,
        repository,
        digest,
        CorrelationId(Uuid::now_v7()),
        false,
    )
    .await
    .unwrap();
    image_facts::want_signatures(
        &mut tx,
        repository,
        digest,
        until,
        image_facts::Which::First,
    )
    .await
    .unwrap();
    service.deps.commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_registry_tells_platforms_and_signatures_and_is_asked_again_for_those() {
    let registry = Registry::start(&[]).await;
    let digest: Digest = registry
        .push("demo/app", "v1", "one")
        .await
        .parse()
        .unwrap();
    let repository = Repository::new(&registry.host, "demo/app").unwrap();
    for test in stores().await {
        let mut settings = config();
        settings.registry.http_hosts = vec![registry.host.clone()];
        let service = Service::start_with(&test.store, &settings).await;
        want(&service, &repository, &digest).await;
        eventually("both are told", SOON, async || {
            let known = known(&service, &repository, &digest).await;
            known.facts.is_some() && known.signatures.is_some()
        })
        .await;
        let found = known(&service, &repository, &digest).await;
        let platforms: Vec<String> = found
            .facts
            .unwrap()
            .platforms
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(platforms, ["linux/amd64"]);
        assert_eq!(found.next_ask_at, None, "facts of a digest do not change");
        assert!(found.signatures.unwrap().found.is_empty());
        assert!(
            found.next_signature_at.is_some(),
            "signatures come after pushes"
        );
        let mut session = service.deps.store.read().await.unwrap();
        let log = events::after(&mut session, Cursor::default(), 100)
            .await
            .unwrap();
        let told: Vec<_> = log
            .iter()
            .filter(|e| e.kind == EventType::FactsLearned)
            .collect();
        assert!(
            told.iter()
                .any(|e| e.data["platforms"] == json!(["linux/amd64"])),
            "{told:?}"
        );
        assert!(
            told.iter().any(|e| e.data["signatures"] == json!(0)),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_is_away_is_noted_and_asked_again() {
    let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let repository = Repository::new("127.0.0.1:1", "demo/app").unwrap();
    for test in stores().await {
        let mut settings = config();
        settings.registry.http_hosts = vec!["127.0.0.1:1".to_owned()];
        let service = Service::start_with(&test.store, &settings).await;
        want(&service, &repository, &digest).await;
        eventually("both were asked in vain", SOON, async || {
            let known = known(&service, &repository, &digest).await;
            known.attempts > 0 && known.signature_attempts > 0
        })
        .await;
        let found = known(&service, &repository, &digest).await;
        assert_eq!((found.facts, found.signatures), (None, None));
        assert!(found.error.unwrap().contains("does not answer"));
        assert!(found.signature_error.unwrap().contains("does not answer"));
        assert!(found.next_ask_at.is_some() && found.next_signature_at.is_some());
    }
}
