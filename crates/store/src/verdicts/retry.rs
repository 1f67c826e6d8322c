//! Devices that failed for a reason that is not the image's and wait to be admitted again.

use crate::db::{Session, placeholders};
use crate::error::Result;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeSet;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::DeviceStatus;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// A device that is to be admitted again, if its row still is as it was read.
#[derive(Debug, Clone)]
pub struct PutOff {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
    /// The status it was read with.
    pub from: DeviceStatus,
    /// Since when it had that.
    pub since: DateTime<Utc>,
    /// Why it failed.
    pub reason: String,
    /// What that rests on.
    pub evidence: Value,
    /// When it may be admitted again.
    pub retry_at: DateTime<Utc>,
}

/// Those of these rollouts that still admit devices, held so until the transaction ends: a rollout
/// that ends meanwhile would leave a device waiting for its turn for ever. One that somebody changes at this
/// moment is not among them; nobody is waited for, since rows of devices are locked already, and
/// rollouts come before them.
///
/// # Errors
/// Whatever the database says.
pub async fn hold_active(
    session: &mut Session,
    rollouts: &BTreeSet<RolloutId>,
) -> Result<BTreeSet<RolloutId>> {
    let rollouts: Vec<RolloutId> = rollouts.iter().copied().collect();
    let mut held = BTreeSet::new();
    for chunk in rollouts.chunks(CHUNK) {
        let lock = match session.kind() {
            Kind::Postgres => " FOR SHARE SKIP LOCKED",
            Kind::Sqlite => "",
        };
        let sql = format!(
            "SELECT id FROM image_rollouts WHERE finished_at IS NULL \
             AND status <> 'rolling_back' AND id IN {}{lock}",
            placeholders(session.kind(), 1, 1, chunk.len())
        );
        let mut statement = session.built(sql);
        for id in chunk {
            statement = statement.bind(id.0);
        }
        let rows: Vec<(Uuid,)> = statement.all().await?;
        held.extend(rows.into_iter().map(|(id,)| RolloutId(id)));
    }
    Ok(held)
}

/// Puts these devices back among those that wait to be admitted, where they still are as they were
/// read, and returns those that were.
///
/// # Errors
/// Whatever the database says.
pub async fn put_off(
    session: &mut Session,
    rows: &[PutOff],
) -> Result<BTreeSet<(RolloutId, DeviceId)>> {
    let (kind, now) = (session.kind(), session.now());
    let mut written = BTreeSet::new();
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_rollout_status SET status = 'pending', reason = v.next_reason, \
             evidence = v.next_evidence, retries = retries + 1, retry_at = v.next_retry_at, \
             check_at = NULL, deadline_at = NULL, updated_at = ${n} \
             FROM (SELECT column1 AS r, column2 AS d, column3 AS old_status, column4 AS since, \
             column5 AS next_reason, column6 AS next_evidence, column7 AS next_retry_at \
             FROM (VALUES {}) AS raw) AS v \
             WHERE rollout_id = v.r AND device_uuid = v.d AND status = v.old_status \
             AND updated_at = v.since RETURNING rollout_id, device_uuid",
            placeholders(kind, 1, chunk.len(), 7),
            n = chunk.len() * 7 + 1,
        );
        let mut statement = session.built(sql);
        for row in chunk {
            statement = statement
                .bind(row.rollout.0)
                .bind(row.device.0)
                .bind(row.from.as_str())
                .bind(row.since)
                .bind(row.reason.clone())
                .bind(Json(row.evidence.clone()))
                .bind(row.retry_at);
        }
        let done: Vec<(Uuid, Uuid)> = statement.bind(now).all().await?;
        written.extend(
            done.into_iter()
                .map(|(rollout, device)| (RolloutId(rollout), DeviceId(device))),
        );
    }
    Ok(written)
}
