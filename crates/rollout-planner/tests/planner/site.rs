//! A store with planners running on it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::Config;
use windlass_service::{Deps, listen, serve};
use windlass_store::commands::NewCommand;
use windlass_store::{Clock, policies, rollouts};
use windlass_testkit::{TestStore, eventually, fleet, stores_with};
use windlass_types::event::EventType;
use windlass_types::ids::{CommandId, ImageVersionId, PolicyId, RolloutId};
use windlass_types::policy::PolicySpec;
use windlass_types::rollout::{
    Command, CommandKind, CommandOutcome, DeviceStatus, Rollout, RolloutStatus,
};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A store, and what acts on it. Its clock stands still until it is moved.
pub(crate) struct Site {
    pub(crate) test: TestStore,
    pub(crate) deps: Deps,
    replicas: Vec<Deps>,
    clock: Clock,
}

/// A site on each database, without planners.
pub(crate) async fn sites() -> Vec<Site> {
    let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000));
    let tests = stores_with(clock.clone()).await;
    let site = |test: TestStore| Site {
        deps: Deps::new(test.store.clone(), Bus::local()),
        test,
        replicas: Vec::new(),
        clock: clock.clone(),
    };
    tests.into_iter().map(site).collect()
}

/// The same with one planner.
pub(crate) async fn running() -> Vec<Site> {
    let mut sites = sites().await;
    for site in &mut sites {
        site.start().await;
    }
    sites
}

impl Drop for Site {
    fn drop(&mut self) {
        for replica in &self.replicas {
            replica.shutdown.cancel();
        }
    }
}

impl Site {
    /// Starts a planner: its own process but for the bus.
    pub(crate) async fn start(&mut self) {
        let deps = Deps::new(self.test.store.clone(), self.deps.bus.clone());
        let mut config = Config::default();
        config.planner.scan_ms = 50;
        let part = windlass_rollout_planner::part(&config, &deps)
            .await
            .unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        self.replicas.push(deps.clone());
        tokio::spawn(async move {
            serve(vec![part], &deps, &config.http, listener)
                .await
                .unwrap();
        });
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// A policy for `r.io/demo/*`, staged without delay, with these changes.
    pub(crate) async fn policy(&self, name: &str, change: Value) -> PolicyId {
        let mut spec = json!({
            "name": name, "image": "r.io/demo/*", "strategy": "staged", "batch_delay_seconds": 0,
        });
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spec: PolicySpec = serde_json::from_value(spec).unwrap();
        let id = PolicyId(Uuid::now_v7());
        let mut tx = self.test.store.begin().await.unwrap();
        policies::create(&mut tx, id, &spec, "operator:ann")
            .await
            .unwrap();
        self.deps.commit(tx).await.unwrap();
        id
    }

    pub(crate) async fn push(&self, image: &str) -> ImageVersionId {
        let mut tx = self.test.store.begin().await.unwrap();
        let (id, _) = fleet::push(&mut tx, image).await;
        self.deps.commit(tx).await.unwrap();
        id
    }

    /// What was made of a version, once it is decided: decision, detail and rollout.
    pub(crate) async fn decision(&self, id: ImageVersionId) -> (String, String, Option<RolloutId>) {
        let mut found = None;
        eventually("the version is decided about", PATIENCE, async || {
            let mut read = self.test.store.read().await.unwrap();
            found = read
                .sql(
                    "SELECT decision, COALESCE(detail, ''), rollout_id FROM image_plans \
                     WHERE image_version_id = $1",
                )
                .bind(id.0)
                .optional::<(String, String, Option<Uuid>)>()
                .await
                .unwrap();
            found.is_some()
        })
        .await;
        let (decision, detail, rollout) = found.unwrap();
        (decision, detail, rollout.map(RolloutId))
    }

    /// Pushes an image that must lead to a rollout.
    pub(crate) async fn rollout(&self, image: &str) -> RolloutId {
        let id = self.push(image).await;
        let (decision, detail, rollout) = self.decision(id).await;
        assert_eq!(decision, "rollout", "{detail}");
        rollout.unwrap()
    }

    pub(crate) async fn read(&self, id: RolloutId) -> Rollout {
        let mut read = self.test.store.read().await.unwrap();
        rollouts::get(&mut read, id).await.unwrap().unwrap()
    }

    /// Waits until the rollout is at this batch with this status.
    pub(crate) async fn reaches(
        &self,
        id: RolloutId,
        status: RolloutStatus,
        batch: i64,
    ) -> Rollout {
        let what = format!("the rollout is {status} at batch {batch}");
        eventually(&what, PATIENCE, async || {
            let now = self.read(id).await;
            now.status == status && now.current_batch == batch
        })
        .await;
        self.read(id).await
    }

    /// How many devices of a rollout have each status, by batch.
    pub(crate) async fn counts(&self, id: RolloutId) -> Vec<(i64, String, i64)> {
        let mut read = self.test.store.read().await.unwrap();
        read.sql(
            "SELECT batch, status, COUNT(*) FROM device_rollout_status WHERE rollout_id = $1 \
             GROUP BY batch, status ORDER BY batch, status",
        )
        .bind(id.0)
        .all()
        .await
        .unwrap()
    }

    /// How many devices have a target with this image at each version.
    pub(crate) async fn targets(&self, image: &str) -> Vec<(i64, i64)> {
        let mut read = self.test.store.read().await.unwrap();
        read.sql(
            "SELECT t.version, COUNT(*) FROM device_targets t \
             JOIN target_services s ON s.state_id = t.state_id WHERE s.image = $1 \
             GROUP BY t.version ORDER BY t.version",
        )
        .bind(image.to_owned())
        .all()
        .await
        .unwrap()
    }

    pub(crate) async fn judge(&self, id: RolloutId, to: DeviceStatus, limit: i64) -> u64 {
        let mut tx = self.test.store.begin().await.unwrap();
        let judged = fleet::judge(&mut tx, id, to, limit).await;
        self.deps.commit(tx).await.unwrap();
        judged
    }

    /// How often an event of this kind was told.
    pub(crate) async fn told(&self, kind: EventType) -> usize {
        let told = fleet::told(&self.test.store).await;
        told.iter().filter(|(found, _)| *found == kind).count()
    }

    /// Gives a command and returns its id.
    pub(crate) async fn order(&self, id: RolloutId, kind: CommandKind) -> CommandId {
        let command = NewCommand {
            id: CommandId(Uuid::now_v7()),
            rollout: id,
            device: None,
            batch: None,
            kind,
            actor: "operator:ann".to_owned(),
            reason: "to see".to_owned(),
        };
        let mut tx = self.test.store.begin().await.unwrap();
        windlass_store::commands::insert(&mut tx, &command)
            .await
            .unwrap()
            .unwrap();
        self.deps.commit(tx).await.unwrap();
        command.id
    }

    /// Gives a command and waits for what becomes of it.
    pub(crate) async fn ordered(&self, id: RolloutId, kind: CommandKind) -> Command {
        let command = self.order(id, kind).await;
        let mut found = None;
        eventually("the command is settled", PATIENCE, async || {
            let mut read = self.test.store.read().await.unwrap();
            found = windlass_store::commands::get(&mut read, command)
                .await
                .unwrap();
            found
                .as_ref()
                .is_some_and(|c| c.outcome != CommandOutcome::Pending)
        })
        .await;
        found.unwrap()
    }

    /// How many runs of a loop have failed so far, over all planners.
    pub(crate) fn failed_runs(&self, of: &str) -> f64 {
        self.runs(of, "error")
    }

    /// How many runs of a loop have ended so, over all planners.
    pub(crate) fn runs(&self, of: &str, how: &str) -> f64 {
        let families = self
            .replicas
            .iter()
            .flat_map(|replica| replica.metrics.gather());
        families
            .filter(|family| family.name() == "windlass_loop_activations_total")
            .flat_map(|family| family.get_metric().to_vec())
            .filter(|metric| {
                let has = |value: &str| {
                    metric
                        .get_label()
                        .iter()
                        .any(|label| label.value() == value)
                };
                has(of) && has(how)
            })
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    /// Runs a statement of the test's own.
    pub(crate) async fn sql(&self, text: &str) {
        let mut tx = self.test.store.begin().await.unwrap();
        tx.built(text.to_owned()).execute().await.unwrap();
        tx.commit().await.unwrap();
    }
}
