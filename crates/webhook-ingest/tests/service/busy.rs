//! A database that does not answer in time.

use crate::support::{Service, config, digest, ghcr};
use std::time::{Duration, Instant};
use windlass_store::Kind;
use windlass_testkit::{eventually, stores};

#[tokio::test]
async fn while_the_store_is_blocked_senders_are_told_to_come_again_and_then_are_taken_once() {
    for test in stores().await {
        let mut config = config();
        config.webhooks.store_timeout_ms = 300;
        let service = Service::start_with(&test.store, &config).await;
        // Another writer that takes its time: over the table, or over the whole file.
        let mut blocker = test.store.begin().await.unwrap();
        if blocker.kind() == Kind::Postgres {
            let lock = "LOCK TABLE webhook_deliveries IN ACCESS EXCLUSIVE MODE";
            blocker.sql(lock).execute().await.unwrap();
        }
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        let begun = Instant::now();
        // More at once than there are connections.
        let waiting = (0..30).map(|_| sent.on(service.post("open")).send());
        for response in futures_util::future::join_all(waiting).await {
            let response = response.unwrap();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        blocker.rollback().await.unwrap();
        eventually("the sender is taken", Duration::from_secs(10), async || {
            sent.on(service.post("open")).send().await.unwrap().status() == 202
        })
        .await;
        assert_eq!(
            service
                .count("SELECT COUNT(*) FROM webhook_deliveries")
                .await,
            1
        );
        assert_eq!(
            service.count("SELECT COUNT(*) FROM image_versions").await,
            1
        );
    }
}
