//! Checks run against real servers on this machine, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

mod devices;
mod gates;
mod world;

use windlass_bus::Bus;
use windlass_health_checker as health;
use windlass_service::Deps;

#[tokio::test]
async fn what_is_no_target_keeps_the_service_from_starting() {
    let kept = windlass_testkit::sqlite().await;
    let deps = Deps::new(kept.store.clone(), Bus::local());
    let mut config = windlass_service::config::Config::default();
    config.health.allowed_targets = vec!["10.0.0.1/8".to_owned()];
    let error = health::part(&config, &deps).await.err().unwrap();
    assert!(
        error.to_string().contains("health.allowed_targets"),
        "{error}"
    );
}
