//! A rollout that the tests go through, on both databases.

pub(crate) use chrono::TimeDelta;
pub(crate) use serde_json::json;
pub(crate) use std::time::Duration;
pub(crate) use uuid::Uuid;
pub(crate) use windlass_bus::Bus;
pub(crate) use windlass_core::target::state_id;
pub(crate) use windlass_rollback_manager as manager;
pub(crate) use windlass_service::Deps;
pub(crate) use windlass_store::{
    Clock, Session, Store, commands, quarantine, rollbacks, rollouts, targets,
};
pub(crate) use windlass_testkit::fleet;
pub(crate) use windlass_testkit::scenario::{Said, Scenario, clock, digest, image};
pub(crate) use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
pub(crate) use windlass_types::event::EventType;
pub(crate) use windlass_types::ids::{CommandId, DeviceId};
pub(crate) use windlass_types::policy::{FailureRule, RolloutRule};
pub(crate) use windlass_types::rollout::{CommandKind, CommandOutcome};
pub(crate) use windlass_types::target::TargetSource;

pub(crate) const GROUP: i64 = 100;

pub(crate) struct World {
    _kept: TestStore,
    pub(crate) clock: Clock,
    pub(crate) deps: Deps,
    pub(crate) scenario: Scenario,
}

pub(crate) fn strict() -> RolloutRule {
    RolloutRule::default()
}

/// A rule under which nothing pauses by itself.
pub(crate) fn lax() -> RolloutRule {
    RolloutRule {
        failure: FailureRule {
            max_failure_rate: 1.0,
            max_consecutive_failures: 0,
            ..FailureRule::default()
        },
        ..RolloutRule::default()
    }
}

pub(crate) async fn worlds(devices: usize, rule: &RolloutRule) -> Vec<World> {
    vec![
        sqlite_world(devices, rule).await,
        postgres_world(devices, rule).await,
    ]
}

// A clock for each: one test moves them one after the other.

pub(crate) async fn sqlite_world(devices: usize, rule: &RolloutRule) -> World {
    let clock = clock();
    World::on(sqlite_with(clock.clone()).await, clock, devices, rule).await
}

pub(crate) async fn postgres_world(devices: usize, rule: &RolloutRule) -> World {
    let clock = clock();
    World::on(postgres_with(clock.clone()).await, clock, devices, rule).await
}

impl World {
    async fn on(kept: TestStore, clock: Clock, devices: usize, rule: &RolloutRule) -> Self {
        Self {
            scenario: Scenario::begin(&kept.store, devices, rule).await,
            deps: Deps::new(kept.store.clone(), Bus::local()),
            clock,
            _kept: kept,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.deps.store
    }

    pub(crate) fn device(&self, at: usize) -> DeviceId {
        self.scenario.devices[at]
    }

    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub(crate) async fn pass(&self) {
        manager::commands(&self.deps, GROUP).await.unwrap();
        manager::budgets(&self.deps, GROUP).await.unwrap();
        manager::put_back(&self.deps, GROUP).await.unwrap();
        manager::reports(&self.deps, GROUP).await.unwrap();
        manager::due(&self.deps, GROUP).await.unwrap();
        manager::finish(&self.deps, GROUP).await.unwrap();
    }

    /// Passes until the device stands there: readers see events only once every older transaction,
    /// of any test on the server, has ended.
    pub(crate) async fn until(&self, at: usize, status: &str) {
        eventually(status, Duration::from_secs(20), async || {
            self.pass().await;
            self.status(at).await == status
        })
        .await;
    }

    pub(crate) async fn status(&self, at: usize) -> String {
        self.scenario.row(self.device(at)).await.status
    }

    pub(crate) async fn count(&self, kind: EventType) -> i64 {
        self.scenario
            .events()
            .await
            .get(&kind)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) async fn last_good(&self, at: usize, image: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.sql("UPDATE device_last_good SET image = $1 WHERE device_uuid = $2")
            .bind(image.to_owned())
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The device's service proves healthy on this image.
    pub(crate) async fn proves(&self, at: usize, image: &str) {
        let mut tx = self.store().begin().await.unwrap();
        let proved = windlass_store::verdicts::LastGood {
            device: self.device(at),
            app_id: 1,
            service_id: 1,
            image: image.to_owned(),
            rollout: None,
        };
        windlass_store::verdicts::last_good(&mut tx, &[proved])
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn forget_last_good(&self, at: usize) {
        let mut tx = self.store().begin().await.unwrap();
        tx.sql("DELETE FROM device_last_good WHERE device_uuid = $1")
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The device had this image before the rollout.
    pub(crate) async fn before(&self, at: usize, image: &str) {
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
    pub(crate) async fn tag_versions(&self, tag: &str, versions: &[u8]) {
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
    pub(crate) async fn overtaken(&self, at: usize, version: u8) {
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

    pub(crate) async fn quarantine(&self, version: u8) {
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

    pub(crate) async fn order(&self, kind: CommandKind, device: Option<DeviceId>) -> CommandId {
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

    pub(crate) async fn order_batch(&self, batch: i64) -> CommandId {
        let id = CommandId(Uuid::now_v7());
        let command = commands::NewCommand {
            id,
            rollout: self.scenario.rollout,
            device: None,
            batch: Some(batch),
            kind: CommandKind::RollbackBatch,
            actor: "operator:ann".to_owned(),
            reason: "it smells".to_owned(),
        };
        let mut tx = self.store().begin().await.unwrap();
        commands::insert(&mut tx, &command).await.unwrap().unwrap();
        self.deps.commit(tx).await.unwrap();
        id
    }

    /// Writes this into the device's row.
    pub(crate) async fn set(&self, at: usize, what: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.built(format!(
            "UPDATE device_rollout_status SET {what} WHERE device_uuid = $1"
        ))
        .bind(self.device(at).0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn judged_now(&self, at: usize) {
        let mut tx = self.store().begin().await.unwrap();
        let now = tx.now();
        tx.sql("UPDATE device_rollout_status SET judged_at = $1 WHERE device_uuid = $2")
            .bind(now)
            .bind(self.device(at).0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Writes this into the rollout's row.
    pub(crate) async fn rollout(&self, what: &str) {
        let mut tx = self.store().begin().await.unwrap();
        tx.built(format!(
            "UPDATE image_rollouts SET {what}, version = version + 1 WHERE id = $1"
        ))
        .bind(self.scenario.rollout.0)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn outcome(&self, id: CommandId) -> CommandOutcome {
        let mut read = self.store().read().await.unwrap();
        commands::get(&mut read, id).await.unwrap().unwrap().outcome
    }
}
