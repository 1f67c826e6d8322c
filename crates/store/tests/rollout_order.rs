//! The order of devices in a rollout: both databases and the core compute the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use windlass_core::batches;
use windlass_store::rollouts::{self, Scope};
use windlass_testkit::{fleet, stores};

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
