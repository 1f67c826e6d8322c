//! Devices that are set aside for a time, because they fail images that are good elsewhere.

use crate::db::{Session, placeholders};
use crate::error::Result;
use crate::events;
use crate::quarantine::holds;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::api::Penalty;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

/// A device that may have to be set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspect {
    /// Its failures in rollouts that were completed within their budget: when and in which.
    pub failures: Vec<(DateTime<Utc>, RolloutId)>,
    /// The last time that it was set aside: how often in a row, since when and until when.
    pub before: Option<(i64, DateTime<Utc>, DateTime<Utc>)>,
}

/// Up to `limit` devices that are not set aside and failed, since this time and since they were set
/// aside last, in at least so many rollouts that were good elsewhere: healthy on another device, completed,
/// never resumed in spite of their failures, and with a digest that is not in quarantine for the device.
///
/// # Errors
/// Whatever the database says.
pub async fn suspects(
    session: &mut Session,
    since: DateTime<Utc>,
    failures: u32,
    limit: i64,
) -> Result<BTreeMap<DeviceId, Suspect>> {
    let now = session.now();
    let failed = format!(
        "d.verdict = 'failed' AND d.judged_at > $1 AND r.status = 'completed' \
         AND r.finished_at > $1 AND r.failures_from IS NULL \
         AND EXISTS (SELECT 1 FROM device_rollout_status well WHERE well.rollout_id = r.id \
         AND well.verdict IS NOT NULL AND well.verdict = 'healthy') \
         AND NOT {} AND (p.device_uuid IS NULL OR (p.until <= $2 AND d.judged_at > p.since))",
        holds("d.device_uuid", "COALESCE(r.digest, r.known_digest)")
    );
    let from = "FROM image_rollouts r JOIN device_rollout_status d ON d.rollout_id = r.id \
         LEFT JOIN device_penalties p ON p.device_uuid = d.device_uuid";
    let devices: Vec<(Uuid,)> = session
        .built(format!(
            "SELECT d.device_uuid {from} WHERE {failed} GROUP BY d.device_uuid \
             HAVING COUNT(DISTINCT d.rollout_id) >= $3 ORDER BY d.device_uuid LIMIT CAST($4 AS BIGINT)"
        ))
        .bind(since)
        .bind(now)
        .bind(i64::from(failures))
        .bind(limit)
        .all()
        .await?;
    let mut found: BTreeMap<DeviceId, Suspect> = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        // Ids need no quoting.
        let ids: Vec<String> = chunk.iter().map(|(id,)| literal(session, *id)).collect();
        type Found = (
            Uuid,
            DateTime<Utc>,
            Uuid,
            Option<i64>,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
        );
        let rows: Vec<Found> = session
            .built(format!(
                "SELECT d.device_uuid, d.judged_at, r.id, p.times, p.since, p.until {from} \
                 WHERE {failed} AND d.device_uuid IN ({}) ORDER BY d.device_uuid, d.judged_at",
                ids.join(", ")
            ))
            .bind(since)
            .bind(now)
            .all()
            .await?;
        for (device, judged_at, rollout, times, since, until) in rows {
            let suspect = found.entry(DeviceId(device)).or_default();
            suspect.failures.push((judged_at, RolloutId(rollout)));
            if let (Some(times), Some(since), Some(until)) = (times, since, until) {
                suspect.before = Some((times, since, until));
            }
        }
    }
    Ok(found)
}

/// An id as both databases write it.
fn literal(session: &Session, id: Uuid) -> String {
    match session.kind() {
        crate::Kind::Postgres => format!("'{id}'"),
        crate::Kind::Sqlite => format!("X'{}'", id.simple()),
    }
}

/// A device that is set aside.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPenalty {
    /// The device.
    pub device: DeviceId,
    /// Why, for people.
    pub reason: String,
    /// What that rests on.
    pub evidence: Value,
    /// Until when.
    pub until: DateTime<Utc>,
    /// How often in a row.
    pub times: i64,
}

/// Sets these devices aside, where they are not, and appends the events. Returns how many were.
///
/// # Errors
/// Whatever the database says.
pub async fn add(session: &mut Session, penalties: &[NewPenalty], actor: &str) -> Result<usize> {
    let (kind, now) = (session.kind(), session.now());
    let mut added = 0;
    for chunk in penalties.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO device_penalties (device_uuid, reason, evidence, since, until, times) \
             VALUES {} ON CONFLICT (device_uuid) DO UPDATE SET reason = excluded.reason, \
             evidence = excluded.evidence, since = excluded.since, until = excluded.until, \
             times = excluded.times, ended_at = NULL \
             WHERE device_penalties.until <= excluded.since RETURNING device_uuid",
            placeholders(kind, 1, chunk.len(), 6)
        );
        let mut statement = session.built(sql);
        for penalty in chunk {
            statement = statement
                .bind(penalty.device.0)
                .bind(penalty.reason.clone())
                .bind(Json(penalty.evidence.clone()))
                .bind(now)
                .bind(penalty.until)
                .bind(penalty.times);
        }
        let done: Vec<(Uuid,)> = statement.all().await?;
        let told = chunk
            .iter()
            .filter(|penalty| done.contains(&(penalty.device.0,)))
            .map(|penalty| {
                NewEvent::new(EventType::PenaltyBoxed, actor)
                    .device(penalty.device)
                    .data(json!({
                        "reason": penalty.reason,
                        "since": now,
                        "until": penalty.until,
                        "times": penalty.times,
                        "evidence": penalty.evidence,
                    }))
            })
            .collect();
        added += done.len();
        events::append_all(session, told).await?;
    }
    Ok(added)
}

/// Whether the time of any device that is set aside is over.
///
/// # Errors
/// Whatever the database says.
pub async fn any_due(session: &mut Session) -> Result<bool> {
    let now = session.now();
    let found: Option<(Uuid,)> = session
        .sql(
            "SELECT device_uuid FROM device_penalties WHERE ended_at IS NULL AND until <= $1 \
             LIMIT 1",
        )
        .bind(now)
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Tells of up to `limit` devices whose time is over, or that were deleted, that they take part
/// again. Returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn end_due(session: &mut Session, limit: i64, actor: &str) -> Result<usize> {
    let now = session.now();
    let ended: Vec<(Uuid,)> = session
        .sql(
            "UPDATE device_penalties SET ended_at = $1 WHERE ended_at IS NULL AND device_uuid IN \
             (SELECT p.device_uuid FROM device_penalties p WHERE p.ended_at IS NULL \
             AND p.until <= $2 ORDER BY p.until LIMIT CAST($3 AS BIGINT)) RETURNING device_uuid",
        )
        .bind(now)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    let told = ended
        .iter()
        .map(|(device,)| {
            NewEvent::new(EventType::PenaltyLifted, actor)
                .device(DeviceId(*device))
                .data(json!({"reason": "its time is over"}))
        })
        .collect();
    events::append_all(session, told).await?;
    Ok(ended.len())
}

/// Lets a device take part again before its time is over, and appends the event with who wants that
/// and why. What it was set aside for counts no more, and the next time is as short as the first.
/// Returns false where it is not set aside.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(
    session: &mut Session,
    device: DeviceId,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let now = session.now();
    let lifted = session
        .sql(
            "UPDATE device_penalties SET since = CASE WHEN since < $1 THEN $1 ELSE since END, \
             until = CASE WHEN since < $1 THEN $1 ELSE since END, times = 0, ended_at = $1 \
             WHERE device_uuid = $2 AND until > $1",
        )
        .bind(now)
        .bind(device.0)
        .execute()
        .await?;
    if lifted == 0 {
        return Ok(false);
    }
    let event = NewEvent::new(EventType::PenaltyLifted, actor)
        .device(device)
        .data(json!({"reason": reason}));
    events::append(session, event).await?;
    Ok(true)
}

#[derive(sqlx::FromRow)]
struct Row {
    device_uuid: Uuid,
    reason: String,
    evidence: Json<Value>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl From<Row> for Penalty {
    fn from(row: Row) -> Self {
        Self {
            device_uuid: DeviceId(row.device_uuid),
            reason: row.reason,
            evidence: row.evidence.0,
            since: row.since,
            until: row.until,
        }
    }
}

/// A device's present penalty; none where it is not set aside.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, device: DeviceId) -> Result<Option<Penalty>> {
    let now = session.now();
    let row: Option<Row> = session
        .sql(
            "SELECT device_uuid, reason, evidence, since, until FROM device_penalties \
             WHERE device_uuid = $1 AND until > $2",
        )
        .bind(device.0)
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(Penalty::from))
}

/// Up to `limit` devices that are set aside, in the order of their ids, after one of them.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    after: Option<DeviceId>,
    limit: i64,
) -> Result<Vec<Penalty>> {
    let now = session.now();
    let rows: Vec<Row> = session
        .sql(
            "SELECT device_uuid, reason, evidence, since, until FROM device_penalties \
             WHERE device_uuid > $1 AND until > $2 ORDER BY device_uuid LIMIT CAST($3 AS BIGINT)",
        )
        .bind(after.map_or(Uuid::nil(), |device| device.0))
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Penalty::from).collect())
}
