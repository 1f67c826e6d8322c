//! Deliveries found again, shown as they came, read again and tried out.

use crate::support::{
    Delivery, OPERATOR, Service, answer, config, digest, distribution, ghcr, hub, open,
};
use chrono::{TimeDelta, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use windlass_store::Clock;
use windlass_testkit::{stores, stores_with};
use windlass_types::event::EventType;

async fn found(service: &Service, query: &str) -> Vec<String> {
    let (status, page) = service.get(&format!("deliveries?{query}")).await;
    assert_eq!(status, 200, "{query}: {page}");
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["sender"].as_str().unwrap().to_owned())
        .collect()
}

async fn replay(service: &Service, id: &str) -> (StatusCode, Value) {
    let request = service.post(&format!("deliveries/{id}/replay"));
    answer(request.bearer_auth(OPERATOR)).await
}

#[tokio::test]
async fn deliveries_are_found_by_what_is_known_of_them() {
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        let service = Service::start(&test.store).await;
        let begun = clock.now();
        service
            .deliver("open", &ghcr("package", "1", "v1", Some(&digest(1)), 1))
            .await;
        service.deliver("open", &hub("v1", 1)).await;
        clock.advance(TimeDelta::hours(1));
        let later = clock.now();
        let two = distribution("r.io", &[("v1", &digest(1), 1), ("v2", &digest(2), 2)]);
        service.deliver("open-two", &two).await;
        service
            .deliver("open", &ghcr("ping", "2", "v1", None, 1))
            .await;
        answer(service.post("open").body("{\"hello\": 1}")).await;
        let time = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let cases = [
            (
                "",
                vec!["unknown", "ghcr", "distribution", "docker_hub", "ghcr"],
            ),
            ("endpoint=open-two", vec!["distribution"]),
            ("sender=ghcr", vec!["ghcr", "ghcr"]),
            (
                "decision=accepted",
                vec!["distribution", "docker_hub", "ghcr"],
            ),
            ("decision=ignored", vec!["ghcr"]),
            ("decision=rejected", vec!["unknown"]),
            ("reason=ping", vec!["ghcr"]),
            ("reason=malformed", vec!["unknown"]),
            ("repository=ghcr.io/acme/app", vec!["ghcr"]),
            ("repository=docker.io/acme/app", vec!["docker_hub"]),
            ("repository=acme/app", vec!["docker_hub"]),
            ("repository=r.io/demo/app", vec!["distribution"]),
            ("repository=r.io/demo", vec![]),
            ("sender=ghcr&decision=accepted", vec!["ghcr"]),
            ("limit=2", vec!["unknown", "ghcr"]),
        ];
        for (query, expected) in cases {
            assert_eq!(found(&service, query).await, expected, "{query}");
        }
        let since = format!("since={}", time(later));
        assert_eq!(found(&service, &since).await.len(), 3);
        let until = format!("until={}&since={}", time(later), time(begun));
        assert_eq!(found(&service, &until).await, ["docker_hub", "ghcr"]);
        for wrong in ["since=yesterday", "reason=x", "repository=UPPER CASE"] {
            let (status, problem) = service.get(&format!("deliveries?{wrong}")).await;
            assert_eq!(status, 400, "{problem}");
        }
    }
}

#[tokio::test]
async fn a_body_is_shown_as_it_came_and_to_operators_only() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let sent = Delivery {
        headers: vec![],
        body: "  {\"image\": \"r.io/app:v1\"}\n".to_owned(),
    };
    let got = service.deliver("open", &sent).await;
    let id = got["delivery_id"].as_str().unwrap();
    let url = format!("{}/deliveries/{id}/body", service.url);
    assert_eq!(answer(service.client.get(&url)).await.0, 401);
    let shown = service
        .client
        .get(&url)
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap();
    assert_eq!(shown.headers()["content-type"], "application/octet-stream");
    assert_eq!(shown.headers()["x-content-type-options"], "nosniff");
    assert_eq!(shown.text().await.unwrap(), sent.body);
    let (status, _) = service
        .get("deliveries/00000000-0000-0000-0000-000000000000/body")
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_could_not_be_read_is_kept_and_read_once_it_can_be() {
    for test in stores().await {
        // A registry behind a proxy names no host, and nobody has said which it is.
        let service = Service::start(&test.store).await;
        let mut sent = distribution("r.io", &[("v1", &digest(1), 1)]);
        sent.body = sent.body.replace("\"host\":\"r.io\"", "\"host\":\"\"");
        let (status, problem) = answer(sent.on(service.post("open"))).await;
        assert_eq!(status, 400, "{problem}");
        let (_, page) = service.get("deliveries?decision=rejected").await;
        let rejected = &page["items"][0];
        assert_eq!(rejected["sender"], "distribution");
        assert!(
            rejected["detail"].as_str().unwrap().contains("registry"),
            "{rejected}"
        );
        let id = rejected["delivery_id"].as_str().unwrap();
        // Read again in the same way it is rejected in the same way.
        let (status, got) = replay(&service, id).await;
        assert_eq!(status, 200, "{got}");
        assert_eq!(
            (&got["before"], &got["decision"]),
            (&json!("rejected"), &json!("rejected"))
        );
        service.deps.shutdown.cancel();

        let mut config = config();
        let mut with = open(None);
        with.registry = Some("registry.example.com".to_owned());
        config.webhooks.endpoints.insert("open".to_owned(), with);
        let service = Service::start_with(&test.store, &config).await;
        assert_eq!(replay(&service, "no-id").await.0, 400);
        assert_eq!(
            replay(&service, "00000000-0000-0000-0000-000000000000")
                .await
                .0,
            404
        );
        let unknown = service.post(&format!("deliveries/{id}/replay"));
        assert_eq!(answer(unknown).await.0, 401);
        let (status, got) = replay(&service, id).await;
        assert_eq!(status, 200, "{got}");
        assert_eq!(got["decision"], "accepted");
        assert_eq!(got["new_versions"], 1);
        assert_eq!(
            got["delivery"]["images"][0]["registry"],
            "registry.example.com"
        );
        assert_eq!(service.events(EventType::UpdateAvailable).await, 1);
        assert_eq!(
            found(&service, "repository=registry.example.com/demo/app")
                .await
                .len(),
            1
        );
        // Twice is once.
        let (_, again) = replay(&service, id).await;
        assert_eq!(
            (&again["before"], &again["new_versions"]),
            (&json!("accepted"), &json!(0))
        );
        assert_eq!(again["delivery"]["images"], got["delivery"]["images"]);
        assert_eq!(again["delivery"]["decision"], "accepted");
        // The sender's own repetition, which has an id now, tells nothing new either.
        let repeated = service.deliver("open", &sent).await;
        assert_eq!(repeated["decision"], "duplicate", "{repeated}");
        assert_eq!(service.events(EventType::UpdateAvailable).await, 1);
        assert_eq!(
            service.count("SELECT COUNT(*) FROM image_versions").await,
            1
        );
    }
}

#[tokio::test]
async fn a_sender_that_repeats_what_could_not_be_read_is_read_by_the_program_of_now() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let mut sent = distribution("r.io", &[("v1", &digest(1), 1)]);
        sent.body = sent.body.replace("\"host\":\"r.io\"", "\"host\":\"\"");
        let body_only = Delivery {
            headers: vec![],
            // Without an id of its own the bytes tell the repetition.
            body: sent.body.replace("\"id\"", "\"no\""),
        };
        assert_eq!(answer(body_only.on(service.post("open"))).await.0, 400);
        service.deps.shutdown.cancel();
        let mut config = config();
        let mut with = open(None);
        with.registry = Some("registry.example.com".to_owned());
        config.webhooks.endpoints.insert("open".to_owned(), with);
        let service = Service::start_with(&test.store, &config).await;
        let got = service.deliver("open", &body_only).await;
        assert_eq!(got["decision"], "accepted", "{got}");
        let all = "SELECT COUNT(*) FROM webhook_deliveries";
        assert_eq!(service.count(all).await, 1, "it is the same delivery");
        assert_eq!(service.events(EventType::UpdateAvailable).await, 1);
    }
}

#[tokio::test]
async fn an_old_delivery_that_is_read_again_does_not_move_the_tag_back() {
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        let service = Service::start(&test.store).await;
        // Neither tells a time; the first cannot be read by a service that does not know its registry.
        let generic = |digest: &str, host: &str| Delivery {
            headers: vec![],
            body: json!({"image": format!("{host}demo/app:v1@{digest}")}).to_string(),
        };
        let old = generic(&digest(1), "");
        assert_eq!(answer(old.on(service.post("open"))).await.0, 400);
        let (_, page) = service.get("deliveries?decision=rejected").await;
        let id = page["items"][0]["delivery_id"].as_str().unwrap().to_owned();
        clock.advance(TimeDelta::days(1));
        service.deliver("open", &generic(&digest(2), "r.io/")).await;
        // Today's parser could read it: played by what was stored.
        let mut tx = test.store.begin().await.unwrap();
        tx.sql("UPDATE webhook_deliveries SET body = $1 WHERE rejected IS NOT NULL")
            .bind(generic(&digest(1), "r.io/").body.into_bytes())
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let (status, got) = replay(&service, &id).await;
        assert_eq!(status, 200, "{got}");
        assert_eq!(got["decision"], "duplicate", "{got}");
        assert_eq!(got["delivery"]["images"][0]["kind"], "stale", "{got}");
        assert_eq!(got["new_versions"], 0);
        assert_eq!(service.events(EventType::UpdateAvailable).await, 1);
    }
}

#[tokio::test]
async fn a_delivery_without_its_body_or_its_endpoint_is_not_read_again() {
    let test = windlass_testkit::sqlite().await;
    let mut config = config();
    config
        .webhooks
        .endpoints
        .insert("brief".to_owned(), open(None));
    let service = Service::start_with(&test.store, &config).await;
    let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
    let of_brief = service.deliver("brief", &sent).await;
    let of_open = service.deliver("open", &sent).await;
    service.deps.shutdown.cancel();
    let mut tx = test.store.begin().await.unwrap();
    tx.sql("UPDATE webhook_deliveries SET body = NULL WHERE endpoint = 'open'")
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let service = Service::start(&test.store).await;
    for (delivery, part) in [(of_brief, "brief"), (of_open, "no longer kept")] {
        let (status, got) = replay(&service, delivery["delivery_id"].as_str().unwrap()).await;
        assert_eq!(status, 409, "{got}");
        assert!(got["detail"].as_str().unwrap().contains(part), "{got}");
    }
}

#[tokio::test]
async fn a_delivery_is_tried_out_without_a_trace() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let try_out = async |sent: &Delivery, key: Option<&str>| {
        let mut request = sent.on(service.post("docker-registry/test"));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        answer(request).await
    };
    let push = ghcr("package", "1", "v1", Some(&digest(1)), 1);
    assert_eq!(
        try_out(&push, None).await.0,
        401,
        "an operator's key is needed"
    );
    let (status, got) = try_out(&push, Some(OPERATOR)).await;
    assert_eq!(status, 200, "{got}");
    assert_eq!(
        (&got["sender"], &got["decision"]),
        (&json!("ghcr"), &json!("accepted"))
    );
    assert_eq!(got["images"][0]["repository"], "acme/app");
    let (_, got) = try_out(&ghcr("ping", "1", "v1", None, 1), Some(OPERATOR)).await;
    assert_eq!(
        (&got["decision"], &got["reason_code"]),
        (&json!("ignored"), &json!("ping"))
    );
    for body in ["{\"hello\": 1}", "{", ""] {
        let wrong = Delivery {
            headers: vec![],
            body: body.to_owned(),
        };
        let (status, got) = try_out(&wrong, Some(OPERATOR)).await;
        assert_eq!(
            (status.as_u16(), &got["decision"]),
            (200, &json!("rejected")),
            "{got}"
        );
        assert!(!got["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        service
            .count("SELECT COUNT(*) FROM webhook_deliveries")
            .await,
        0
    );
    assert_eq!(service.count("SELECT COUNT(*) FROM events").await, 0);
}
