//! How endpoints are doing.

use crate::support::{SECRET, Service, answer, digest, ghcr, hub};
use serde_json::Value;
use windlass_testkit::stores;

fn of<'a>(all: &'a Value, endpoint: &str) -> &'a Value {
    let mut all = all.as_array().unwrap().iter();
    all.find(|health| health["endpoint"] == endpoint).unwrap()
}

#[tokio::test]
async fn an_endpoint_tells_what_it_took_what_it_left_and_what_it_refused() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let (_, all) = service.get("endpoints").await;
        let fresh = of(&all, "docker-registry");
        assert_eq!(
            (&fresh["received"], &fresh["authenticated"]),
            (&0.into(), &true.into())
        );
        assert!(fresh["last_received_at"].is_null() && fresh["last_refusal"].is_null());
        assert_eq!(
            of(&all, "open")["authenticated"],
            false,
            "a hole that shows"
        );

        let path = format!("docker-registry/{SECRET}");
        service.deliver(&path, &hub("v1", 1)).await;
        let push = |id: &str| ghcr("package", id, "v1", Some(&digest(1)), 1);
        service.deliver(&path, &push("1")).await;
        service.deliver(&path, &push("1")).await;
        service.deliver(&path, &push("2")).await;
        for id in ["3", "4"] {
            service
                .deliver(&path, &ghcr("ping", id, "v1", None, 1))
                .await;
        }
        service
            .deliver(&path, &ghcr("star", "5", "v1", None, 1))
            .await;
        answer(service.post(&path).body("{}")).await;
        for _ in 0..3 {
            answer(push("9").on(service.post("docker-registry/wrong"))).await;
        }
        let (status, all) = service.get("endpoints").await;
        assert_eq!(status, 200, "{all}");
        let health = of(&all, "docker-registry");
        for (field, count) in [
            ("received", 7),
            ("accepted", 2),
            ("duplicate", 1),
            ("rejected", 1),
        ] {
            assert_eq!(health[field], count, "{field}: {health}");
        }
        assert_eq!(health["ignored"]["ping"]["count"], 2, "{health}");
        let share = health["ignored"]["ping"]["share"].as_f64().unwrap();
        assert!((share - 2.0 / 7.0).abs() < 1e-9, "{share}");
        assert_eq!(health["ignored"]["event_type"]["count"], 1);
        assert!(health["last_received_at"].is_string() && health["last_accepted_at"].is_string());
        assert_eq!(health["last_refusal"]["reason"], "unauthorized", "{health}");
        assert_eq!(health["last_refusal"]["count"], 3);
        assert_eq!(health["refusals"].as_array().unwrap().len(), 2, "{health}");
        assert!(!all.to_string().contains(SECRET));
        assert_eq!(service.get("endpoints?days=0").await.0, 400);
        assert_eq!(service.get("endpoints?days=30").await.0, 200);
        let url = format!("{}/endpoints", service.url);
        assert_eq!(answer(service.client.get(url)).await.0, 401);

        let page = service.metrics().await;
        for line in [
            "windlass_webhook_endpoint_deliveries_total{decision=\"ignored\",endpoint=\"docker-registry\",reason=\"ping\"} 2",
            "windlass_webhook_endpoint_deliveries_total{decision=\"unauthorized\",endpoint=\"docker-registry\",reason=\"\"} 3",
            "windlass_webhook_endpoint_last_timestamp_seconds{decision=\"accepted\",endpoint=\"docker-registry\"} ",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
