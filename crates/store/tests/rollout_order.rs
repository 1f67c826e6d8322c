//! The order of devices in a rollout: both databases and the core compute the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use windlass_core::batches;
use windlass_store::Store;
use windlass_store::rollouts::{self, NewRollout, Scope, Spread};
use windlass_testkit::{fleet, stores};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId};
use windlass_types::image::Repository;
use windlass_types::policy::{BatchSize, RolloutRule, TagRule};
use windlass_types::rollout::RolloutStatus;

#[tokio::test]
async fn databases_order_devices_as_the_core_does() {
    for test in stores().await {
        let devices = fleet::add(&test.store, "north", 0..60, &["r.io/demo/app:v1"]).await;
        let mut read = test.store.read().await.unwrap();
        let repository = "r.io/demo/app".parse().unwrap();
        let images = rollouts::images_in_use(&mut read, &repository)
            .await
            .unwrap();
        assert_eq!(images, ["r.io/demo/app:v1"]);
        for seed in [0, 1, -1, i64::MAX, i64::MIN] {
            let order = batches::coefficients(seed);
            let scope = Scope::new(repository.clone(), images.clone(), order);
            let preview = rollouts::preview(&mut read, &scope, 100).await.unwrap();
            assert_eq!((preview.eligible, preview.total()), (60, 60));
            let mut expected = devices.clone();
            expected.sort_by_key(|device| {
                (
                    batches::order_key(batches::shuffle_of(*device), order),
                    *device,
                )
            });
            let found: Vec<_> = preview.devices.iter().map(|d| d.device).collect();
            assert_eq!(found, expected, "seed {seed}");
            assert!(preview.devices.iter().map(|d| d.place).eq(1..=60));
            assert_eq!(preview.groups.len(), 1);
        }
    }
}

/// Which devices a rollout of this scope has in which batch, made with this knowledge of their order.
async fn dealt(
    store: &Store,
    scope: &Scope,
    rule: &RolloutRule,
    spread: Option<Spread>,
) -> BTreeMap<DeviceId, i64> {
    let mut tx = store.begin_snapshot().await.unwrap();
    let preview = rollouts::preview(&mut tx, scope, 0).await.unwrap();
    let id = RolloutId(uuid::Uuid::now_v7());
    let made = NewRollout {
        id,
        policy: None,
        delivery: None,
        version: None,
        trigger: None,
        tag: Some("v2".to_owned()),
        scope: scope.clone(),
        rule: rule.clone(),
        tag_rule: TagRule::default(),
        priority: 0,
        seed: 0,
        status: RolloutStatus::Pending,
        layout: batches::layout(&preview.groups, rule).unwrap(),
        spread: spread.unwrap_or(preview.spread),
        correlation: CorrelationId(uuid::Uuid::now_v7()),
        created_by: "test".to_owned(),
    };
    rollouts::create(&mut tx, &made).await.unwrap();
    let rows: Vec<(uuid::Uuid, i64)> = tx
        .sql("SELECT device_uuid, batch FROM device_rollout_status WHERE rollout_id = $1")
        .bind(id.0)
        .all()
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    rows.into_iter()
        .map(|(device, batch)| (DeviceId(device), batch))
        .collect()
}

#[tokio::test]
async fn batches_hold_the_same_devices_whether_all_places_are_known_or_only_the_ends() {
    for test in stores().await {
        let devices = fleet::add(&test.store, "north", 0..150, &["r.io/demo/app:v1"]).await;
        let mut tx = test.store.begin().await.unwrap();
        for device in &devices[..40] {
            let (key, value) = ("ring", "canary");
            tx.sql("INSERT INTO device_tags (device_uuid, key, value) VALUES ($1, $2, $3)")
                .bind(device.0)
                .bind(key.to_owned())
                .bind(value.to_owned())
                .execute()
                .await
                .unwrap();
        }
        tx.sql("UPDATE devices SET enabled = $1 WHERE uuid = $2")
            .bind(false)
            .bind(devices[70].0)
            .execute()
            .await
            .unwrap();
        // Equals, between whom the uuid decides: all of one part, and across the end of a batch.
        tx.sql("UPDATE devices SET shuffle = 77 WHERE uuid > $1")
            .bind(devices[75].0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let repository: Repository = "r.io/demo/app".parse().unwrap();
        let images = vec!["r.io/demo/app:v1".to_owned()];
        let staged = RolloutRule {
            batches: [1, 10, 50, 99].map(BatchSize::Percent).to_vec(),
            ..RolloutRule::default()
        };
        for (chosen, by, seed) in [
            (false, None, 3),
            (false, None, -9),
            (true, None, 3),
            (false, Some("ring"), 3),
        ] {
            let mut scope = Scope::new(
                repository.clone(),
                images.clone(),
                batches::coefficients(seed),
            );
            scope.batch_by = by.map(str::to_owned);
            if chosen {
                scope.chosen = BTreeMap::from([("ring".to_owned(), "canary".to_owned())]);
            }
            let all = dealt(&test.store, &scope, &staged, Some(Spread::default())).await;
            let ends = dealt(&test.store, &scope, &staged, None).await;
            assert_eq!(all, ends, "chosen {chosen}, by {by:?}, seed {seed}");
            let mut read = test.store.read().await.unwrap();
            let preview = rollouts::preview(&mut read, &scope, 200).await.unwrap();
            let layout = batches::layout(&preview.groups, &staged).unwrap();
            assert_eq!((preview.eligible, layout.batches()), (149, 5));
            for shown in preview.devices {
                let batch = match shown.skip {
                    None => layout.batch_of(shown.value.as_deref(), shown.place),
                    Some(_) => layout.batches(),
                };
                assert_eq!(ends[&shown.device], batch, "{shown:?}");
            }
        }
    }
}
