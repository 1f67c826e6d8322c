//! Devices judged from their reports, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

use chrono::TimeDelta;
use std::time::Duration;
use windlass_bus::Bus;
use windlass_health_checker::{self as health, Counter};
use windlass_service::Deps;
use windlass_store::{Clock, rollbacks, verdicts};
use windlass_testkit::scenario::{Said, Scenario, clock, digest, image};
use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
use windlass_types::event::EventType;
use windlass_types::ids::DeviceId;
use windlass_types::policy::RolloutRule;
use windlass_types::target::TargetSource;

const GROUP: i64 = 100;

struct World {
    _kept: TestStore,
    clock: Clock,
    deps: Deps,
    counter: Counter,
    scenario: Scenario,
}

async fn worlds(devices: usize) -> Vec<World> {
    // A clock for each: one test moves them one after the other.
    let (one, other) = (clock(), clock());
    let stores = [
        (sqlite_with(one.clone()).await, one),
        (postgres_with(other.clone()).await, other),
    ];
    let mut worlds = Vec::new();
    for (kept, clock) in stores {
        let scenario = Scenario::begin(&kept.store, devices, &RolloutRule::default()).await;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        worlds.push(World {
            counter: Counter::new(&deps.metrics).unwrap(),
            deps,
            clock,
            scenario,
            _kept: kept,
        });
    }
    worlds
}

impl World {
    fn device(&self, at: usize) -> DeviceId {
        self.scenario.devices[at]
    }

    fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn pass(&self) {
        health::reports(&self.deps, &self.counter, GROUP)
            .await
            .unwrap();
        health::due(&self.deps, &self.counter, GROUP).await.unwrap();
        health::returned(&self.deps, &self.counter, GROUP)
            .await
            .unwrap();
    }

    /// Passes until the device stands there: readers see events only once every older transaction,
    /// of any test on the server, has ended.
    async fn until(&self, at: usize, status: &str) {
        eventually(status, Duration::from_secs(20), async || {
            self.pass().await;
            self.status(at).await == status
        })
        .await;
    }

    async fn status(&self, at: usize) -> String {
        self.scenario.row(self.device(at)).await.status
    }

    async fn count(&self, kind: EventType) -> i64 {
        self.scenario
            .events()
            .await
            .get(&kind)
            .copied()
            .unwrap_or(0)
    }
}

#[tokio::test]
async fn a_device_or_a_rollout_that_cannot_be_read_stops_no_other() {
    for world in worlds(2).await {
        let (broken, fine) = (world.device(0), world.device(1));
        let set = async |sql: &'static str, json: serde_json::Value, device: DeviceId| {
            let mut tx = world.deps.store.begin().await.unwrap();
            tx.sql(sql)
                .bind(windlass_store::Json(json))
                .bind(device.0)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        let v2 = image(2);
        for device in [broken, fine] {
            let said = Said::running(2, &v2, "c2");
            world.scenario.report(device, &said).await;
        }
        set(
            "UPDATE device_current_state SET observation = $1 WHERE device_uuid = $2",
            serde_json::json!({"services": 7}),
            broken,
        )
        .await;
        world.until(1, "verifying").await;
        world.wait(31);
        world.scenario.poll(fine).await;
        world.until(1, "completed").await;
        assert_eq!(world.status(0).await, "scheduled");
        // Its time comes, and it is set aside.
        world.wait(3600);
        world.pass().await;
        let check_at = world.scenario.row(broken).await.check_at.unwrap();
        let now = world.deps.store.read().await.unwrap().now();
        assert!(check_at > now);
        // The same with all of a rollout.
        set(
            "UPDATE image_rollouts SET rule = $1 WHERE id <> $2",
            serde_json::json!(7),
            broken,
        )
        .await;
        set(
            "UPDATE device_current_state SET observation = $1 WHERE device_uuid = $2",
            serde_json::json!({"services": []}),
            broken,
        )
        .await;
        world.wait(3600);
        world.pass().await;
        let later = world.scenario.row(broken).await.check_at.unwrap();
        assert!(later > check_at);
    }
}

#[tokio::test]
async fn a_device_is_healthy_after_its_window_and_not_before_it_is_seen_again() {
    for world in worlds(1).await {
        let device = world.device(0);
        let (v1, v2) = (image(1), image(2));
        // As existing agents do it: the version is received, the old image still runs.
        world
            .scenario
            .report(device, &Said::running(2, &v1, "c1"))
            .await;
        world.until(0, "updating").await;
        world.wait(5);
        world
            .scenario
            .report(device, &Said::running(2, &v2, "c2"))
            .await;
        world.until(0, "verifying").await;
        world.wait(31);
        world.pass().await;
        assert_eq!(
            world.status(0).await,
            "verifying",
            "not seen after the window"
        );
        world.wait(8);
        world.scenario.poll(device).await;
        world.pass().await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.status.as_str(), row.verdict.as_deref()),
            ("completed", Some("healthy"))
        );
        assert_eq!(row.check_at, None);
        assert_eq!(world.scenario.last_good(device).await, Some(v2));
        world.wait(60);
        world.pass().await;
        for kind in [
            EventType::ContainerUpdating,
            EventType::VerificationStarted,
            EventType::HealthCheckPassed,
            EventType::UpdateCompleted,
        ] {
            assert_eq!(world.count(kind).await, 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_failed_pull_fails_at_the_deadline_and_is_remembered() {
    for world in worlds(1).await {
        let device = world.device(0);
        let said = Said {
            version: Some(2),
            service: None,
        };
        world.scenario.report(device, &said).await;
        world.until(0, "updating").await;
        world.wait(299);
        world.scenario.poll(device).await;
        world.pass().await;
        assert_eq!(world.status(0).await, "updating");
        world.wait(10);
        world.scenario.poll(device).await;
        world.wait(10);
        world.pass().await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("failed", Some("absent"))
        );
        assert!(row.check_at.is_some(), "it waits for rollback-manager");
        assert_eq!(world.scenario.last_good(device).await, Some(image(1)));
        let mut read = world.deps.store.read().await.unwrap();
        let good = rollbacks::good_images(&mut read, &[device]).await.unwrap();
        assert!(good.failed[&device].contains(&digest(2)));
        assert_eq!(world.count(EventType::HealthCheckFailed).await, 1);
        assert_eq!(world.count(EventType::UpdateFailed).await, 1);
    }
}

#[tokio::test]
async fn a_last_good_image_that_fails_is_good_no_more() {
    for world in worlds(1).await {
        let device = world.device(0);
        world.wait(1);
        let mut tx = world.deps.store.begin().await.unwrap();
        let proved = verdicts::LastGood {
            device,
            app_id: 1,
            service_id: 1,
            image: image(2),
            rollout: None,
        };
        verdicts::last_good(&mut tx, &[proved]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.scenario.last_good(device).await, Some(image(2)));
        world.scenario.fail(device).await;
        // The one before is again.
        assert_eq!(world.scenario.last_good(device).await, Some(image(1)));
    }
}

#[tokio::test]
async fn a_crash_loop_fails_at_once() {
    for world in worlds(1).await {
        let device = world.device(0);
        let v2 = image(2);
        for container in ["a", "b", "c", "d"] {
            world.wait(2);
            world
                .scenario
                .report(device, &Said::running(2, &v2, container))
                .await;
        }
        world.until(0, "failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(row.reason.as_deref(), Some("crash_loop"));
    }
}

#[tokio::test]
async fn a_silent_device_is_unreachable_and_goes_on_when_it_is_back() {
    for world in worlds(2).await {
        let device = world.device(0);
        world.wait(3600);
        world.pass().await;
        for at in 0..2 {
            let row = world.scenario.row(world.device(at)).await;
            assert_eq!(
                (row.status.as_str(), row.verdict.as_deref()),
                ("unreachable", None)
            );
        }
        world.pass().await;
        assert_eq!(world.count(EventType::DeviceUnreachable).await, 2);
        world.wait(86_400);
        world.scenario.poll(device).await;
        world.pass().await;
        let row = world.scenario.row(device).await;
        assert_eq!(row.status, "updating");
        assert_eq!(
            row.deadline_at,
            Some(world.clock.now() + TimeDelta::seconds(300))
        );
        world
            .scenario
            .report(device, &Said::running(2, &image(2), "c2"))
            .await;
        world.wait(31);
        world.scenario.poll(device).await;
        world.until(0, "completed").await;
        assert_eq!(world.status(1).await, "unreachable");
    }
}

#[tokio::test]
async fn replayed_reports_change_no_verdict() {
    for world in worlds(1).await {
        let device = world.device(0);
        world
            .scenario
            .report(device, &Said::running(2, &image(2), "c2"))
            .await;
        let old = image(1);
        let replayed = Said {
            version: None,
            service: Some((&old, "c1", "exited")),
        };
        for _ in 0..5 {
            world.wait(10);
            world.scenario.report(device, &replayed).await;
            world.pass().await;
        }
        world.until(0, "completed").await;
        world.wait(10);
        world.scenario.report(device, &replayed).await;
        world.pass().await;
        assert_eq!(world.status(0).await, "completed");
    }
}

#[tokio::test]
async fn a_device_with_another_target_is_left_out() {
    for world in worlds(2).await {
        let (changed, kept) = (world.device(0), world.device(1));
        world
            .scenario
            .set_target(changed, &image(9), TargetSource::Operator)
            .await;
        world
            .scenario
            .set_target(kept, &image(2), TargetSource::Operator)
            .await;
        for device in [changed, kept] {
            world
                .scenario
                .report(device, &Said::running(3, &image(2), "c2"))
                .await;
        }
        world.until(0, "skipped").await;
        let row = world.scenario.row(changed).await;
        assert_eq!(row.reason.as_deref(), Some("target_changed"));
        world.wait(40);
        world.scenario.poll(kept).await;
        world.until(1, "completed").await;
    }
}

#[tokio::test]
async fn a_finished_or_paused_rollout_still_judges_its_devices() {
    for world in worlds(1).await {
        let mut tx = world.deps.store.begin().await.unwrap();
        tx.sql("UPDATE image_rollouts SET status = 'paused'")
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world
            .scenario
            .report(world.device(0), &Said::running(2, &image(2), "c"))
            .await;
        world.wait(31);
        world.scenario.poll(world.device(0)).await;
        world.until(0, "completed").await;
    }
}

#[tokio::test]
async fn replicas_judge_each_device_once() {
    for world in worlds(20).await {
        for device in &world.scenario.devices {
            world
                .scenario
                .report(*device, &Said::running(2, &image(2), "c"))
                .await;
        }
        world.wait(31);
        for device in &world.scenario.devices {
            world.scenario.poll(*device).await;
        }
        let replica = || async {
            for _ in 0..10 {
                // What another got in the way of is tried again, as loops do.
                health::reports(&world.deps, &world.counter, 7).await.ok();
                health::due(&world.deps, &world.counter, 7).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        for at in 0..20 {
            world.until(at, "completed").await;
        }
        assert_eq!(world.count(EventType::UpdateCompleted).await, 20);
        assert_eq!(world.count(EventType::HealthCheckPassed).await, 20);
        assert_eq!(world.count(EventType::ContainerUpdating).await, 20);
    }
}

#[tokio::test]
async fn the_place_in_the_log_moves_only_with_the_verdicts() {
    for world in worlds(1).await {
        let device = world.device(0);
        world
            .scenario
            .report(device, &Said::running(2, &image(2), "c"))
            .await;
        // A pass up to the commit that never comes.
        eventually(
            "the event to be readable",
            Duration::from_secs(20),
            async || {
                let mut tx = world.deps.store.begin().await.unwrap();
                let changed = verdicts::changed(&mut tx, health::NAME, GROUP)
                    .await
                    .unwrap();
                windlass_store::events::advance(&mut tx, health::NAME, changed.from, changed.to)
                    .await
                    .unwrap();
                changed.devices.contains(&device)
            },
        )
        .await;
        assert_eq!(world.status(0).await, "scheduled");
        world.until(0, "verifying").await;
    }
}

#[tokio::test]
async fn the_service_judges_by_itself() {
    for kept in windlass_testkit::stores().await {
        let mut rule = RolloutRule::default();
        rule.health.stable_window_seconds = 1;
        let scenario = Scenario::begin(&kept.store, 3, &rule).await;
        let mut config = windlass_service::config::Config::default();
        config.health.scan_ms = 100;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        let part = health::part(&config, &deps).await.unwrap();
        let listener = windlass_service::listen("127.0.0.1:0").unwrap();
        let (http, shutdown) = (config.http.clone(), deps.shutdown.clone());
        let devices = async {
            eventually("all to be healthy", Duration::from_secs(30), async || {
                let mut done = 0;
                for device in &scenario.devices {
                    scenario
                        .report(*device, &Said::running(2, &image(2), "c"))
                        .await;
                    done += usize::from(scenario.row(*device).await.status == "completed");
                }
                done == 3
            })
            .await;
            shutdown.cancel();
        };
        let (served, ()) = tokio::join!(
            windlass_service::serve(vec![part], &deps, &http, listener),
            devices
        );
        served.unwrap();
        let told = scenario.events().await;
        assert_eq!(told[&EventType::UpdateCompleted], 3);
    }
}
