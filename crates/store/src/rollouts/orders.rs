//! What operators' commands do to a rollout's rows.

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::rollouts::facts::shipped_digest;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::Rollout;

/// Writes down that a person approved a batch. Returns false where they have already.
///
/// # Errors
/// Whatever the database says.
pub async fn approve(
    session: &mut Session,
    id: RolloutId,
    batch: i64,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let now = session.now();
    let written = session
        .sql(
            "INSERT INTO rollout_approvals (rollout_id, batch, actor, reason, approved_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (rollout_id, batch, actor) DO NOTHING",
        )
        .bind(id.0)
        .bind(batch)
        .bind(actor.to_owned())
        .bind(reason.to_owned())
        .bind(now)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Lets the gate checks of a batch that failed or said nothing count as passed: a person took that upon
/// themselves.
///
/// # Errors
/// Whatever the database says.
pub async fn waive_checks(
    session: &mut Session,
    id: RolloutId,
    batch: i64,
    actor: &str,
) -> Result<u64> {
    session
        .sql(
            "UPDATE rollout_checks SET waived_by = $1 WHERE rollout_id = $2 AND batch = $3 \
             AND status IN ('failed', 'inconclusive')",
        )
        .bind(actor.to_owned())
        .bind(id.0)
        .bind(batch)
        .execute()
        .await
}

/// A device that is to be tried again, and its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Again {
    /// The device.
    pub device: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
}

/// Makes devices pending again that failed, were inconclusive or unreachable, or were put back or could
/// not be: this one, those of one batch, or all up to the present batch. Their verdicts no longer count,
/// the digest is no longer held against them, and the gate checks of the present batch are asked anew.
/// They may be admitted at once, and an order to put them back is done with. Where there is no such
/// device, nothing changes. The rollout must be locked before.
///
/// # Errors
/// Whatever the database says.
pub async fn retry(
    session: &mut Session,
    rollout: &Rollout,
    device: Option<DeviceId>,
    batch: Option<i64>,
) -> Result<Vec<Again>> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    // The time of the retry tells that it was admitted before.
    sql.text(
        "UPDATE device_rollout_status SET status = 'pending', reason = NULL, verdict = NULL, \
         evidence = NULL, judged_at = NULL, check_at = NULL, deadline_at = NULL, \
         rollback_why = NULL, retries = 0, \
         retry_at = ",
    )
    .value(now)
    .text(", updated_at = ")
    .value(now)
    .text(" WHERE rollout_id = ")
    .value(rollout.id.0)
    .text(" AND batch <= ")
    .value(rollout.current_batch)
    .text(
        " AND status IN ('failed', 'inconclusive', 'rolled_back', 'rollback_failed', 'unreachable')",
    );
    if let Some(device) = device {
        sql.text(" AND device_uuid = ").value(device.0);
    }
    if let Some(batch) = batch {
        sql.text(" AND batch = ").value(batch);
    }
    sql.text(" RETURNING device_uuid, batch");
    let rows: Vec<(Uuid, i64)> = sql.on(session).all().await?;
    let mut devices: Vec<Again> = rows
        .into_iter()
        .map(|(device, batch)| Again {
            device: DeviceId(device),
            batch,
        })
        .collect();
    if devices.is_empty() {
        return Ok(devices);
    }
    devices.sort_unstable();
    if let Some(digest) = shipped_digest(session, rollout.id).await? {
        session
            .sql(
                "DELETE FROM device_failed_images WHERE digest = $1 AND device_uuid IN (\
                   SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $2 \
                   AND status = 'pending' AND retry_at = $3)",
            )
            .bind(digest.to_string())
            .bind(rollout.id.0)
            .bind(now)
            .execute()
            .await?;
    }
    session
        .sql("DELETE FROM rollout_checks WHERE rollout_id = $1 AND batch = $2")
        .bind(rollout.id.0)
        .bind(rollout.current_batch)
        .execute()
        .await?;
    Ok(devices)
}
