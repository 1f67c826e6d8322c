//! One push is one version, however often and in whatever order it is told.

use crate::support::{Service, at, digest, distribution, ghcr};
use serde_json::Value;
use std::time::Duration;
use windlass_store::events;
use windlass_testkit::{TestStore, eventually, stores};
use windlass_types::event::Cursor;
use windlass_types::event::EventType::{UpdateAvailable, WebhookReceived};

const VERSIONS: &str = "SELECT COUNT(*) FROM image_versions";
const PRESENT: &str = "SELECT COUNT(*) FROM image_versions WHERE replaced_at IS NULL";
const DELIVERIES: &str = "SELECT COUNT(*) FROM webhook_deliveries";

async fn service(test: &TestStore) -> Service {
    Service::start(&test.store).await
}

fn kind(answer: &Value) -> &str {
    answer["images"][0]["kind"].as_str().unwrap()
}

#[tokio::test]
async fn a_repeated_delivery_is_counted_and_answered_as_the_first() {
    for test in stores().await {
        let service = service(&test).await;
        let sent = [
            ghcr("package", "1", "v1", Some(&digest(1)), 1),
            distribution("r.io", &[("v1", &digest(1), 1), ("v2", &digest(2), 2)]),
            distribution("r.io", &[]),
        ];
        for sent in &sent {
            let first = service.deliver("open", sent).await;
            let again = service.deliver("open", sent).await;
            assert_eq!(first, again);
            let id = first["delivery_id"].as_str().unwrap();
            let (_, detail) = service.get(&format!("deliveries/{id}")).await;
            assert_eq!(detail["received_count"], 2, "{detail}");
        }
        assert_eq!(service.count(DELIVERIES).await, 3);
        assert_eq!(service.count(VERSIONS).await, 3);
        assert_eq!(service.events(WebhookReceived).await, 3);
        assert_eq!(service.events(UpdateAvailable).await, 3);
    }
}

#[tokio::test]
async fn the_same_push_under_another_id_makes_no_second_version() {
    for test in stores().await {
        let service = service(&test).await;
        let one = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        let first = service.deliver("open", &one).await;
        assert_eq!(
            (first["decision"].as_str().unwrap(), kind(&first)),
            ("accepted", "new")
        );
        let others = [
            ("open", ghcr("package", "2", "v1", Some(&digest(1)), 1)),
            (
                "open",
                ghcr("registry_package", "3", "v1", Some(&digest(1)), 2),
            ),
            ("open-two", ghcr("package", "1", "v1", Some(&digest(1)), 1)),
            ("open", distribution("ghcr.io", &[])),
        ];
        for (path, other) in &others[..3] {
            let got = service.deliver(path, other).await;
            assert_eq!(got["decision"], "duplicate", "{got}");
            assert_eq!(kind(&got), "duplicate");
            assert_ne!(got["delivery_id"], first["delivery_id"]);
        }
        assert_eq!(
            service.deliver("open", &others[3].1).await["reason_code"],
            "empty"
        );
        assert_eq!(service.count(VERSIONS).await, 1);
        assert_eq!(service.events(UpdateAvailable).await, 1);
        assert_eq!(service.events(WebhookReceived).await, 5);
    }
}

#[tokio::test]
async fn a_tag_that_moves_makes_a_version_each_time_and_late_tellings_do_not() {
    for test in stores().await {
        let service = service(&test).await;
        let tell = async |tag: &str, number: u32, second: u32| {
            let (named, id) = (digest(number), uuid::Uuid::new_v4().to_string());
            let sent = ghcr("package", &id, tag, Some(&named), second);
            let got = service.deliver("open", &sent).await;
            (
                got["decision"].as_str().unwrap().to_owned(),
                kind(&got).to_owned(),
            )
        };
        let is = |got: (String, String), decision: &str, kind: &str| {
            assert_eq!((got.0.as_str(), got.1.as_str()), (decision, kind));
        };
        is(tell("v1", 1, 10).await, "accepted", "new");
        is(tell("v1", 2, 20).await, "accepted", "moved");
        is(tell("v1", 1, 10).await, "duplicate", "duplicate");
        is(tell("v1", 3, 15).await, "duplicate", "stale");
        assert_eq!(
            (service.count(VERSIONS).await, service.count(PRESENT).await),
            (2, 1)
        );
        is(tell("v1", 1, 30).await, "accepted", "moved");
        is(tell("v2", 1, 30).await, "accepted", "new");
        assert_eq!(
            (service.count(VERSIONS).await, service.count(PRESENT).await),
            (4, 2)
        );
        assert_eq!(service.events(UpdateAvailable).await, 4);
    }
}

#[tokio::test]
async fn an_envelope_with_a_tag_moved_twice_ends_on_the_last() {
    for test in stores().await {
        let service = service(&test).await;
        let sent = distribution(
            "r.io",
            &[
                ("b", &digest(1), 1),
                ("a", &digest(2), 2),
                ("b", &digest(3), 3),
                ("b", &digest(3), 3),
            ],
        );
        let got = service.deliver("open", &sent).await;
        assert_eq!(got["decision"], "accepted");
        let kinds: Vec<_> = got["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| {
                (
                    image["tag"].as_str().unwrap(),
                    image["kind"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                ("b", "new"),
                ("a", "new"),
                ("b", "moved"),
                ("b", "duplicate")
            ]
        );
        assert_eq!(service.count(PRESENT).await, 2);
    }
}

#[tokio::test]
async fn everything_a_delivery_causes_is_in_the_log_under_its_correlation_id() {
    for test in stores().await {
        let service = service(&test).await;
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        let got = service.deliver("open", &sent).await;
        let correlation = service.correlation(&got).await;
        // Readers of the log are held back by every transaction that is open on the server.
        let mut log = Vec::new();
        eventually(
            "the events are settled",
            Duration::from_secs(20),
            async || {
                let mut session = service.deps.store.read().await.unwrap();
                log = events::after(&mut session, Cursor::default(), 10)
                    .await
                    .unwrap();
                log.len() >= 2
            },
        )
        .await;
        let kinds: Vec<_> = log.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [WebhookReceived, UpdateAvailable]);
        assert!(
            log.iter()
                .all(|event| event.correlation_id == Some(correlation))
        );
        assert!(log.iter().all(|event| event.actor == "webhook-ingest"));
        assert_eq!(log[1].causation, Some(log[0].id));
        assert_eq!(log[0].subject.as_deref(), got["delivery_id"].as_str());
        let image = format!("ghcr.io/acme/app:v1@{}", digest(1));
        assert_eq!(log[1].subject.as_ref(), Some(&image));
        assert_eq!(log[1].data["digest"], digest(1));
        assert_eq!(log[1].data["actor"], "octo");
        let pushed: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(log[1].data["pushed_at"].clone()).unwrap();
        assert_eq!(
            pushed,
            at(1).parse::<chrono::DateTime<chrono::Utc>>().unwrap()
        );
    }
}
