//! Devices that fail for reasons that are not the image's, on both databases.

#![allow(clippy::unwrap_used, reason = "tests are to fail loudly")]

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::time::Duration;
use windlass_bus::Bus;
use windlass_core::observe;
use windlass_health_checker::{self as health, Counter};
use windlass_service::Deps;
use windlass_store::{Clock, events, presence, reports, rollbacks, rollouts};
use windlass_testkit::scenario::{Scenario, clock, image};
use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::policy::RolloutRule;
use windlass_types::report::Report;

struct World {
    _kept: TestStore,
    clock: Clock,
    deps: Deps,
    counter: Counter,
    scenario: Scenario,
}

async fn world(kept: TestStore, clock: Clock) -> World {
    let scenario = Scenario::begin(&kept.store, 1, &RolloutRule::default()).await;
    let deps = Deps::new(kept.store.clone(), Bus::local());
    World {
        counter: Counter::new(&deps.metrics).unwrap(),
        deps,
        clock,
        scenario,
        _kept: kept,
    }
}

async fn worlds() -> Vec<World> {
    let (one, other) = (clock(), clock());
    vec![
        world(sqlite_with(one.clone()).await, one).await,
        world(postgres_with(other.clone()).await, other).await,
    ]
}

impl World {
    async fn pass(&self) {
        health::reports(&self.deps, &self.counter, 100)
            .await
            .unwrap();
        health::due(&self.deps, &self.counter, 100).await.unwrap();
    }

    async fn until(&self, device: DeviceId, status: &str) {
        eventually(status, Duration::from_secs(20), async || {
            self.pass().await;
            self.scenario.row(device).await.status == status
        })
        .await;
    }

    /// Our agent tells that the update failed, and why.
    async fn fails(&self, device: DeviceId, version: i64, kind: &str) {
        let body = json!({"version": version, "apps": {"1": {"appId": 1, "services": [
            {"serviceId": 1, "imageName": image(1), "containerId": "c1", "status": "running",
             "phase": "failed", "error": {"type": kind, "message": format!("no, {version}")}}]}}});
        let report: Report = serde_json::from_value(body.clone()).unwrap();
        let mut tx = self.deps.store.begin().await.unwrap();
        let now = tx.now();
        let known = reports::before(&mut tx, &[device]).await.unwrap();
        let known = &known[&device];
        let observation = observe::fold(&known.observation, &report, now).observation;
        presence::seen(&mut tx, &[(device, now)]).await.unwrap();
        let taken = reports::Taken {
            device,
            revision: known.revision,
            report: (&body).into(),
            report_id: None,
            said_time_zone: None,
            observation,
        };
        let overtaken = reports::store(&mut tx, vec![taken]).await.unwrap();
        assert_eq!(overtaken, [].into());
        let event = NewEvent::new(EventType::StateChanged, "device").device(device);
        events::append(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn retry(&self) -> (i64, Option<DateTime<Utc>>) {
        let mut read = self.deps.store.read().await.unwrap();
        read.sql("SELECT retries, retry_at FROM device_rollout_status")
            .one()
            .await
            .unwrap()
    }

    /// The planner admits the device again.
    async fn admitted_again(&self, retries: i64, version: i64) {
        let now = self.clock.now();
        let mut tx = self.deps.store.begin().await.unwrap();
        tx.sql(
            "UPDATE device_rollout_status SET status = 'scheduled', retries = $1, \
             target_version = $2, admitted_at = $3, check_at = $4, deadline_at = $5, \
             retry_at = NULL, reason = NULL, updated_at = $6",
        )
        .bind(retries)
        .bind(version)
        .bind(now)
        .bind(now + TimeDelta::seconds(300))
        .bind(now + TimeDelta::seconds(300))
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn count(&self, kind: EventType) -> i64 {
        self.scenario
            .events()
            .await
            .get(&kind)
            .copied()
            .unwrap_or(0)
    }

    /// The image is condemned on no account.
    async fn condemns_nothing(&self, device: DeviceId) {
        let mut read = self.deps.store.read().await.unwrap();
        let good = rollbacks::good_images(&mut read, &[device]).await.unwrap();
        assert!(
            good.failed
                .get(&device)
                .is_none_or(|failed| failed.is_empty())
        );
        assert_eq!(self.scenario.last_good(device).await, Some(image(1)));
    }
}

#[tokio::test]
async fn a_device_without_room_is_tried_again_and_fails_in_the_end_without_a_word_on_the_image() {
    for world in worlds().await {
        let device = world.scenario.devices[0];
        world.fails(device, 2, "disk").await;
        world.until(device, "pending").await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.reason.as_deref(), row.verdict, row.check_at),
            (Some("disk_error"), None, None)
        );
        let at = world.clock.now() + TimeDelta::seconds(60);
        assert_eq!(world.retry().await, (1, Some(at)));
        assert_eq!(world.count(EventType::RetryScheduled).await, 1);
        assert_eq!(world.count(EventType::UpdateFailed).await, 0);
        world.condemns_nothing(device).await;
        // Its last retry.
        world.clock.advance(TimeDelta::seconds(600));
        world.admitted_again(3, 3).await;
        world.clock.advance(TimeDelta::seconds(5));
        world.fails(device, 3, "disk").await;
        world.until(device, "failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.reason.as_deref(), row.verdict.as_deref()),
            (Some("disk_error"), Some("environment"))
        );
        assert!(row.check_at.is_some(), "it waits for rollback-manager");
        assert_eq!(world.count(EventType::UpdateFailed).await, 1);
        assert_eq!(
            world.count(EventType::ContainerUpdating).await,
            2,
            "each try tells its steps"
        );
        world.condemns_nothing(device).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_a_turn_in_a_rollout_that_has_ended() {
    for world in worlds().await {
        let device = world.scenario.devices[0];
        let mut tx = world.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql("UPDATE image_rollouts SET status = 'cancelled', finished_at = $1")
            .bind(now)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.fails(device, 2, "registry").await;
        world.until(device, "failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(row.verdict.as_deref(), Some("environment"));
    }
}

#[tokio::test]
async fn a_rollout_that_somebody_changes_at_this_moment_is_not_waited_for() {
    let clock = clock();
    let world = world(postgres_with(clock.clone()).await, clock).await;
    let device = world.scenario.devices[0];
    world.fails(device, 2, "network").await;
    let mut changing = world.deps.store.begin().await.unwrap();
    rollouts::lock(&mut changing, world.scenario.rollout)
        .await
        .unwrap();
    let soon = world.clock.now() + TimeDelta::seconds(1);
    eventually(
        "the device to be put off",
        Duration::from_secs(20),
        async || {
            world.pass().await;
            world.scenario.row(device).await.check_at == Some(soon)
        },
    )
    .await;
    assert_eq!(world.scenario.row(device).await.status, "scheduled");
    changing.rollback().await.unwrap();
    world.clock.advance(TimeDelta::seconds(2));
    world.until(device, "pending").await;
    assert_eq!(world.count(EventType::RetryScheduled).await, 1);
}
