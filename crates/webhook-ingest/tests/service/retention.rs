//! Old deliveries are let go, what came of them is not.

use crate::support::{Service, digest, distribution, ghcr};
use chrono::{TimeDelta, Utc};
use std::time::Duration;
use windlass_store::Clock;
use windlass_testkit::{eventually, stores_with};

#[tokio::test]
async fn old_bodies_are_dropped_and_old_deliveries_deleted_unless_a_version_came_from_them() {
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        let service = Service::start(&test.store).await;
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        let kept = service.deliver("open", &sent).await;
        service.deliver("open", &distribution("r.io", &[])).await;
        service
            .deliver("open", &ghcr("package", "2", "v1", Some(&digest(1)), 1))
            .await;
        clock.advance(TimeDelta::days(29));
        let ping = ghcr("ping", "3", "v1", None, 1);
        let young = service.deliver("open", &ping).await;
        clock.advance(TimeDelta::days(2));
        // Retention runs when a service starts, and then every hour.
        let later = Service::start(&test.store).await;
        eventually(
            "the old deliveries are gone",
            Duration::from_secs(10),
            async || {
                later.count("SELECT COUNT(*) FROM webhook_deliveries").await == 2
                    && later
                        .count("SELECT COUNT(*) FROM webhook_deliveries WHERE body IS NULL")
                        .await
                        == 1
            },
        )
        .await;
        let id = kept["delivery_id"].as_str().unwrap();
        let (_, detail) = later.get(&format!("deliveries/{id}")).await;
        assert_eq!(detail["body_kept"], false);
        assert_eq!(detail["body_bytes"], sent.body.len());
        assert_eq!(detail["images"], kept["images"]);
        let id = young["delivery_id"].as_str().unwrap();
        assert_eq!(
            later.get(&format!("deliveries/{id}")).await.1["body_kept"],
            true
        );
        let again = later.deliver("open", &sent).await;
        assert_eq!(
            again["delivery_id"], kept["delivery_id"],
            "it is still known"
        );
    }
}
