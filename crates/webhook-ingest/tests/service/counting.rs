//! What the metrics say of deliveries.

use crate::support::{SECRET, Service, answer, digest, ghcr};

#[tokio::test]
async fn deliveries_are_counted_by_sender_and_decision_and_no_secret_shows() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
    let path = format!("docker-registry/{SECRET}");
    service.deliver(&path, &sent).await;
    service.deliver(&path, &sent).await;
    service.deliver("open", &sent).await;
    service
        .deliver("open", &ghcr("ping", "2", "v1", None, 1))
        .await;
    assert_eq!(
        answer(sent.on(service.post("docker-registry/wrong")))
            .await
            .0,
        401
    );
    assert_eq!(answer(service.post("open").body("{}")).await.0, 400);
    let url = service.url.replace("/api/v1/webhooks", "/metrics");
    let page = service
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for (sender, decision, count) in [
        ("ghcr", "accepted", 1),
        ("ghcr", "repeated", 1),
        ("ghcr", "duplicate", 1),
        ("ghcr", "ignored", 1),
        ("unknown", "unauthorized", 1),
        ("unknown", "malformed", 1),
    ] {
        let line = format!(
            "windlass_webhook_deliveries_total{{decision=\"{decision}\",sender=\"{sender}\"}} {count}"
        );
        assert!(page.contains(&line), "{line}\n{page}");
    }
    assert!(
        !page.contains(SECRET),
        "the secret in an address shows nowhere"
    );
}
