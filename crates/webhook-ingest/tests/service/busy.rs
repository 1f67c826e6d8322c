//! A database that does not answer in time.

use crate::support::{Service, config, digest, ghcr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use windlass_store::Kind;
use windlass_testkit::{eventually, stores};
use windlass_types::event::{EventType, NewEvent};

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

/// Writers beside the senders, and what each writes at once: reports of devices in a fleet.
const WRITERS: usize = 4;
const ROWS: usize = 50;
const SENDERS: u32 = 16;
const EACH: u32 = 25;
/// Long enough for a machine that is busy with other tests; how long answers take is for `scripts/bench`.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_busy_every_delivery_is_answered_and_kept_once() {
    for test in stores().await {
        let mut config = config();
        config.webhooks.requests_per_minute = 1_000_000;
        config.http.workers = 2;
        let service = Arc::new(Service::start_with(&test.store, &config).await);
        let busy = Arc::new(AtomicBool::new(true));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..WRITERS {
            let (store, busy) = (test.store.clone(), Arc::clone(&busy));
            writers.spawn(async move {
                let mut written = 0;
                while busy.load(Ordering::Relaxed) {
                    // Whoever waits for a connection for too long is sent away, here as well.
                    let Ok(mut tx) = store.begin().await else {
                        continue;
                    };
                    let event = || NewEvent::new(EventType::StateChanged, "a busy neighbour");
                    let events = std::iter::repeat_with(event).take(ROWS).collect();
                    windlass_store::events::append_all(&mut tx, events)
                        .await
                        .unwrap();
                    tx.commit().await.unwrap();
                    written += ROWS;
                }
                written
            });
        }
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let service = Arc::clone(&service);
            senders.spawn(async move {
                for number in 0..EACH {
                    let id = sender * EACH + number;
                    let tag = format!("v{id}");
                    let sent = ghcr("package", &id.to_string(), &tag, Some(&digest(id)), number);
                    let begun = Instant::now();
                    loop {
                        let response = sent.on(service.post("open")).send().await.unwrap();
                        if response.status() == 202 {
                            break;
                        }
                        // On a machine that is busy with other tests: come again.
                        assert_eq!(response.status(), 503);
                        assert!(response.headers().contains_key("retry-after"));
                        assert!(begun.elapsed() < PATIENCE, "{id} is never taken");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        senders.join_all().await;
        busy.store(false, Ordering::Relaxed);
        let written: usize = writers.join_all().await.iter().sum();
        assert!(written > 0);
        let kept = i64::from(SENDERS * EACH);
        for table in ["webhook_deliveries", "image_versions"] {
            let sql = ["SELECT COUNT(*) FROM ", table].concat();
            let mut read = test.store.read().await.unwrap();
            let (count,): (i64,) = read.built(sql).one().await.unwrap();
            assert_eq!(count, kept, "{table}");
        }
    }
}
