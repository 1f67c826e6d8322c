//! Moving rollouts on.

use super::give_up::give_up;
use super::{COLUMNS, Row};
use crate::db::Session;
use crate::error::Result;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::ids::{PolicyId, RolloutId};
use windlass_types::image::Repository;
use windlass_types::rollout::{Rollout, SkipReason};

/// Writes where a rollout stands, if its version is still the one it was read with. Returns false
/// where it has moved on: then the whole transaction is to be given up.
///
/// # Errors
/// Whatever the database says.
pub async fn save(session: &mut Session, rollout: &Rollout) -> Result<bool> {
    let saved = session
        .sql(
            "UPDATE image_rollouts SET status = $1, status_reason = $2, status_detail = $3, \
             current_batch = $4, next_batch_at = $5, started_at = $6, finished_at = $7, \
             freeze_override = $8, freeze_override_at = $9, \
             version = version + 1 WHERE id = $10 AND version = $11",
        )
        .bind(rollout.status.as_str())
        .bind(rollout.status_reason.map(|reason| reason.as_str()))
        .bind(rollout.status_detail.clone())
        .bind(rollout.current_batch)
        .bind(rollout.next_batch_at)
        .bind(rollout.started_at)
        .bind(rollout.finished_at)
        .bind(rollout.freeze_override.clone())
        .bind(rollout.freeze_override_at)
        .bind(rollout.id.0)
        .bind(rollout.version)
        .execute()
        .await?;
    Ok(saved == 1)
}

/// Lets the failure budget count only verdicts after this moment: a person resumed the rollout in
/// spite of those before.
///
/// # Errors
/// Whatever the database says.
pub async fn restart_failure_count(session: &mut Session, id: RolloutId) -> Result<()> {
    let now = session.now();
    session
        .sql("UPDATE image_rollouts SET failures_from = $1 WHERE id = $2")
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// Skips the devices of a rollout, which the caller has locked, whose turn has not come. Those that
/// wait to be tried again fail instead, and are told of in this actor's name. Returns how many of each
/// batch were skipped.
///
/// # Errors
/// Whatever the database says.
pub async fn skip_pending(
    session: &mut Session,
    rollout: &Rollout,
    reason: SkipReason,
    actor: &str,
) -> Result<BTreeMap<i64, i64>> {
    let (id, now) = (rollout.id, session.now());
    give_up(session, rollout, (reason, actor), |sql| {
        sql.text("1 = 1");
    })
    .await?;
    let counts: Vec<(i64, i64)> = session
        .sql(
            "SELECT batch, COUNT(*) FROM device_rollout_status \
             WHERE rollout_id = $1 AND status = 'pending' GROUP BY batch ORDER BY batch",
        )
        .bind(id.0)
        .all()
        .await?;
    if counts.is_empty() {
        return Ok(BTreeMap::new());
    }
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = $1, updated_at = $2, \
             retry_at = NULL, rollback_why = NULL WHERE rollout_id = $3 AND status = 'pending'",
        )
        .bind(reason.as_str())
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    Ok(counts.into_iter().collect())
}

/// The statuses of a rollout that a newer version ends.
const ENDS: &str = "('pending', 'awaiting_approval', 'scheduled', 'in_progress', 'paused')";

/// The rollout that [`supersede`] would end, and the tag that it ships.
///
/// # Errors
/// Whatever the database says.
pub async fn to_supersede(
    session: &mut Session,
    policy: PolicyId,
    repository: &Repository,
) -> Result<Option<(RolloutId, Option<String>)>> {
    let row: Option<(Uuid, Option<String>)> = session
        .built(format!(
            "SELECT id, tag FROM image_rollouts WHERE policy_id = $1 AND repository = $2 \
             AND status IN {ENDS}"
        ))
        .bind(policy.0)
        .bind(repository.to_string())
        .optional()
        .await?;
    Ok(row.map(|(id, tag)| (RolloutId(id), tag)))
}

/// Ends the active rollout of a policy and repository because a newer version came, and skips its
/// devices whose turn has not come; those on their way go on being judged. Returns the rollout as it
/// is now and how many devices of each batch were skipped, where there was one.
///
/// # Errors
/// Whatever the database says.
pub async fn supersede(
    session: &mut Session,
    policy: PolicyId,
    repository: &Repository,
    detail: &str,
    actor: &str,
) -> Result<Option<(Rollout, BTreeMap<i64, i64>)>> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "UPDATE image_rollouts SET status = 'superseded', status_reason = 'newer_version', \
             status_detail = $1, next_batch_at = NULL, finished_at = $2, version = version + 1 \
             WHERE policy_id = $3 AND repository = $4 AND status IN {ENDS} \
             RETURNING {COLUMNS}"
        ))
        .bind(detail.to_owned())
        .bind(now)
        .bind(policy.0)
        .bind(repository.to_string())
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let rollout = Rollout::try_from(row)?;
    let skipped = skip_pending(session, &rollout, SkipReason::RolloutEnded, actor).await?;
    Ok(Some((rollout, skipped)))
}
