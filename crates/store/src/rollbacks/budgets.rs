//! Which failure budgets are to be looked at.

use crate::db::{Session, placeholders};
use crate::error::Result;
use chrono::TimeDelta;
use uuid::Uuid;
use windlass_types::event::Cursor;
use windlass_types::ids::RolloutId;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// How long after its end the failures of a rollout can still put its digest into quarantine.
const STILL_JUDGED: TimeDelta = TimeDelta::days(7);

/// A rollout whose failure budget is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithFailures {
    /// The rollout.
    pub id: RolloutId,
    /// Whether it runs, so that it may have to be paused.
    pub running: bool,
}

/// Rollouts in which a device failed since a person took its failures upon themselves, oldest first:
/// those whose failure budgets are to be looked at. Running ones may have to be paused, also for devices
/// that went silent or failed for other reasons than the image's. Of the others, which may have been
/// stopped, overtaken or completed before anybody looked, only those of which the event log tells
/// anything after they were [`counted`] last, whose digest is not in quarantine for all, and that did not end
/// more than a week ago.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_with_failures(session: &mut Session) -> Result<Vec<WithFailures>> {
    let since = session.now() - STILL_JUDGED;
    let any = |what: &str, at: &str| {
        format!(
            "EXISTS (SELECT 1 FROM device_rollout_status d WHERE d.rollout_id = r.id AND {what} \
             AND (r.failures_from IS NULL OR d.{at} > r.failures_from))"
        )
    };
    let failed = any("d.verdict = 'failed'", "judged_at");
    // Whatever happens to a rollout or to its devices is in the log in the same transaction. Events that
    // are not settled count too: they are found once more when they are.
    let others = format!(
        "COALESCE(r.digest, r.known_digest) IS NOT NULL AND NOT EXISTS (SELECT 1 \
         FROM quarantined_digests q WHERE q.digest = COALESCE(r.digest, r.known_digest) \
         AND q.tag_key = '') AND {failed} \
         AND NOT EXISTS (SELECT 1 FROM counted_budgets c WHERE c.rollout_id = r.id \
         AND NOT EXISTS (SELECT 1 FROM events e WHERE e.rollout_id = r.id \
         AND (e.tx, e.seq) > (c.tx, c.seq)))"
    );
    let sql = format!(
        "SELECT r.id, CAST(1 AS BIGINT) AS running FROM image_rollouts r \
         WHERE r.finished_at IS NULL AND r.status = 'in_progress' \
         AND ({failed} OR {environment} OR {silent}) \
         UNION ALL SELECT r.id, 0 FROM image_rollouts r \
         WHERE r.finished_at IS NULL AND r.status <> 'in_progress' AND {others} \
         UNION ALL SELECT r.id, 0 FROM image_rollouts r WHERE r.finished_at > $1 AND {others}",
        environment = any("d.verdict = 'environment'", "judged_at"),
        silent = any(
            "d.status = 'unreachable' AND d.reason = 'silent_after_update'",
            "updated_at"
        ),
    );
    let mut rows: Vec<(Uuid, i64)> = session.built(sql).bind(since).all().await?;
    // SQLite, asked for this order, would read every rollout there ever was in it.
    rows.sort_unstable();
    Ok(rows
        .into_iter()
        .map(|(id, running)| WithFailures {
            id: RolloutId(id),
            running: running == 1,
        })
        .collect())
}

/// Notes that the failures of these rollouts were counted and found within their budgets, by whoever
/// knew the log up to this settled event before counting. Of two that note, the one that knew more
/// stays.
///
/// # Errors
/// Whatever the database says.
pub async fn counted(session: &mut Session, rollouts: &[RolloutId], seen: Cursor) -> Result<()> {
    for chunk in rollouts.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO counted_budgets (rollout_id, tx, seq) VALUES {} \
             ON CONFLICT (rollout_id) DO UPDATE SET tx = excluded.tx, seq = excluded.seq \
             WHERE (counted_budgets.tx, counted_budgets.seq) < (excluded.tx, excluded.seq)",
            placeholders(session.kind(), 1, chunk.len(), 3)
        );
        let mut statement = session.built(sql);
        for id in chunk {
            statement = statement.bind(id.0).bind(seen.tx).bind(seen.seq);
        }
        statement.execute().await?;
    }
    Ok(())
}
