//! Deliveries that come at once, at two replicas.

use crate::support::{Delivery, Service, digest, distribution, ghcr};
use serde_json::Value;
use tokio::task::JoinSet;
use windlass_testkit::stores;
use windlass_types::event::EventType::{UpdateAvailable, WebhookReceived};

/// Sends all of these at once, half of them to each of two replicas.
async fn at_once(services: &[Service], deliveries: Vec<Delivery>) -> Vec<Value> {
    let mut sent = JoinSet::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let service = &services[number % services.len()];
        let request = delivery.on(service.post("open"));
        sent.spawn(async move { crate::support::answer(request).await });
    }
    let mut answers = Vec::new();
    while let Some(done) = sent.join_next().await {
        let (status, answer) = done.unwrap();
        assert_eq!(status, 202, "{answer}");
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn one_delivery_told_many_times_at_once_is_stored_once() {
    for test in stores().await {
        let services = [
            Service::start(&test.store).await,
            Service::start(&test.store).await,
        ];
        let deliveries = (0..16)
            .map(|_| ghcr("package", "1", "v1", Some(&digest(1)), 1))
            .collect();
        let answers = at_once(&services, deliveries).await;
        assert!(
            answers.iter().all(|answer| answer == &answers[0]),
            "{answers:?}"
        );
        let service = &services[0];
        let (_, page) = service.get("deliveries").await;
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        assert_eq!(page["items"][0]["received_count"], 16);
        assert_eq!(service.events(UpdateAvailable).await, 1);
        assert_eq!(service.events(WebhookReceived).await, 1);
    }
}

#[tokio::test]
async fn one_push_told_under_many_ids_at_once_makes_one_version() {
    for test in stores().await {
        let services = [
            Service::start(&test.store).await,
            Service::start(&test.store).await,
        ];
        // Envelopes in both orders, which would wait for each other if tags were not taken in order.
        let deliveries = (0..16)
            .map(|number| match number % 2 {
                0 => distribution("r.io", &[("a", &digest(1), 1), ("b", &digest(2), 1)]),
                _ => distribution("r.io", &[("b", &digest(2), 1), ("a", &digest(1), 1)]),
            })
            .collect();
        let answers = at_once(&services, deliveries).await;
        let accepted = answers
            .iter()
            .filter(|got| got["decision"] == "accepted")
            .count();
        assert_eq!(accepted, 1, "{answers:?}");
        let service = &services[0];
        assert_eq!(
            service.count("SELECT COUNT(*) FROM image_versions").await,
            2
        );
        assert_eq!(service.events(UpdateAvailable).await, 2);
        assert_eq!(service.events(WebhookReceived).await, 16);
    }
}

#[tokio::test]
async fn a_tag_moved_many_times_at_once_ends_on_the_last_push() {
    for test in stores().await {
        let services = [
            Service::start(&test.store).await,
            Service::start(&test.store).await,
        ];
        let deliveries = (1..=12)
            .map(|number| {
                ghcr(
                    "package",
                    &number.to_string(),
                    "v1",
                    Some(&digest(number)),
                    number,
                )
            })
            .collect();
        at_once(&services, deliveries).await;
        let service = &services[0];
        let mut session = service.deps.store.read().await.unwrap();
        let (present,): (String,) = session
            .sql("SELECT digest FROM image_versions WHERE replaced_at IS NULL")
            .one()
            .await
            .unwrap();
        assert_eq!(present, digest(12));
        let versions = service.count("SELECT COUNT(*) FROM image_versions").await;
        assert_eq!(service.events(UpdateAvailable).await, versions);
    }
}
