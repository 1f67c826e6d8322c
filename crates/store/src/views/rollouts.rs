//! Rollouts with their progress, and the devices in them.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::rollouts::{COLUMNS, Row};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::{ImageReference, Repository};
use windlass_types::rollout::{
    BatchProgress, DeviceStatus, FailureRates, Rollout, RolloutDevice, RolloutStatus, RolloutView,
};

/// Which rollouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolloutFilter {
    /// Only those that stand here.
    pub status: Option<RolloutStatus>,
    /// Only those that have not ended, or only those that have.
    pub active: Option<bool>,
}

/// One rollout with its batches; what it waits for, and its approvals, checks and freezes are left
/// to the caller.
///
/// # Errors
/// Whatever the database says.
pub async fn rollout(session: &mut Session, id: RolloutId) -> Result<Option<RolloutView>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_rollouts WHERE id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    Ok(with_batches(session, row.into_iter().collect())
        .await?
        .pop())
}

/// These rollouts, in no particular order; those that do not exist are missing.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_by_id(session: &mut Session, ids: &[RolloutId]) -> Result<Vec<RolloutView>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = session.built(format!(
        "SELECT {COLUMNS} FROM image_rollouts WHERE id IN {}",
        placeholders(session.kind(), 1, 1, ids.len())
    ));
    for id in ids {
        statement = statement.bind(id.0);
    }
    let rows = statement.all().await?;
    with_batches(session, rows).await
}

/// Up to `limit` rollouts older than this one, latest first.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts(
    session: &mut Session,
    filter: RolloutFilter,
    after: Option<RolloutId>,
    limit: i64,
) -> Result<Vec<RolloutView>> {
    // Ids are UUIDv7 and below this one.
    let before = after.map_or(Uuid::max(), |id| id.0);
    let mut sql = format!("SELECT {COLUMNS} FROM image_rollouts WHERE id < $1");
    match filter.active {
        Some(true) => sql.push_str(" AND finished_at IS NULL"),
        Some(false) => sql.push_str(" AND finished_at IS NOT NULL"),
        None => {}
    }
    if filter.status.is_some() {
        sql.push_str(" AND status = $3");
    }
    sql.push_str(" ORDER BY id DESC LIMIT $2");
    let mut statement = session.built(sql).bind(before).bind(limit);
    if let Some(status) = filter.status {
        statement = statement.bind(status.as_str());
    }
    let rows = statement.all().await?;
    with_batches(session, rows).await
}

async fn with_batches(session: &mut Session, rows: Vec<Row>) -> Result<Vec<RolloutView>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let rollouts = rows
        .into_iter()
        .map(Rollout::try_from)
        .collect::<Result<Vec<_>>>()?;
    let ids: Vec<Uuid> = rollouts.iter().map(|rollout| rollout.id.0).collect();
    let mut statement = session.built(format!(
        "SELECT rollout_id, batch, status, verdict, COUNT(*), \
           CAST(SUM(CASE WHEN status = 'unreachable' AND reason = 'silent_after_update' \
                         THEN 1 ELSE 0 END) AS BIGINT) \
         FROM device_rollout_status \
         WHERE rollout_id IN {} GROUP BY rollout_id, batch, status, verdict",
        placeholders(session.kind(), 1, 1, ids.len())
    ));
    for id in ids {
        statement = statement.bind(id);
    }
    let counts: Vec<(Uuid, i64, String, Option<String>, i64, i64)> = statement.all().await?;
    let mut progress: BTreeMap<(Uuid, i64), BatchProgress> = BTreeMap::new();
    for (rollout, batch, status, verdict, devices, silent) in counts {
        let entry = progress
            .entry((rollout, batch))
            .or_insert_with(|| BatchProgress {
                batch,
                ..BatchProgress::default()
            });
        entry.add(parse("device_rollout_status.status", &status)?, devices);
        entry.went_silent += silent;
        match verdict.as_deref() {
            Some("environment") => entry.environment_failed += devices,
            Some("failed") => {
                entry.attempted += devices;
                entry.attempted_failed += devices;
            }
            Some(_) => entry.attempted += devices,
            None => {}
        }
    }
    Ok(rollouts
        .into_iter()
        .map(|rollout| {
            let range = (rollout.id.0, i64::MIN)..=(rollout.id.0, i64::MAX);
            let batches: Vec<_> = progress.range(range).map(|(_, b)| b.clone()).collect();
            let image = ImageReference::of(
                &rollout.repository,
                rollout.tag.as_deref(),
                rollout.digest.as_ref(),
            );
            RolloutView {
                image: image.to_string(),
                rollout,
                failures: FailureRates::of(&batches),
                batches,
                waiting_for: None,
                approvals: Vec::new(),
                checks: Vec::new(),
                freezes: Vec::new(),
            }
        })
        .collect())
}

/// The columns of [`DeviceRow`]: `d` is the device's row in the rollout, `r` the rollout. Of a device
/// with several services on the rollout's repository, `old_image` is that of the first.
pub(super) const DEVICE_COLUMNS: &str = "d.device_uuid, d.batch, d.status, d.reason, \
     (SELECT s.image FROM target_services s WHERE s.state_id = d.old_state_id \
      AND s.repository = r.repository ORDER BY s.app_id, s.service_id LIMIT 1) AS old_image, \
     d.target_version, d.rollback_image, d.rollback_version, d.evidence, d.retries, d.retry_at, \
     d.admitted_at, d.deadline_at, d.judged_at, d.updated_at";

#[derive(sqlx::FromRow)]
pub(super) struct DeviceRow {
    device_uuid: Uuid,
    batch: i64,
    status: String,
    reason: Option<String>,
    old_image: Option<String>,
    target_version: Option<i64>,
    rollback_image: Option<String>,
    rollback_version: Option<i64>,
    evidence: Option<Json<Value>>,
    admitted_at: Option<DateTime<Utc>>,
    deadline_at: Option<DateTime<Utc>>,
    judged_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    retries: i64,
    retry_at: Option<DateTime<Utc>>,
}

/// Up to `limit` devices of a rollout after this one, by uuid.
///
/// # Errors
/// Whatever the database says.
pub async fn rollout_devices(
    session: &mut Session,
    rollout: RolloutId,
    repository: &Repository,
    status: Option<DeviceStatus>,
    after: Option<DeviceId>,
    limit: i64,
) -> Result<Vec<RolloutDevice>> {
    let only = if status.is_some() {
        " AND d.status = $5"
    } else {
        ""
    };
    let sql = format!(
        "SELECT {DEVICE_COLUMNS} FROM device_rollout_status d, (SELECT $1 AS repository) r \
         WHERE d.rollout_id = $2 AND d.device_uuid > $3{only} ORDER BY d.device_uuid LIMIT $4"
    );
    let mut statement = session
        .built(sql)
        .bind(repository.to_string())
        .bind(rollout.0)
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(limit);
    if let Some(status) = status {
        statement = statement.bind(status.as_str());
    }
    let rows: Vec<DeviceRow> = statement.all().await?;
    rows.into_iter().map(|row| row.read(rollout)).collect()
}

impl DeviceRow {
    pub(super) fn read(self, rollout: RolloutId) -> Result<RolloutDevice> {
        Ok(RolloutDevice {
            rollout_id: rollout,
            device_uuid: DeviceId(self.device_uuid),
            batch: self.batch,
            status: parse("device_rollout_status.status", &self.status)?,
            reason: self.reason,
            old_image: self.old_image,
            target_version: self.target_version,
            rollback_image: self.rollback_image,
            rollback_version: self.rollback_version,
            evidence: self.evidence.map(|json| json.0),
            retries: self.retries,
            retry_at: self.retry_at,
            admitted_at: self.admitted_at,
            deadline_at: self.deadline_at,
            judged_at: self.judged_at,
            updated_at: self.updated_at,
        })
    }
}
