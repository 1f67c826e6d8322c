//! Marking devices that are to be put back, and what of it waits.

use super::candidates::{DIGEST, HAS_IMAGE};
use crate::db::Session;
use crate::error::Result;
use crate::quarantine::{Class, holds};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};

/// Which devices of a rollout are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that failed.
    Failed,
    /// Those that failed, and the digest is in quarantine for them.
    FailedInQuarantine,
    /// Those of a batch that have the rollout's image.
    Batch(i64),
    /// All that have it.
    All,
}

/// Marks devices of a rollout, which the caller has locked, as to be put back: all of these, or those
/// of a class. Returns how many. They go back in the order of their batches, as many at a time as the
/// rollout's rule allows.
///
/// # Errors
/// Whatever the database says.
pub async fn order(
    session: &mut Session,
    rollout: RolloutId,
    which: Which,
    class: Option<&Class>,
    why: &str,
) -> Result<u64> {
    let (batch, devices) = match which {
        Which::Failed => (0, "d.status = 'failed'".to_owned()),
        Which::FailedInQuarantine => {
            let held = holds("d.device_uuid", DIGEST);
            (0, format!("d.status = 'failed' AND {held}"))
        }
        Which::Batch(batch) => (batch, format!("d.batch = $3 AND {HAS_IMAGE}")),
        Which::All => (0, HAS_IMAGE.to_owned()),
    };
    let of_class = class.map_or("", |_| {
        " AND COALESCE((SELECT t.value FROM device_tags t \
         WHERE t.device_uuid = d.device_uuid AND t.key = $4), '') = $5"
    });
    let sql = format!(
        "UPDATE device_rollout_status AS d SET rollback_why = $1 WHERE d.rollout_id = $2 \
         AND CAST($3 AS BIGINT) >= 0 AND d.rollback_why IS NULL \
         AND COALESCE(d.reason, '') <> 'target_changed' AND {devices}{of_class}"
    );
    let mut statement = session
        .built(sql)
        .bind(why.to_owned())
        .bind(rollout.0)
        .bind(batch);
    if let Some(class) = class {
        statement = statement.bind(class.key.clone()).bind(class.value.clone());
    }
    statement.execute().await
}

/// Rollouts whose rule puts failed devices back once the budget is used up, with devices that failed
/// since and were not marked: paused ones, and of those that a person paused or that go on with other
/// classes only with devices for which the digest is in quarantine.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_with_late_failures(session: &mut Session) -> Result<Vec<RolloutId>> {
    let held = holds("d.device_uuid", "COALESCE(r.digest, r.known_digest)");
    let sql = format!(
        "SELECT r.id FROM image_rollouts r WHERE r.finished_at IS NULL \
         AND r.status IN ('in_progress', 'paused') \
         AND r.rule -> 'failure' ->> 'action' = 'rollback_failed' \
         AND EXISTS (SELECT 1 FROM device_rollout_status d WHERE d.rollout_id = r.id \
         AND d.verdict = 'failed' AND d.status = 'failed' AND d.check_at IS NULL \
         AND d.rollback_why IS NULL AND COALESCE(d.reason, '') <> 'target_changed' \
         AND ((r.status = 'paused' AND r.status_reason IN \
         ('failure_rate', 'consecutive_failures', 'went_silent')) OR {held})) ORDER BY 1"
    );
    let rows: Vec<(Uuid,)> = session.built(sql).all().await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// How many devices of a rollout are on their way back and are not silent.
///
/// # Errors
/// Whatever the database says.
pub async fn on_the_way(session: &mut Session, rollout: RolloutId) -> Result<i64> {
    let (devices,): (i64,) = session
        .sql(
            "SELECT COUNT(*) FROM device_rollout_status WHERE rollout_id = $1 \
             AND status = 'rolling_back' AND COALESCE(reason, '') <> 'unreachable'",
        )
        .bind(rollout.0)
        .one()
        .await?;
    Ok(devices)
}

/// How far the ways back of a rollout are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// On their way, as far as they are not silent; at most `failure.rollback_max_in_flight`.
    pub on_the_way: i64,
    /// To be put back, and waiting for one of those to be back.
    pub waiting: i64,
}

/// That a row `d` is to be put back, and waits for its turn: silent devices do not, they get their
/// target at once.
fn waits() -> String {
    format!(
        "{HAS_IMAGE} AND d.status <> 'unreachable' AND COALESCE(d.reason, '') <> 'target_changed' \
         AND (d.rollback_why IS NOT NULL OR (d.status = 'failed' AND d.check_at IS NOT NULL) \
         OR EXISTS (SELECT 1 FROM image_rollouts r WHERE r.id = d.rollout_id \
         AND r.status = 'rolling_back'))"
    )
}

/// How far the ways back of a rollout are: what devices wait for that are to be put back.
///
/// # Errors
/// Whatever the database says.
pub async fn queue(session: &mut Session, rollout: RolloutId) -> Result<Queue> {
    let sql = format!(
        "SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = $1 AND {}",
        waits()
    );
    let (waiting,): (i64,) = session.built(sql).bind(rollout.0).one().await?;
    Ok(Queue {
        on_the_way: on_the_way(session, rollout).await?,
        waiting,
    })
}

/// How many devices of a rollout are put back before this one, which waits for its turn; none where it
/// does not. Failed ones come first, in the order in which they failed, then the others, in the order
/// of their batches.
///
/// # Errors
/// Whatever the database says.
pub async fn before(
    session: &mut Session,
    rollout: RolloutId,
    device: DeviceId,
) -> Result<Option<i64>> {
    let failed = "d.status = 'failed' AND d.check_at IS NOT NULL";
    let sql = format!(
        "SELECT w.place FROM (SELECT d.device_uuid, ROW_NUMBER() OVER (\
           ORDER BY CASE WHEN {failed} THEN 0 ELSE 1 END, CASE WHEN {failed} THEN d.check_at END, \
             CASE WHEN {failed} THEN 0 ELSE d.batch END, d.device_uuid) AS place \
         FROM device_rollout_status d WHERE d.rollout_id = $1 AND {}) w WHERE w.device_uuid = $2",
        waits()
    );
    let row: Option<(i64,)> = session
        .built(sql)
        .bind(rollout.0)
        .bind(device.0)
        .optional()
        .await?;
    Ok(row.map(|(place,)| place - 1))
}
