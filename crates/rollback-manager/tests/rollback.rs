//! Pausing, quarantine and putting back, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

use chrono::TimeDelta;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_core::target::state_id;
use windlass_rollback_manager as manager;
use windlass_service::Deps;
use windlass_store::{Clock, Session, Store, commands, quarantine, rollbacks, rollouts, targets};
use windlass_testkit::scenario::{Said, Scenario, clock, digest, image};
use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
use windlass_types::event::EventType;
use windlass_types::ids::{CommandId, DeviceId};
use windlass_types::policy::{FailureRule, RolloutRule};
use windlass_types::rollout::{CommandKind, CommandOutcome};
use windlass_types::target::TargetSource;

const GROUP: i64 = 100;

struct World {
    _kept: TestStore,
    clock: Clock,
    deps: Deps,
    scenario: Scenario,
}

fn strict() -> RolloutRule {
    RolloutRule::default()
}

/// A rule under which nothing pauses by itself.
fn lax() -> RolloutRule {
    RolloutRule {
        failure: FailureRule {
            max_failure_rate: 1.0,
            max_consecutive_failures: 0,
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    }
}

async fn worlds(devices: usize, rule: &RolloutRule) -> Vec<World> {
    // A clock for each: one test moves them one after the other.
    let (one, other) = (clock(), clock());
    let stores = [
        (sqlite_with(one.clone()).await, one),
        (postgres_with(other.clone()).await, other),
    ];
    let mut worlds = Vec::new();
    for (kept, clock) in stores {
        let scenario = Scenario::begin(&kept.store, devices, rule).await;
        worlds.push(World {
            deps: Deps::new(kept.store.clone(), Bus::local()),
            clock,
            scenario,
            _kept: kept,
        });
    }
    worlds
}

impl World {
    fn store(&self) -> &Store {
        &self.deps.store
    }

    fn device(&self, at: usize) -> DeviceId {
        self.scenario.devices[at]
    }

    fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn pass(&self) {
        manager::commands(&self.deps, GROUP).await.unwrap();
        manager::budgets(&self.deps, GROUP).await.unwrap();
        manager::put_back(&self.deps, GROUP).await.unwrap();
        manager::reports(&self.deps, GROUP).await.unwrap();
        manager::due(&self.deps, GROUP).await.unwrap();
        manager::finish(&self.deps, GROUP).await.unwrap();
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

    async fn last_good(&self, at: usize, image: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.sql("UPDATE device_last_good SET image = $1 WHERE device_uuid = $2")
            .bind(image.to_owned())
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn forget_last_good(&self, at: usize) {
        let mut tx = self.store().begin().await.unwrap();
        tx.sql("DELETE FROM device_last_good WHERE device_uuid = $1")
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The device had this image before the rollout.
    async fn before(&self, at: usize, image: &str) {
        let mut tx = self.store().begin().await.unwrap();
        let state = windlass_testkit::scenario::state(image);
        let id = state_id(&state);
        targets::ensure_states(&mut tx, &[(id, state)].into())
            .await
            .unwrap();
        tx.sql("UPDATE device_rollout_status SET old_state_id = $1 WHERE device_uuid = $2")
            .bind(id.0)
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// These versions of a tag were pushed, one after the other; the last is the present one.
    async fn tag_versions(&self, tag: &str, versions: &[u8]) {
        let mut tx = self.store().begin().await.unwrap();
        let now = tx.now();
        for (at, version) in versions.iter().enumerate() {
            let seen = now - TimeDelta::hours(i64::try_from(versions.len() - at).unwrap());
            tx.sql(
                "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, \
                 correlation_id, replaced_at) VALUES ($1, $2, $3, $4, 'moved', $5, $6, $7)",
            )
            .bind(Uuid::now_v7())
            .bind("registry:5000/demo/app")
            .bind(tag.to_owned())
            .bind(digest(*version).to_string())
            .bind(seen)
            .bind(Uuid::now_v7())
            .bind((at + 1 < versions.len()).then_some(now))
            .execute()
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Another rollout gave the device this version and was overtaken.
    async fn overtaken(&self, at: usize, version: u8) {
        let mut tx = self.store().begin().await.unwrap();
        let (id, now) = (Uuid::now_v7(), tx.now());
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at, finished_at) SELECT $1, repository, 'old', $2, strategy, \
             rule, filters, tag_rule, seed, 'superseded', 1, 1, 1, $3, 'test', created_at, $4 \
             FROM image_rollouts WHERE id = $5",
        )
        .bind(id)
        .bind(digest(version).to_string())
        .bind(Uuid::now_v7())
        .bind(now)
        .bind(self.scenario.rollout.0)
        .execute()
        .await
        .unwrap();
        tx.sql(
            "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, \
             reason, target_version, admitted_at, updated_at) \
             VALUES ($1, $2, 1, 'skipped', 'target_changed', 1, $3, $4)",
        )
        .bind(id)
        .bind(self.device(at).0)
        .bind(now)
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn quarantine(&self, version: u8) {
        let mut tx = self.store().begin().await.unwrap();
        let repository = "registry:5000/demo/app".parse().unwrap();
        quarantine::add(
            &mut tx,
            &digest(version),
            &repository,
            None,
            "bad",
            json!({}),
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn order(&self, kind: CommandKind, device: Option<DeviceId>) -> CommandId {
        let id = CommandId(Uuid::now_v7());
        let command = commands::NewCommand {
            id,
            rollout: self.scenario.rollout,
            device,
            batch: None,
            kind,
            actor: "operator:ann".to_owned(),
            reason: "it smells".to_owned(),
        };
        let mut tx = self.store().begin().await.unwrap();
        commands::insert(&mut tx, &command).await.unwrap().unwrap();
        self.deps.commit(tx).await.unwrap();
        id
    }

    async fn outcome(&self, id: CommandId) -> CommandOutcome {
        let mut read = self.store().read().await.unwrap();
        commands::get(&mut read, id).await.unwrap().unwrap().outcome
    }
}

#[tokio::test]
async fn a_failed_device_goes_back_and_is_back_when_its_report_shows_it() {
    for world in worlds(2, &lax()).await {
        let (bad, fine) = (world.device(0), world.device(1));
        let (v1, v2) = (image(1), image(2));
        world
            .scenario
            .report(bad, &Said::running(2, &v2, "c2"))
            .await;
        world.scenario.fail(bad).await;
        world.pass().await;
        let row = world.scenario.row(bad).await;
        assert_eq!(row.status, "rolling_back");
        assert_eq!(row.reason.as_deref(), Some("crash_loop"));
        assert_eq!(row.rollback_image.as_deref(), Some(v1.as_str()));
        assert_eq!(row.rollback_version, Some(3));
        assert_eq!(world.scenario.target(bad).await, (3, v1.clone()));
        assert_eq!(world.scenario.target(fine).await, (2, v2.clone()));
        // The version is received; the bad image still runs.
        world.wait(1);
        world
            .scenario
            .report(bad, &Said::running(3, &v2, "c2"))
            .await;
        world.pass().await;
        assert_eq!(world.status(0).await, "rolling_back");
        world.wait(1);
        world
            .scenario
            .report(bad, &Said::running(3, &v1, "c3"))
            .await;
        world.until(0, "rolled_back").await;
        world.pass().await;
        let row = world.scenario.row(bad).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rolled_back", Some("crash_loop"))
        );
        assert_eq!(world.count(EventType::RollbackScheduled).await, 1);
        assert_eq!(world.count(EventType::DeviceRolledBack).await, 1);
    }
}

#[tokio::test]
async fn each_device_goes_back_to_its_own_last_good_image() {
    for world in worlds(4, &lax()).await {
        world.last_good(1, &image(7)).await;
        world.forget_last_good(2).await;
        world.last_good(3, &image(8)).await;
        world.quarantine(8).await;
        for at in 0..4 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let expected = [
            (image(1), "what it proved healthy on"),
            (image(7), "another device's own"),
            (image(1), "what it had before, where nothing was proved"),
            (image(1), "never a quarantined digest"),
        ];
        for (at, (image, why)) in expected.into_iter().enumerate() {
            assert_eq!(
                world.scenario.target(world.device(at)).await,
                (3, image),
                "{why}"
            );
        }
    }
}

#[tokio::test]
async fn a_tag_that_was_moved_is_not_where_a_device_goes_back_to() {
    for known in [true, false] {
        for world in worlds(1, &lax()).await {
            let bare = "registry:5000/demo/app:v2";
            let device = world.device(0);
            world.forget_last_good(0).await;
            world.before(0, bare).await;
            if known {
                world.tag_versions("v2", &[4, 5, 2]).await;
            }
            world.scenario.fail(device).await;
            world.pass().await;
            let row = world.scenario.row(device).await;
            let (version, image) = world.scenario.target(device).await;
            if known {
                assert_eq!((version, image), (3, format!("{bare}@{}", digest(5))));
            } else {
                assert_eq!(row.reason.as_deref(), Some("no_good_image"));
                assert_eq!(row.status, "rollback_failed");
            }
        }
    }
}

#[tokio::test]
async fn a_device_goes_back_to_what_it_really_ran_last() {
    for world in worlds(2, &lax()).await {
        for at in 0..2 {
            let device = world.device(at);
            // Set by hand long after v1 was proved.
            world.before(at, &image(9)).await;
            let (before, now) = (image(9), image(2));
            world
                .scenario
                .report(device, &Said::running(1, &before, "c1"))
                .await;
            world
                .scenario
                .report(device, &Said::running(2, &now, "c2"))
                .await;
        }
        // The second had it from a rollout that was overtaken before it was judged.
        world.overtaken(1, 9).await;
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let target = async |at| world.scenario.target(world.device(at)).await;
        assert_eq!(target(0).await, (3, image(9)));
        assert_eq!(target(1).await, (3, image(1)));
    }
}

#[tokio::test]
async fn a_device_with_nothing_good_to_go_back_to_says_so_and_keeps_its_target() {
    for world in worlds(1, &lax()).await {
        world.quarantine(1).await;
        world.scenario.fail(world.device(0)).await;
        world.pass().await;
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("no_good_image"))
        );
        assert_eq!(world.scenario.target(world.device(0)).await.0, 2);
        assert_eq!(world.count(EventType::DeviceRollbackFailed).await, 1);
    }
}

#[tokio::test]
async fn a_target_that_a_person_set_is_left_alone() {
    for world in worlds(3, &lax()).await {
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        // Another image, the very same image, and another rollout's change of something else.
        let device = |at| world.device(at);
        world
            .scenario
            .set_target(device(0), &image(9), TargetSource::Operator)
            .await;
        world
            .scenario
            .set_target(device(1), &image(2), TargetSource::Operator)
            .await;
        world
            .scenario
            .set_target(device(2), &image(2), TargetSource::Rollout)
            .await;
        world.pass().await;
        for at in 0..2 {
            let row = world.scenario.row(device(at)).await;
            assert_eq!(
                (row.status.as_str(), row.reason.as_deref()),
                ("failed", Some("target_changed"))
            );
            assert_eq!(row.check_at, None, "it is not looked at again");
        }
        assert_eq!(world.scenario.target(device(0)).await, (3, image(9)));
        assert_eq!(world.scenario.target(device(1)).await, (3, image(2)));
        assert_eq!(world.scenario.target(device(2)).await, (4, image(1)));
    }
}

#[tokio::test]
async fn a_device_given_another_target_on_its_way_back_is_let_go() {
    for world in worlds(1, &lax()).await {
        world.scenario.fail(world.device(0)).await;
        world.pass().await;
        world
            .scenario
            .set_target(world.device(0), &image(9), TargetSource::Operator)
            .await;
        world.wait(3600);
        world.pass().await;
        let row = world.scenario.row(world.device(0)).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("skipped", Some("target_changed"))
        );
        assert_eq!(world.scenario.target(world.device(0)).await, (4, image(9)));
    }
}

#[tokio::test]
async fn a_rollback_times_out_only_while_the_device_is_there() {
    for world in worlds(2, &lax()).await {
        let (there, silent) = (world.device(0), world.device(1));
        let v2 = image(2);
        for device in [there, silent] {
            world
                .scenario
                .report(device, &Said::running(2, &v2, "c2"))
                .await;
            world.scenario.fail(device).await;
        }
        world.pass().await;
        // Ten minutes is the default; polls every minute.
        for _ in 0..11 {
            world.wait(60);
            world.scenario.poll(there).await;
            world.pass().await;
        }
        let row = world.scenario.row(there).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rollback_failed", Some("rollback_timeout"))
        );
        let row = world.scenario.row(silent).await;
        assert_eq!(
            (row.status.as_str(), row.reason.as_deref()),
            ("rolling_back", Some("unreachable"))
        );
        // Back after a day, it has its time again.
        world.wait(86_400);
        world.pass().await;
        world
            .scenario
            .report(silent, &Said::running(3, &v2, "c2"))
            .await;
        world.pass().await;
        assert_eq!(world.status(1).await, "rolling_back");
        world.wait(30);
        world
            .scenario
            .report(silent, &Said::running(3, &image(1), "c3"))
            .await;
        world.until(1, "rolled_back").await;
    }
}

#[tokio::test]
async fn a_rollout_beyond_its_budget_pauses_once_and_its_digest_is_quarantined() {
    for world in worlds(10, &strict()).await {
        for at in 0..2 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        world.wait(1);
        world.scenario.fail(world.device(2)).await;
        world.pass().await;
        world.pass().await;
        assert_eq!(
            world.scenario.status().await,
            ("paused".to_owned(), Some("consecutive_failures".to_owned()))
        );
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::Quarantined).await, 1);
        let mut read = world.store().read().await.unwrap();
        let found = quarantine::get(&mut read, &digest(2))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.rollout_id, Some(world.scenario.rollout));
        assert_eq!(
            found.evidence["latest_failures"].as_array().unwrap().len(),
            3
        );
    }
}

#[tokio::test]
async fn devices_that_never_ran_a_bad_digest_are_put_back_too() {
    for world in worlds(7, &strict()).await {
        let (scheduled, running, silent) = (world.device(3), world.device(4), world.device(5));
        let v1 = image(1);
        world
            .scenario
            .report(scheduled, &Said::running(1, &v1, "c1"))
            .await;
        world
            .scenario
            .report(running, &Said::running(2, &image(2), "c2"))
            .await;
        world
            .scenario
            .report(silent, &Said::running(1, &v1, "c1"))
            .await;
        let mut tx = world.store().begin().await.unwrap();
        tx.sql("UPDATE device_rollout_status SET status = 'unreachable' WHERE device_uuid = $1")
            .bind(silent.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.status(3).await, "rolling_back");
        assert_eq!(world.scenario.target(scheduled).await, (3, v1.clone()));
        assert_eq!(world.status(5).await, "rolling_back");
        assert_eq!(world.scenario.target(silent).await, (3, v1.clone()));
        assert_eq!(world.status(6).await, "rolling_back", "it never reported");
        assert_eq!(
            world.status(4).await,
            "scheduled",
            "it runs it and is judged"
        );
        // What it ran before its new target is no proof.
        world.pass().await;
        assert_eq!(world.status(5).await, "rolling_back");
        world
            .scenario
            .report(silent, &Said::running(3, &v1, "c1"))
            .await;
        world.until(5, "rolled_back").await;
        assert_eq!(world.scenario.row(silent).await.verdict, None);
    }
}

#[tokio::test]
async fn a_resumed_rollout_is_not_paused_for_what_was_before() {
    for world in worlds(10, &strict()).await {
        for at in 3..6 {
            world
                .scenario
                .report(world.device(at), &Said::running(2, &image(2), "c2"))
                .await;
        }
        for at in 0..3 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        let mut tx = world.store().begin().await.unwrap();
        quarantine::lift(&mut tx, &digest(2), "operator:ann", "it was the network")
            .await
            .unwrap();
        rollouts::restart_failure_count(&mut tx, world.scenario.rollout)
            .await
            .unwrap();
        tx.sql("UPDATE image_rollouts SET status = 'in_progress', version = version + 1")
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "in_progress");
        world.wait(1);
        for at in 3..6 {
            world.scenario.fail(world.device(at)).await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "paused");
    }
}

#[tokio::test]
async fn quarantine_is_listed_and_lifted_once_and_forgives_devices() {
    for world in worlds(1, &strict()).await {
        world.scenario.fail(world.device(0)).await;
        for version in [3, 4, 5] {
            world.quarantine(version).await;
        }
        let mut tx = world.store().begin().await.unwrap();
        let repository = "registry:5000/demo/app".parse().unwrap();
        let again = quarantine::add(&mut tx, &digest(3), &repository, None, "again", json!({}))
            .await
            .unwrap();
        assert!(!again, "the first reason stays");
        let first = quarantine::list(&mut tx, None, 2).await.unwrap();
        let rest = quarantine::list(&mut tx, Some(&first[1].digest), 2)
            .await
            .unwrap();
        let digests: Vec<_> = first
            .iter()
            .chain(&rest)
            .map(|q| q.digest.clone())
            .collect();
        assert_eq!(digests, [digest(3), digest(4), digest(5)]);
        assert_eq!(first[0].reason, "bad");
        quarantine::add(
            &mut tx,
            &digest(2),
            &repository,
            Some(world.scenario.rollout),
            "bad",
            json!({}),
        )
        .await
        .unwrap();
        assert!(quarantine::contains(&mut tx, &digest(2)).await.unwrap());
        let why = "a false alarm";
        assert!(
            quarantine::lift(&mut tx, &digest(2), "operator:ann", why)
                .await
                .unwrap()
        );
        assert!(
            !quarantine::lift(&mut tx, &digest(2), "operator:ann", why)
                .await
                .unwrap()
        );
        assert!(!quarantine::contains(&mut tx, &digest(2)).await.unwrap());
        let failed = rollbacks::good_images(&mut tx, &[world.device(0)])
            .await
            .unwrap()
            .failed;
        assert!(failed.is_empty(), "it may be tried on the device again");
        tx.commit().await.unwrap();
        assert_eq!(world.count(EventType::QuarantineLifted).await, 1);
    }
}

#[tokio::test]
async fn a_digest_that_only_failed_on_devices_is_forgiven_too() {
    for world in worlds(1, &strict()).await {
        world.scenario.fail(world.device(0)).await;
        let mut tx = world.store().begin().await.unwrap();
        let lift = async |tx: &mut Session| {
            quarantine::lift(tx, &digest(2), "operator:ann", "a flat battery")
                .await
                .unwrap()
        };
        assert!(lift(&mut tx).await);
        assert!(!lift(&mut tx).await, "there is nothing left to forgive");
        let good = rollbacks::good_images(&mut tx, &[world.device(0)])
            .await
            .unwrap();
        assert!(good.failed.is_empty());
        tx.commit().await.unwrap();
        assert_eq!(world.count(EventType::QuarantineLifted).await, 1);
    }
}

#[tokio::test]
async fn failures_of_a_rollout_that_no_longer_runs_quarantine_its_digest_too() {
    for status in ["paused", "superseded", "cancelled", "completed"] {
        for world in worlds(3, &strict()).await {
            for at in 0..3 {
                world.scenario.fail(world.device(at)).await;
            }
            let mut tx = world.store().begin().await.unwrap();
            let finished = (status != "paused").then(|| tx.now());
            tx.sql("UPDATE image_rollouts SET status = $1, finished_at = $2")
                .bind(status)
                .bind(finished)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
            world.pass().await;
            world.pass().await;
            let mut read = world.store().read().await.unwrap();
            assert!(
                quarantine::contains(&mut read, &digest(2)).await.unwrap(),
                "{status}"
            );
            drop(read);
            assert_eq!(world.scenario.status().await.0, status);
            assert_eq!(world.count(EventType::Quarantined).await, 1);
            assert_eq!(world.count(EventType::RolloutPaused).await, 0);
            // Lifted, it stays lifted: a person took these failures upon themselves.
            let mut tx = world.store().begin().await.unwrap();
            quarantine::lift(&mut tx, &digest(2), "operator:ann", "the network")
                .await
                .unwrap();
            tx.commit().await.unwrap();
            world.pass().await;
            let mut read = world.store().read().await.unwrap();
            assert!(!quarantine::contains(&mut read, &digest(2)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_rollout_that_cannot_be_read_stops_no_other() {
    for world in worlds(1, &lax()).await {
        // Older than the scenario's, so that it comes first.
        let broken = Uuid::nil();
        let mut tx = world.store().begin().await.unwrap();
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at) SELECT $1, 'NO REPOSITORY', tag, digest, strategy, rule, \
             filters, tag_rule, seed, status, 1, 1, 1, correlation_id, 'test', created_at \
             FROM image_rollouts",
        )
        .bind(broken)
        .execute()
        .await
        .unwrap();
        tx.sql(
            "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, verdict, \
             target_version, admitted_at, check_at, judged_at, updated_at) \
             SELECT $1, device_uuid, 1, 'failed', 'failed', 2, admitted_at, admitted_at, \
             admitted_at, admitted_at FROM device_rollout_status",
        )
        .bind(broken)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        world.scenario.fail(world.device(0)).await;
        assert!(manager::budgets(&world.deps, GROUP).await.is_err());
        assert!(manager::put_back(&world.deps, GROUP).await.is_err());
        assert_eq!(world.status(0).await, "rolling_back");
    }
}

#[tokio::test]
async fn whoever_admits_devices_and_whoever_puts_them_back_never_wait_for_each_other() {
    let world = worlds(2, &lax()).await.pop().unwrap();
    for at in 0..2 {
        world.scenario.fail(world.device(at)).await;
    }
    // As an admission does it: the targets first, then the rows.
    let mut tx = world.store().begin().await.unwrap();
    tx.sql("UPDATE device_targets SET updated_at = updated_at")
        .execute()
        .await
        .unwrap();
    let admission = async {
        eventually("the other to wait", Duration::from_secs(10), async || {
            let mut read = world.store().read().await.unwrap();
            let (waiting,): (i64,) = read
                .sql(
                    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()",
                )
                .one()
                .await
                .unwrap();
            waiting > 0
        })
        .await;
        tx.sql("UPDATE device_rollout_status SET updated_at = updated_at")
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let (put_back, ()) = tokio::join!(manager::put_back(&world.deps, GROUP), admission);
    put_back.unwrap();
    for at in 0..2 {
        assert_eq!(world.status(at).await, "rolling_back");
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_no_device() {
    for world in worlds(3, &lax()).await {
        let silent = world.device(2);
        let mut tx = world.store().begin().await.unwrap();
        // They were moved by a clock that was an hour ahead.
        let ahead = tx.now() + TimeDelta::hours(1);
        tx.sql("UPDATE device_rollout_status SET updated_at = $1, status = 'verifying'")
            .bind(ahead)
            .execute()
            .await
            .unwrap();
        tx.sql("UPDATE device_rollout_status SET status = 'unreachable' WHERE device_uuid = $1")
            .bind(silent.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.quarantine(2).await;
        manager::put_back(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.status(2).await, "rolling_back");
        world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for at in 0..3 {
            assert_eq!(world.status(at).await, "rolling_back", "{at}");
        }
    }
}

#[tokio::test]
async fn a_whole_rollout_is_taken_back_in_groups_and_ends() {
    for world in worlds(7, &lax()).await {
        for at in 0..7 {
            let (version, ran) = if at < 6 { (2, 2) } else { (1, 1) };
            world
                .scenario
                .report(world.device(at), &Said::running(version, &image(ran), "c"))
                .await;
        }
        // One was completed on the image, which then is its last good one; one failed.
        let mut tx = world.store().begin().await.unwrap();
        tx.sql(
            "UPDATE device_rollout_status SET status = 'completed', verdict = 'healthy', \
             check_at = NULL WHERE device_uuid = $1",
        )
        .bind(world.device(0).0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        world.last_good(0, &image(2)).await;
        world.scenario.fail(world.device(1)).await;
        let id = world.order(CommandKind::RollbackAll, None).await;
        manager::commands(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.outcome(id).await, CommandOutcome::Applied);
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for _ in 0..4 {
            manager::put_back(&world.deps, 2).await.unwrap();
        }
        for at in 0..7 {
            assert_eq!(
                world.scenario.target(world.device(at)).await,
                (3, image(1)),
                "{at}"
            );
        }
        manager::finish(&world.deps, GROUP).await.unwrap();
        assert_eq!(world.scenario.status().await.0, "rolling_back");
        for at in 0..6 {
            world
                .scenario
                .report(world.device(at), &Said::running(3, &image(1), "c9"))
                .await;
        }
        // The seventh is silent and is not waited for.
        world.wait(200);
        for at in 0..6 {
            world.until(at, "rolled_back").await;
        }
        world.pass().await;
        assert_eq!(world.scenario.status().await.0, "rolled_back");
        assert_eq!(world.status(0).await, "rolled_back");
        assert_eq!(world.status(6).await, "rolling_back");
        assert_eq!(world.scenario.last_good(world.device(0)).await, None);
        assert_eq!(world.count(EventType::RollbackStarted).await, 1);
        assert_eq!(world.count(EventType::RollbackCompleted).await, 1);
        let again = world.order(CommandKind::RollbackAll, None).await;
        world.pass().await;
        assert_eq!(world.outcome(again).await, CommandOutcome::NoChange);
    }
}

#[tokio::test]
async fn one_device_is_put_back_on_an_order() {
    for world in worlds(3, &lax()).await {
        let device = |at| Some(world.device(at));
        world
            .scenario
            .set_target(world.device(1), &image(9), TargetSource::Operator)
            .await;
        let applied = world.order(CommandKind::RollbackDevice, device(0)).await;
        let changed = world.order(CommandKind::RollbackDevice, device(1)).await;
        let unknown = Some(DeviceId(Uuid::new_v4()));
        let unknown = world.order(CommandKind::RollbackDevice, unknown).await;
        world.pass().await;
        let twice = world.order(CommandKind::RollbackDevice, device(0)).await;
        world.pass().await;
        assert_eq!(world.outcome(applied).await, CommandOutcome::Applied);
        assert_eq!(world.outcome(changed).await, CommandOutcome::Refused);
        assert_eq!(world.outcome(unknown).await, CommandOutcome::Refused);
        assert_eq!(world.outcome(twice).await, CommandOutcome::NoChange);
        assert_eq!(world.scenario.target(world.device(0)).await, (3, image(1)));
        assert_eq!(world.scenario.target(world.device(2)).await, (2, image(2)));
    }
}

#[tokio::test]
async fn a_crash_between_the_steps_leaves_nothing_half_done() {
    for world in worlds(1, &lax()).await {
        let device = world.device(0);
        world.scenario.fail(device).await;
        // What put_back does, up to the commit that never comes.
        let mut tx = world.store().begin().await.unwrap();
        let rollout = world.scenario.rollout;
        rollouts::lock(&mut tx, rollout).await.unwrap();
        let rows = rollbacks::candidates(&mut tx, rollout, rollbacks::Scope::Failed, 10)
            .await
            .unwrap();
        let put = rollbacks::PutBack {
            device,
            version: rows[0].version,
            state: rows[0].old_state.unwrap(),
            image: image(1),
            evidence: json!({}),
            check_at: tx.now(),
            deadline_at: tx.now(),
        };
        let done = rollbacks::put_back(&mut tx, rollout, &[put]).await.unwrap();
        assert_eq!(done.get(&device), Some(&3));
        drop(tx);
        assert_eq!(world.scenario.target(device).await, (2, image(2)));
        assert_eq!(world.status(0).await, "failed");
        world.pass().await;
        assert_eq!(world.scenario.target(device).await, (3, image(1)));
        assert_eq!(world.status(0).await, "rolling_back");
    }
}

#[tokio::test]
async fn two_replicas_do_everything_once() {
    for world in worlds(12, &strict()).await {
        for at in 0..6 {
            world.scenario.fail(world.device(at)).await;
        }
        // Both at once, in small groups; what another got in the way of is tried again, as loops do.
        let replica = || async {
            for _ in 0..30 {
                manager::budgets(&world.deps, 2).await.ok();
                manager::put_back(&world.deps, 2).await.ok();
                manager::reports(&world.deps, 2).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        for at in 0..12 {
            let (version, image_now) = world.scenario.target(world.device(at)).await;
            assert_eq!((version, image_now), (3, image(1)), "{at}");
            assert_eq!(world.status(at).await, "rolling_back");
        }
        assert_eq!(world.count(EventType::RolloutPaused).await, 1);
        assert_eq!(world.count(EventType::Quarantined).await, 1);
        assert_eq!(world.count(EventType::RollbackScheduled).await, 12);
    }
}

#[tokio::test]
async fn the_service_pauses_and_puts_back_by_itself() {
    for kept in windlass_testkit::stores().await {
        let scenario = Scenario::begin(&kept.store, 4, &strict()).await;
        let mut config = windlass_service::config::Config::default();
        config.rollback.scan_ms = 100;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        let part = manager::part(&config, &deps).await.unwrap();
        let listener = windlass_service::listen("127.0.0.1:0").unwrap();
        let (http, shutdown) = (config.http.clone(), deps.shutdown.clone());
        for device in &scenario.devices {
            scenario
                .report(*device, &Said::running(2, &image(2), "c"))
                .await;
        }
        for device in &scenario.devices {
            scenario.fail(*device).await;
        }
        let devices = async {
            eventually("all to be back", Duration::from_secs(30), async || {
                let mut done = 0;
                for device in &scenario.devices {
                    let (version, image) = scenario.target(*device).await;
                    scenario
                        .report(*device, &Said::running(version, &image, "d"))
                        .await;
                    done += usize::from(scenario.row(*device).await.status == "rolled_back");
                }
                done == 4
            })
            .await;
            shutdown.cancel();
        };
        let (served, ()) = tokio::join!(
            windlass_service::serve(vec![part], &deps, &http, listener),
            devices
        );
        served.unwrap();
        assert_eq!(scenario.status().await.0, "paused");
        assert_eq!(scenario.events().await[&EventType::DeviceRolledBack], 4);
    }
}
