//! Giving devices the target that puts them back, and noting it.

use crate::db::{Session, placeholders};
use crate::error::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::rollout::DeviceStatus;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// A device that is put back.
#[derive(Debug, Clone)]
pub struct PutBack {
    /// The device.
    pub device: DeviceId,
    /// The version its target must still have.
    pub version: i64,
    /// Its state from now on; stored already.
    pub state: StateId,
    /// The images it goes back to, for people.
    pub image: String,
    /// What it rests on, with the services that go back.
    pub evidence: Value,
    /// When to look whether it is back.
    pub check_at: DateTime<Utc>,
    /// Until when it must be back.
    pub deadline_at: DateTime<Utc>,
}

/// Gives each device whose target still has that version the next version with its new state, and
/// notes in the rollout, whose rows the caller has locked, that it is on its way back. Returns the
/// new versions of the devices that were put back.
///
/// # Errors
/// Whatever the database says.
pub async fn put_back(
    session: &mut Session,
    rollout: RolloutId,
    devices: &[PutBack],
) -> Result<BTreeMap<DeviceId, i64>> {
    let (kind, now) = (session.kind(), session.now());
    let mut done = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        let n = chunk.len() * 3;
        let sql = format!(
            "UPDATE device_targets SET state_id = v.next, version = version + 1, \
             source = 'rollback', rollout_id = ${}, updated_at = ${} \
             FROM (SELECT column1 AS d, column2 AS old_version, column3 AS next \
             FROM (VALUES {}) AS raw) AS v \
             WHERE device_uuid = v.d AND version = v.old_version RETURNING device_uuid, version",
            n + 1,
            n + 2,
            placeholders(kind, 1, chunk.len(), 3),
        );
        let mut statement = session.built(sql);
        for one in chunk {
            statement = statement
                .bind(one.device.0)
                .bind(one.version)
                .bind(one.state.0);
        }
        let moved: Vec<(Uuid, i64)> = statement.bind(rollout.0).bind(now).all().await?;
        let moved: BTreeMap<DeviceId, i64> = moved
            .into_iter()
            .map(|(device, version)| (DeviceId(device), version))
            .collect();
        note(session, rollout, chunk, &moved).await?;
        done.extend(moved);
    }
    Ok(done)
}

async fn note(
    session: &mut Session,
    rollout: RolloutId,
    chunk: &[PutBack],
    moved: &BTreeMap<DeviceId, i64>,
) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    let rows: Vec<(&PutBack, i64)> = chunk
        .iter()
        .filter_map(|one| Some((one, *moved.get(&one.device)?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let n = rows.len() * 6;
    let sql = format!(
        "UPDATE device_rollout_status SET status = 'rolling_back', \
         reason = CASE status WHEN 'unreachable' THEN 'unreachable' ELSE reason END, \
         rollback_why = NULL, retry_at = NULL, rollback_version = v.back, \
         rollback_image = v.image, evidence = v.proof, check_at = v.next_check, \
         deadline_at = v.next_deadline, updated_at = ${} \
         FROM (SELECT column1 AS d, column2 AS back, column3 AS image, column4 AS proof, \
         column5 AS next_check, column6 AS next_deadline FROM (VALUES {}) AS raw) AS v \
         WHERE device_uuid = v.d AND rollout_id = ${}",
        n + 1,
        placeholders(kind, 1, rows.len(), 6),
        n + 2,
    );
    let mut statement = session.built(sql);
    for (one, version) in rows {
        statement = statement
            .bind(one.device.0)
            .bind(version)
            .bind(one.image.clone())
            .bind(Json(one.evidence.clone()))
            .bind(one.check_at)
            .bind(one.deadline_at);
    }
    statement.bind(now).bind(rollout.0).execute().await?;
    Ok(())
}

/// Notes of these devices, whose rows the caller has locked, that they are not put back: they get
/// this status, or keep theirs, with this reason, and are not looked at again.
///
/// # Errors
/// Whatever the database says.
pub async fn mark(
    session: &mut Session,
    rollout: RolloutId,
    devices: &BTreeSet<DeviceId>,
    status: Option<DeviceStatus>,
    reason: &str,
) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    let devices: Vec<DeviceId> = devices.iter().copied().collect();
    for chunk in devices.chunks(CHUNK) {
        let n = chunk.len();
        let sql = format!(
            "UPDATE device_rollout_status SET status = COALESCE(${}, status), reason = ${}, \
             check_at = NULL, rollback_why = NULL, updated_at = ${} WHERE device_uuid IN {} AND rollout_id = ${}",
            n + 1,
            n + 2,
            n + 3,
            placeholders(kind, 1, 1, n),
            n + 4,
        );
        let mut statement = session.built(sql);
        for device in chunk {
            statement = statement.bind(device.0);
        }
        statement
            .bind(status.map(DeviceStatus::as_str))
            .bind(reason.to_owned())
            .bind(now)
            .bind(rollout.0)
            .execute()
            .await?;
    }
    Ok(())
}

/// Skips the devices of a rollout that never were admitted: those that are to be tried again have its
/// image in their target and go back. Returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn skip_never_admitted(session: &mut Session, rollout: RolloutId) -> Result<u64> {
    let now = session.now();
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'rollout_ended', \
             updated_at = $1 WHERE rollout_id = $2 AND status = 'pending' AND retry_at IS NULL",
        )
        .bind(now)
        .bind(rollout.0)
        .execute()
        .await
}
