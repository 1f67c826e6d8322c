//! Checks of a batch as a whole.

use super::devices::LEASE;
use crate::db::{Session, placeholders};
use crate::error::Result;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::CheckStatus;

/// Rollouts whose present batch is complete, whose next one is due, and that have no gate checks for
/// it yet; most of them need none.
///
/// # Errors
/// Whatever the database says.
pub async fn without_gates(session: &mut Session) -> Result<Vec<RolloutId>> {
    let now = session.now();
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT r.id FROM image_rollouts r WHERE r.finished_at IS NULL \
             AND r.status = 'in_progress' AND r.next_batch_at <= $1 AND NOT EXISTS (\
               SELECT 1 FROM rollout_checks c \
               WHERE c.rollout_id = r.id AND c.batch = r.current_batch) ORDER BY r.id",
        )
        .bind(now)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// Makes the gate checks of a batch, where they are not there yet: the place, name and deadline of each.
/// The first try is now.
///
/// # Errors
/// Whatever the database says.
pub async fn make_gates(
    session: &mut Session,
    rollout: RolloutId,
    batch: i64,
    gates: &[(i64, String, DateTime<Utc>)],
) -> Result<()> {
    if gates.is_empty() {
        return Ok(());
    }
    let (kind, now) = (session.kind(), session.now());
    let sql = format!(
        "INSERT INTO rollout_checks (rollout_id, batch, position, name, status, evidence, next_at, \
         deadline_at) VALUES {} ON CONFLICT (rollout_id, batch, position) DO NOTHING",
        placeholders(kind, 1, gates.len(), 8)
    );
    let mut statement = session.built(sql);
    for (position, name, deadline_at) in gates {
        statement = statement
            .bind(rollout.0)
            .bind(batch)
            .bind(*position)
            .bind(name.clone())
            .bind("pending")
            .bind(Json(serde_json::json!({"summary": "it was not tried yet"})))
            .bind(now)
            .bind(*deadline_at);
    }
    statement.execute().await?;
    Ok(())
}

/// Whether a gate check of a running rollout is due.
///
/// # Errors
/// Whatever the database says.
pub async fn any_gate_due(session: &mut Session) -> Result<bool> {
    let now = session.now();
    let (due,): (i64,) = session
        .sql(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM rollout_checks c \
               JOIN image_rollouts r ON r.id = c.rollout_id AND r.current_batch = c.batch \
               AND r.finished_at IS NULL AND r.status = 'in_progress' WHERE c.next_at <= $1) \
             THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END",
        )
        .bind(now)
        .one()
        .await?;
    Ok(due == 1)
}

/// A gate check that is to be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueGate {
    /// The rollout.
    pub rollout: RolloutId,
    /// The batch, from 1.
    pub batch: i64,
    /// Its place among the batch's gate checks, from 0.
    pub position: i64,
    /// How often it was tried, this one included: what shows that it is still ours.
    pub tries: i64,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    rollout_id: Uuid,
    batch: i64,
    position: i64,
    tries: i64,
    failed_in_row: i64,
    deadline_at: DateTime<Utc>,
}

/// Takes up to `limit` gate checks that are due, of batches that still are the present ones of running
/// rollouts: they are left to the caller for a while, from the commit on.
///
/// # Errors
/// Whatever the database says.
pub async fn claim_gates(session: &mut Session, limit: i64) -> Result<Vec<DueGate>> {
    let now = session.now();
    let lock = match session.kind() {
        Kind::Postgres => " FOR UPDATE OF c SKIP LOCKED",
        Kind::Sqlite => "",
    };
    let sql = format!(
        "SELECT c.rollout_id, c.batch, c.position, c.tries, c.failed_in_row, c.deadline_at \
         FROM rollout_checks c JOIN image_rollouts r ON r.id = c.rollout_id \
           AND r.current_batch = c.batch AND r.status = 'in_progress' \
         WHERE c.next_at <= $1 ORDER BY c.next_at LIMIT CAST($2 AS BIGINT){lock}"
    );
    let rows: Vec<Row> = session.built(sql).bind(now).bind(limit).all().await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        session
            .sql(
                "UPDATE rollout_checks SET tries = tries + 1, next_at = $1 \
                 WHERE rollout_id = $2 AND batch = $3 AND position = $4",
            )
            .bind(now + LEASE)
            .bind(row.rollout_id)
            .bind(row.batch)
            .bind(row.position)
            .execute()
            .await?;
        due.push(DueGate {
            rollout: RolloutId(row.rollout_id),
            batch: row.batch,
            position: row.position,
            tries: row.tries + 1,
            failed_in_row: row.failed_in_row,
            deadline_at: row.deadline_at,
        });
    }
    Ok(due)
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq)]
pub struct GateTried {
    /// What became of the check.
    pub status: CheckStatus,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// What that rests on.
    pub evidence: Value,
    /// When it is tried again; none once it is decided.
    pub next_at: Option<DateTime<Utc>>,
}

/// Writes down what came of a try, if it is still the caller's. Returns whether it was.
///
/// # Errors
/// Whatever the database says.
pub async fn decide_gate(session: &mut Session, gate: &DueGate, tried: &GateTried) -> Result<bool> {
    let now = session.now();
    let written = session
        .sql(
            "UPDATE rollout_checks SET status = $1, failed_in_row = $2, evidence = $3, \
             next_at = $4, checked_at = $5 WHERE rollout_id = $6 AND batch = $7 AND position = $8 \
             AND tries = $9 AND status = 'pending'",
        )
        .bind(tried.status.as_str())
        .bind(tried.failed_in_row)
        .bind(Json(tried.evidence.clone()))
        .bind(tried.next_at)
        .bind(now)
        .bind(gate.rollout.0)
        .bind(gate.batch)
        .bind(gate.position)
        .bind(gate.tries)
        .execute()
        .await?;
    Ok(written == 1)
}
