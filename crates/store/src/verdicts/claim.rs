//! Which devices are to be judged now, with all that is known of them.

use crate::db::{Session, placeholders};
use crate::error::{Error, Result, parse};
use crate::events;
use crate::store::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId, StateId};
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::observation::Observation;
use windlass_types::policy::{RolloutRule, TagRule};
use windlass_types::rollout::{DeviceStatus, RolloutStatus};
use windlass_types::target::TargetSource;

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

/// How long a row that cannot be judged is set aside.
const ASIDE: TimeDelta = TimeDelta::minutes(5);

/// Devices whose state changed after a consumer's place in the event log.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Where the consumer stood.
    pub from: Cursor,
    /// Where it stands once these are dealt with.
    pub to: Cursor,
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
    /// Whether the log goes on after `to`.
    pub more: bool,
}

/// Reads up to `limit` events of the log for a consumer and returns the devices that changed.
///
/// # Errors
/// Whatever the database says.
pub async fn changed(session: &mut Session, consumer: &str, limit: i64) -> Result<Changed> {
    let from = events::cursor(session, consumer).await?;
    let events = events::after(session, from, limit).await?;
    let read = i64::try_from(events.len()).unwrap_or(i64::MAX);
    Ok(Changed {
        from,
        to: events.last().map_or(from, |event| event.id),
        devices: events
            .iter()
            .filter(|event| event.kind == EventType::StateChanged)
            .filter_map(|event| event.device_uuid)
            .collect(),
        more: read >= limit,
    })
}

/// A device in a rollout, with what a verdict needs.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
    /// How often it was tried again.
    pub retries: i64,
    /// Where it stands.
    pub status: DeviceStatus,
    /// Why, where that was said.
    pub reason: Option<String>,
    /// Since when it stands there.
    pub since: DateTime<Utc>,
    /// When it was admitted.
    pub admitted_at: DateTime<Utc>,
    /// Until when it must be healthy or back.
    pub deadline_at: DateTime<Utc>,
    /// The target version that gave it the image.
    pub target_version: i64,
    /// The target version that puts it back.
    pub rollback_version: Option<i64>,
    /// Its state before.
    pub old_state: Option<StateId>,
    /// What was written down so far.
    pub evidence: Option<Value>,
    /// Its present state.
    pub state: StateId,
    /// Its present target version.
    pub version: i64,
    /// Who gave it that.
    pub source: TargetSource,
    /// The version that a person set last, whatever rollouts changed since.
    pub hand_version: Option<i64>,
    /// What its reports said.
    pub observation: Option<Observation>,
    /// When it polled or reported last.
    pub last_seen_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    rollout_id: Uuid,
    pub(crate) device_uuid: Uuid,
    batch: i64,
    retries: i64,
    status: String,
    reason: Option<String>,
    updated_at: DateTime<Utc>,
    admitted_at: Option<DateTime<Utc>>,
    deadline_at: Option<DateTime<Utc>>,
    target_version: Option<i64>,
    rollback_version: Option<i64>,
    old_state_id: Option<Uuid>,
    evidence: Option<Json<Value>>,
    state_id: Uuid,
    version: i64,
    source: String,
    hand_version: Option<i64>,
    observation: Option<Json<Value>>,
    last_seen_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for InFlight {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self> {
        let admitted_at = row.admitted_at.unwrap_or(row.updated_at);
        Ok(Self {
            rollout: RolloutId(row.rollout_id),
            device: DeviceId(row.device_uuid),
            batch: row.batch,
            retries: row.retries,
            status: parse("device_rollout_status.status", &row.status)?,
            reason: row.reason,
            since: row.updated_at,
            admitted_at,
            deadline_at: row.deadline_at.unwrap_or(admitted_at),
            target_version: row.target_version.unwrap_or_default(),
            rollback_version: row.rollback_version,
            old_state: row.old_state_id.map(StateId),
            evidence: row.evidence.map(|json| json.0),
            state: StateId(row.state_id),
            version: row.version,
            source: parse("device_targets.source", &row.source)?,
            hand_version: row.hand_version,
            observation: row
                .observation
                .map(|json| body("device_current_state.observation", json.0))
                .transpose()?,
            last_seen_at: row.last_seen_at,
        })
    }
}

/// A body that an older or a newer program may have written.
fn body<T: DeserializeOwned>(column: &'static str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::Corrupt {
        column,
        value: error.to_string(),
    })
}

pub(crate) const SELECT: &str = "SELECT d.rollout_id, d.device_uuid, d.batch, d.retries, d.status, d.reason, d.updated_at, d.admitted_at, \
    d.deadline_at, d.target_version, d.rollback_version, d.old_state_id, d.evidence, t.state_id, \
    t.version, t.source, t.hand_version, c.observation, p.last_seen_at \
    FROM device_rollout_status d \
    JOIN device_targets t ON t.device_uuid = d.device_uuid \
    LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
    LEFT JOIN device_presence p ON p.device_uuid = d.device_uuid";

/// The statuses of a group of rows to be claimed.
fn list(statuses: &[DeviceStatus]) -> String {
    let quoted: Vec<String> = statuses.iter().map(|s| format!("'{s}'")).collect();
    quoted.join(", ")
}

/// Locks rows until the transaction ends; on SQLite writers are alone anyway.
pub(crate) fn lock(session: &Session, wait: bool) -> &'static str {
    match (session.kind(), wait) {
        (Kind::Sqlite, _) => "",
        (Kind::Postgres, true) => " FOR UPDATE OF d",
        (Kind::Postgres, false) => " FOR UPDATE OF d SKIP LOCKED",
    }
}

/// What these rows say. One that cannot be read is set aside, or it would stop the others for ever.
pub(crate) async fn read(session: &mut Session, rows: Vec<Row>) -> Result<Vec<InFlight>> {
    let mut found = Vec::with_capacity(rows.len());
    let mut aside = Vec::new();
    for row in rows {
        let (rollout, device) = (RolloutId(row.rollout_id), DeviceId(row.device_uuid));
        // Where it goes back to rests on other things: its way back has an end in any case.
        let read = if row.status == DeviceStatus::RollingBack.as_str() {
            without_what_cannot_be_read(row)
        } else {
            InFlight::try_from(row)
        };
        match read {
            Ok(row) => found.push(row),
            Err(error) => {
                tracing::error!(rollout.id = %rollout, device.uuid = %device, %error,
                    "a device cannot be read and is set aside");
                aside.push((rollout, device));
            }
        }
    }
    set_aside(session, &aside).await?;
    Ok(found)
}

/// What a row says, without the device's observation where that cannot be read: for whoever can do
/// without.
pub(crate) fn without_what_cannot_be_read(mut row: Row) -> Result<InFlight> {
    let observation = row.observation.take();
    let mut read = InFlight::try_from(row)?;
    read.observation = observation.and_then(|json| {
        body("device_current_state.observation", json.0)
            .inspect_err(|error| {
                tracing::error!(rollout.id = %read.rollout, device.uuid = %read.device, %error,
                    "what a device reported cannot be read");
            })
            .ok()
    });
    Ok(read)
}

/// Has these rows, which cannot be judged for now, looked at again only after a while.
///
/// # Errors
/// Whatever the database says.
pub async fn set_aside(session: &mut Session, rows: &[(RolloutId, DeviceId)]) -> Result<()> {
    let (kind, until) = (session.kind(), session.now() + ASIDE);
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_rollout_status SET check_at = ${} WHERE check_at IS NOT NULL \
             AND (rollout_id, device_uuid) IN \
             (SELECT column1, column2 FROM (VALUES {}) AS raw)",
            chunk.len() * 2 + 1,
            placeholders(kind, 1, chunk.len(), 2)
        );
        let mut statement = session.built(sql);
        for (rollout, device) in chunk {
            statement = statement.bind(rollout.0).bind(device.0);
        }
        statement.bind(until).execute().await?;
    }
    Ok(())
}

/// The rows of these devices in these statuses, of devices on their way, silent or going back, locked.
/// Waits for rows that another replica has.
///
/// # Errors
/// Whatever the database says; a deadlock is [`crate::Error::Conflict`].
pub async fn of_devices(
    session: &mut Session,
    devices: &BTreeSet<DeviceId>,
    statuses: &[DeviceStatus],
) -> Result<Vec<InFlight>> {
    let devices: Vec<DeviceId> = devices.iter().copied().collect();
    let mut found = Vec::new();
    for chunk in devices.chunks(CHUNK) {
        // The first condition is the index's own, word by word, or SQLite reads the whole table.
        let sql = format!(
            "{SELECT} WHERE d.status IN ('scheduled', 'updating', 'verifying', 'unreachable', \
             'rolling_back') AND d.status IN ({}) AND d.device_uuid IN {} ORDER BY \
             d.device_uuid, d.rollout_id{}",
            list(statuses),
            placeholders(session.kind(), 1, 1, chunk.len()),
            lock(session, true)
        );
        let mut statement = session.built(sql);
        for device in chunk {
            statement = statement.bind(device.0);
        }
        let rows = statement.all().await?;
        found.extend(read(session, rows).await?);
    }
    Ok(found)
}

/// Up to `limit` rows in these statuses whose time has come, the longest overdue first, locked.
/// Rows that another replica has are passed over.
///
/// # Errors
/// Whatever the database says.
pub async fn due(
    session: &mut Session,
    statuses: &[DeviceStatus],
    limit: i64,
) -> Result<Vec<InFlight>> {
    let now = session.now();
    // The first condition is the index's own, word by word, so that SQLite takes it.
    let sql = format!(
        "{SELECT} WHERE d.status IN ('scheduled', 'updating', 'verifying', 'rolling_back') \
         AND d.status IN ({}) AND d.check_at <= $1 ORDER BY d.check_at LIMIT CAST($2 AS BIGINT){}",
        list(statuses),
        lock(session, false)
    );
    let rows = session.built(sql).bind(now).bind(limit).all().await?;
    read(session, rows).await
}

/// Whether the time of any row in these statuses has come: whoever only looks takes no lock.
///
/// # Errors
/// Whatever the database says.
pub async fn any_due(session: &mut Session, statuses: &[DeviceStatus]) -> Result<bool> {
    let now = session.now();
    // The first condition is the index's own, word by word, so that SQLite takes it.
    let sql = format!(
        "SELECT d.device_uuid FROM device_rollout_status d \
         WHERE d.status IN ('scheduled', 'updating', 'verifying', 'rolling_back') \
         AND d.status IN ({}) AND d.check_at <= $1 LIMIT 1",
        list(statuses)
    );
    let found: Option<(Uuid,)> = session.built(sql).bind(now).optional().await?;
    Ok(found.is_some())
}

/// That the device of an unreachable row was seen since.
const IS_BACK: &str = "d.status = 'unreachable' \
     AND (p.last_seen_at > d.updated_at OR c.received_at > d.updated_at)";

/// Whether the device of any unreachable row was seen since.
///
/// # Errors
/// Whatever the database says.
pub async fn any_returned(session: &mut Session) -> Result<bool> {
    let found: Option<(Uuid,)> = session
        .built(format!(
            "SELECT d.device_uuid FROM device_rollout_status d \
             LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
             LEFT JOIN device_presence p ON p.device_uuid = d.device_uuid WHERE {IS_BACK} LIMIT 1"
        ))
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Up to `limit` unreachable rows whose device was seen since, the one seen last first, locked.
///
/// # Errors
/// Whatever the database says.
pub async fn returned(session: &mut Session, limit: i64) -> Result<Vec<InFlight>> {
    let sql = format!(
        "{SELECT} WHERE {IS_BACK} ORDER BY COALESCE(p.last_seen_at, c.received_at) DESC LIMIT CAST($1 AS BIGINT){}",
        lock(session, false)
    );
    let rows = session.built(sql).bind(limit).all().await?;
    read(session, rows).await
}

/// What a rollout ships and by which rule its devices are judged and put back.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// The rollout.
    pub id: RolloutId,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
    /// The rule.
    pub rule: RolloutRule,
    /// Which services.
    pub tag_rule: TagRule,
    /// Where it stands.
    pub status: RolloutStatus,
    /// What ties its events together.
    pub correlation_id: CorrelationId,
}

impl Shipment {
    /// Its image as a reference.
    #[must_use]
    pub fn image(&self) -> String {
        ImageReference::of(&self.repository, self.tag.as_deref(), self.digest.as_ref()).to_string()
    }
}

#[derive(sqlx::FromRow)]
struct ShipmentRow {
    id: Uuid,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    rule: Json<Value>,
    tag_rule: Json<Value>,
    status: String,
    correlation_id: Uuid,
}

impl TryFrom<ShipmentRow> for Shipment {
    type Error = Error;
    fn try_from(row: ShipmentRow) -> Result<Self> {
        Ok(Self {
            id: RolloutId(row.id),
            repository: parse("image_rollouts.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|text| parse("image_rollouts.digest", &text))
                .transpose()?,
            rule: body("image_rollouts.rule", row.rule.0)?,
            tag_rule: body("image_rollouts.tag_rule", row.tag_rule.0)?,
            status: parse("image_rollouts.status", &row.status)?,
            correlation_id: CorrelationId(row.correlation_id),
        })
    }
}

/// These rollouts' shipments, without those that cannot be read.
///
/// # Errors
/// Whatever the database says.
pub async fn shipments(
    session: &mut Session,
    rollouts: &BTreeSet<RolloutId>,
) -> Result<BTreeMap<RolloutId, Shipment>> {
    let rollouts: Vec<RolloutId> = rollouts.iter().copied().collect();
    let mut found = BTreeMap::new();
    for chunk in rollouts.chunks(CHUNK) {
        let sql = format!(
            "SELECT id, repository, tag, digest, rule, tag_rule, status, correlation_id \
             FROM image_rollouts WHERE id IN {}",
            placeholders(session.kind(), 1, 1, chunk.len())
        );
        let mut statement = session.built(sql);
        for id in chunk {
            statement = statement.bind(id.0);
        }
        let rows: Vec<ShipmentRow> = statement.all().await?;
        for row in rows {
            let id = RolloutId(row.id);
            match Shipment::try_from(row) {
                Ok(shipment) => {
                    found.insert(id, shipment);
                }
                Err(error) => {
                    tracing::error!(rollout.id = %id, %error, "a rollout cannot be read");
                }
            }
        }
    }
    Ok(found)
}
