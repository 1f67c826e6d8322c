//! A rollout under way, written straight into a store: devices on v1 that were given v2.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::observe;
use windlass_core::target::state_id;
use windlass_store::verdicts::{self, Verdict, Written};
use windlass_store::{Clock, Json, Session, Store, events, presence, reports, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId, StateId};
use windlass_types::image::Digest;
use windlass_types::policy::{RolloutRule, TagRule};
use windlass_types::report::Report;
use windlass_types::rollout::DeviceStatus;
use windlass_types::target::{TargetSource, TargetState};

/// The repository that scenarios are about.
pub const REPOSITORY: &str = "registry:5000/demo/app";

/// The digest of a version.
///
/// # Panics
/// Never.
#[must_use]
pub fn digest(version: u8) -> Digest {
    format!("sha256:{}", format!("{version:02x}").repeat(32))
        .parse()
        .expect("a digest")
}

/// The image of a version, as targets name it.
#[must_use]
pub fn image(version: u8) -> String {
    format!("{REPOSITORY}:v{version}@{}", digest(version))
}

/// A target state with one service on this image.
///
/// # Panics
/// Never.
#[must_use]
pub fn state(image: &str) -> TargetState {
    serde_json::from_value(
        json!({"apps": {"1": {"appId": 1, "appName": "demo", "services": [
        {"serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
         "config": {"image": image}}]}}, "config": {}}),
    )
    .expect("a target state")
}

/// What a device says of its service.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// The target version it received; none makes the report a replayed one.
    pub version: Option<i64>,
    /// Image, container and status; none where nothing is there.
    pub service: Option<(&'a str, &'a str, &'a str)>,
}

impl<'a> Said<'a> {
    /// It received this version and runs this image in this container.
    #[must_use]
    pub const fn running(version: i64, image: &'a str, container: &'a str) -> Self {
        Self {
            version: Some(version),
            service: Some((image, container, "running")),
        }
    }
}

/// A device's row in the rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its status.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The verdict.
    pub verdict: Option<String>,
    /// What it is put back on.
    pub rollback_image: Option<String>,
    /// The target version that puts it back.
    pub rollback_version: Option<i64>,
    /// When it is looked at again.
    pub check_at: Option<DateTime<Utc>>,
    /// Its deadline.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// A rollout of v2 to devices that run v1, all admitted in one batch.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The store.
    pub store: Store,
    /// The rollout.
    pub rollout: RolloutId,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// Its devices.
    pub devices: Vec<DeviceId>,
}

/// A clock for scenarios: it stands until it is moved.
#[must_use]
pub fn clock() -> Clock {
    Clock::manual(DateTime::UNIX_EPOCH + TimeDelta::days(20_000))
}

impl Scenario {
    /// Writes it. Every device's last good image is v1.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn begin(store: &Store, devices: usize, rule: &RolloutRule) -> Self {
        let (rollout, correlation) = (RolloutId(Uuid::now_v7()), CorrelationId(Uuid::now_v7()));
        let devices: Vec<DeviceId> = (0..devices).map(|_| DeviceId(Uuid::new_v4())).collect();
        let scenario = Self {
            store: store.clone(),
            rollout,
            correlation,
            devices,
        };
        let mut tx = store.begin().await.expect("a transaction");
        scenario.write(&mut tx, rule).await;
        tx.commit().await.expect("the commit");
        scenario
    }

    async fn write(&self, tx: &mut Session, rule: &RolloutRule) {
        let now = tx.now();
        let ids = ensure(tx, &[image(1), image(2)]).await;
        tx.sql("INSERT INTO fleets (id, created_at) VALUES ('lab', $1) ON CONFLICT DO NOTHING")
            .bind(now)
            .execute()
            .await
            .expect("a fleet");
        tx.sql(
            "INSERT INTO image_rollouts (id, repository, tag, digest, strategy, rule, filters, \
             tag_rule, seed, status, current_batch, batch_count, total_devices, correlation_id, \
             created_by, created_at, started_at) \
             VALUES ($1, $2, 'v2', $3, 'staged', $4, $5, $6, 7, 'in_progress', 1, 1, $7, $8, \
             'test', $9, $10)",
        )
        .bind(self.rollout.0)
        .bind(REPOSITORY)
        .bind(digest(2).to_string())
        .bind(Json(rule.clone()))
        .bind(Json(json!({})))
        .bind(Json(TagRule::default()))
        .bind(i64::try_from(self.devices.len()).expect("few devices"))
        .bind(self.correlation.0)
        .bind(now)
        .bind(now)
        .execute()
        .await
        .expect("a rollout");
        let deadline = now + TimeDelta::seconds(i64::from(rule.health.deadline_seconds));
        for device in &self.devices {
            self.device(tx, *device, &ids, deadline).await;
        }
    }

    async fn device(
        &self,
        tx: &mut Session,
        device: DeviceId,
        ids: &[StateId],
        deadline: DateTime<Utc>,
    ) {
        let now = tx.now();
        tx.sql(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, shuffle, created_at) \
             VALUES ($1, 'device', 'standalone', 'lab', $2, 1, $3)",
        )
        .bind(device.0)
        .bind(device.0.as_bytes().to_vec())
        .bind(now)
        .execute()
        .await
        .expect("a device");
        targets::create(tx, device, ids[0]).await.expect("a target");
        let from_rollout = TargetSource::Rollout;
        targets::set(tx, device, ids[1], from_rollout, Some(self.rollout), None)
            .await
            .expect("the new target");
        tx.sql(
            "INSERT INTO device_last_good (device_uuid, app_id, service_id, image, proved_at) \
             VALUES ($1, 1, 1, $2, $3)",
        )
        .bind(device.0)
        .bind(image(1))
        .bind(now)
        .execute()
        .await
        .expect("a last good image");
        tx.sql(
            "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, \
             old_state_id, target_version, admitted_at, check_at, deadline_at, updated_at) \
             VALUES ($1, $2, 1, 'scheduled', $3, 2, $4, $5, $6, $7)",
        )
        .bind(self.rollout.0)
        .bind(device.0)
        .bind(ids[0].0)
        .bind(now)
        .bind(deadline)
        .bind(deadline)
        .bind(now)
        .execute()
        .await
        .expect("a row");
    }

    /// A device reports, as state-api would take it.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn report(&self, device: DeviceId, said: &Said<'_>) {
        let services: Vec<Value> = said
            .service
            .iter()
            .map(|(image, container, status)| {
                json!({"serviceId": 1, "serviceName": "web", "imageName": image,
                       "containerId": container, "status": status})
            })
            .collect();
        let mut body = json!({"apps": {"1": {"appId": 1, "services": services}}});
        if let Some(version) = said.version {
            body["version"] = json!(version);
        }
        let report: Report = serde_json::from_value(body.clone()).expect("a report");
        let mut tx = self.store.begin().await.expect("a transaction");
        let now = tx.now();
        let mut before = reports::before(&mut tx, &[device])
            .await
            .expect("what was known");
        let known = before.remove(&device).expect("the device");
        let folded = observe::fold(&known.observation, &report, now);
        presence::seen(&mut tx, &[(device, now)])
            .await
            .expect("its presence");
        if folded.kind == observe::Kind::Current {
            let taken = reports::Taken {
                device,
                revision: known.revision,
                report: (&body).into(),
                report_id: None,
                said_time_zone: None,
                observation: folded.observation,
            };
            let overtaken = reports::store(&mut tx, vec![taken]).await;
            assert_eq!(overtaken.expect("the report"), [].into());
        }
        if folded.changed {
            let event = NewEvent::new(EventType::StateChanged, "device").device(device);
            events::append(&mut tx, event).await.expect("its event");
        }
        tx.commit().await.expect("the commit");
    }

    /// A device polls.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn poll(&self, device: DeviceId) {
        let mut tx = self.store.begin().await.expect("a transaction");
        let now = tx.now();
        presence::seen(&mut tx, &[(device, now)])
            .await
            .expect("its presence");
        tx.commit().await.expect("the commit");
    }

    /// A device is judged failed, as health-checker would write it.
    ///
    /// # Panics
    /// Where the store refuses, or the device was judged before.
    pub async fn fail(&self, device: DeviceId) {
        let tx = self.failing(device).await;
        tx.commit().await.expect("the commit");
    }

    /// The same, not yet committed.
    ///
    /// # Panics
    /// Where the store refuses, or the device was judged before.
    pub async fn failing(&self, device: DeviceId) -> Session {
        let mut tx = self.store.begin().await.expect("a transaction");
        let now = tx.now();
        let rows = verdicts::of_devices(
            &mut tx,
            &[device].into(),
            &[
                DeviceStatus::Scheduled,
                DeviceStatus::Updating,
                DeviceStatus::Verifying,
            ],
        )
        .await
        .expect("its row");
        let row = rows.first().expect("a row in flight");
        let written = Written {
            rollout: row.rollout,
            device,
            from: row.status,
            since: row.since,
            status: DeviceStatus::Failed,
            reason: Some("crash_loop".to_owned()),
            verdict: Some(Verdict::Failed),
            evidence: Some(json!({"summary": "it crashes"})),
            check_at: Some(now),
            deadline_at: row.deadline_at,
        };
        let done = verdicts::write(&mut tx, &[written]).await.expect("the row");
        assert_eq!(done.len(), 1);
        verdicts::failed_images(&mut tx, self.rollout, &digest(2), &[device])
            .await
            .expect("the failed digest");
        let event = NewEvent::new(EventType::UpdateFailed, "health-checker")
            .rollout(self.rollout, self.correlation)
            .device(device);
        events::append(&mut tx, event).await.expect("its event");
        tx
    }

    /// Somebody gives a device another image. Returns the new version.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn set_target(&self, device: DeviceId, image: &str, source: TargetSource) -> i64 {
        let mut tx = self.store.begin().await.expect("a transaction");
        let ids = ensure(&mut tx, &[image.to_owned()]).await;
        let rollout = (source != TargetSource::Operator).then_some(self.rollout);
        let version = targets::set(&mut tx, device, ids[0], source, rollout, None)
            .await
            .expect("the target");
        tx.commit().await.expect("the commit");
        version.expect("a device with a target")
    }

    /// A device's row.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn row(&self, device: DeviceId) -> Row {
        let mut read = self.store.read().await.expect("a session");
        let (status, reason, verdict, rollback_image, rollback_version, check_at, deadline_at) =
            read.sql(
                "SELECT status, reason, verdict, rollback_image, rollback_version, check_at, \
                 deadline_at FROM device_rollout_status WHERE rollout_id = $1 AND device_uuid = $2",
            )
            .bind(self.rollout.0)
            .bind(device.0)
            .one()
            .await
            .expect("the row");
        Row {
            status,
            reason,
            verdict,
            rollback_image,
            rollback_version,
            check_at,
            deadline_at,
        }
    }

    /// A device's target: its version and its image.
    ///
    /// # Panics
    /// Where it has none.
    pub async fn target(&self, device: DeviceId) -> (i64, String) {
        let mut read = self.store.read().await.expect("a session");
        let (target, state) = targets::get(&mut read, device)
            .await
            .expect("the target")
            .expect("a device with a target");
        let (_, service) = state.services().next().expect("a service");
        (target.version, service.image_name.clone())
    }

    /// How often each type of event was appended, also those that readers may not see yet because
    /// some older transaction, of any test, is still open.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn events(&self) -> BTreeMap<EventType, i64> {
        let mut read = self.store.read().await.expect("a session");
        let rows: Vec<(String, i64)> = read
            .sql("SELECT type, COUNT(*) FROM events GROUP BY type")
            .all()
            .await
            .expect("the log");
        rows.into_iter()
            .map(|(kind, count)| (kind.parse().expect("a known type"), count))
            .collect()
    }

    /// Where the rollout stands, and why.
    ///
    /// # Panics
    /// Where it is not there.
    pub async fn status(&self) -> (String, Option<String>) {
        let mut read = self.store.read().await.expect("a session");
        read.sql("SELECT status, status_reason FROM image_rollouts WHERE id = $1")
            .bind(self.rollout.0)
            .one()
            .await
            .expect("the rollout")
    }

    /// What the device's service proved healthy on.
    ///
    /// # Panics
    /// Where the store refuses.
    pub async fn last_good(&self, device: DeviceId) -> Option<String> {
        let mut read = self.store.read().await.expect("a session");
        let row: Option<(String,)> = read
            .sql(
                "SELECT image FROM device_last_good WHERE device_uuid = $1 \
                 ORDER BY proved_at DESC, image LIMIT 1",
            )
            .bind(device.0)
            .optional()
            .await
            .expect("the last good image");
        row.map(|(image,)| image)
    }
}

async fn ensure(tx: &mut Session, images: &[String]) -> Vec<StateId> {
    let states: Vec<TargetState> = images.iter().map(|image| state(image)).collect();
    let ids: Vec<StateId> = states.iter().map(state_id).collect();
    let all = ids.iter().copied().zip(states).collect();
    targets::ensure_states(tx, &all).await.expect("the states");
    ids
}
