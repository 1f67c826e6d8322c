//! What stands between a batch and its admission: approvals, checks, the devices that wait, and how
//! many were admitted lately.

use super::admit::{SliceOf, open_now};
use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::types::Json;
use windlass_core::windows;
use windlass_types::facts::{Slice, Waiting, ZoneWaiting};
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{Approval, BatchProgress, GateCheck, Rollout};

/// Who approved which batch of a rollout, in the order of batches and times.
///
/// # Errors
/// Whatever the database says.
pub async fn approvals(session: &mut Session, id: RolloutId) -> Result<Vec<Approval>> {
    let rows: Vec<(i64, String, String, DateTime<Utc>)> = session
        .sql(
            "SELECT batch, actor, reason, approved_at FROM rollout_approvals \
             WHERE rollout_id = $1 ORDER BY batch, approved_at, actor",
        )
        .bind(id.0)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(batch, actor, reason, approved_at)| Approval {
            batch,
            actor,
            reason,
            approved_at,
        })
        .collect())
}

#[derive(sqlx::FromRow)]
struct CheckRow {
    position: i64,
    name: String,
    status: String,
    evidence: Json<Value>,
    checked_at: Option<DateTime<Utc>>,
    deadline_at: DateTime<Utc>,
    waived_by: Option<String>,
}

/// The gate checks of a batch, in the order of its rule.
///
/// # Errors
/// Whatever the database says.
pub async fn checks(session: &mut Session, id: RolloutId, batch: i64) -> Result<Vec<GateCheck>> {
    let rows: Vec<CheckRow> = session
        .sql(
            "SELECT position, name, status, evidence, checked_at, deadline_at, waived_by FROM rollout_checks \
             WHERE rollout_id = $1 AND batch = $2 ORDER BY position",
        )
        .bind(id.0)
        .bind(batch)
        .all()
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(GateCheck {
                batch,
                position: row.position,
                name: row.name,
                status: parse("rollout_checks.status", &row.status)?,
                evidence: row.evidence.0,
                checked_at: row.checked_at,
                deadline_at: row.deadline_at,
                waived_by: row.waived_by,
            })
        })
        .collect()
}

/// The devices of a rollout that could be admitted next: of the present batch and those before it where
/// they have any left, else of the next one that has any; and how many of them windows, retries and
/// limits by tag let through now.
///
/// # Errors
/// Whatever the database says.
pub async fn waiting(
    session: &mut Session,
    rollout: &Rollout,
    batches: &[BatchProgress],
) -> Result<Waiting> {
    /// Zone, devices, those that wait for a retry, when the first of them may.
    type Zone = (Option<String>, i64, i64, Option<DateTime<Utc>>);
    let current = rollout.current_batch;
    let first_pending = batches.iter().find(|progress| progress.pending > 0);
    // Of several batches only the present one and those before it are admitted together.
    let (batch, from) = match first_pending.map(|progress| progress.batch) {
        Some(first) if first <= current => (current, 1),
        Some(next) => (next, next),
        None => (current + 1, current + 1),
    };
    let now = session.now();
    let rows: Vec<Zone> = session
        .sql(
            "SELECT d.time_zone, COUNT(*), \
               CAST(SUM(CASE WHEN s.retry_at > $3 THEN 1 ELSE 0 END) AS BIGINT), \
               MIN(CASE WHEN s.retry_at > $3 THEN s.retry_at END) \
             FROM device_rollout_status s LEFT JOIN devices d ON d.uuid = s.device_uuid \
             WHERE s.rollout_id = $1 AND s.batch BETWEEN $4 AND $2 AND s.status = 'pending' \
             GROUP BY d.time_zone ORDER BY d.time_zone",
        )
        .bind(rollout.id.0)
        .bind(batch)
        .bind(now)
        .bind(from)
        .all()
        .await?;
    let mut waiting = Waiting {
        batch,
        ..Waiting::default()
    };
    let mut due = 0;
    for (time_zone, pending, later, retry_at) in rows {
        due += pending - later;
        waiting.zones.push(ZoneWaiting {
            time_zone,
            pending,
            later,
        });
        waiting.retry_at = match (waiting.retry_at, retry_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let zones = open_zones(rollout, &waiting, now);
    waiting.admissible = if due == 0 || rollout.status.is_final() {
        0
    } else if rollout.rule.limits.max_unavailable.is_empty() && zones.is_none() {
        due
    } else {
        let of = SliceOf {
            batch,
            at_most: i64::MAX,
            time_zones: zones.as_deref(),
        };
        let mut sql = Build::new(session.kind());
        sql.text("SELECT COUNT(*) FROM (");
        open_now(&mut sql, session, rollout, &of);
        sql.text(") c");
        let (devices,): (i64,) = sql.on(session).one().await?;
        devices
    };
    Ok(waiting)
}

/// The zones of waiting devices whose window is open; none where there are no windows.
fn open_zones(
    rollout: &Rollout,
    waiting: &Waiting,
    now: DateTime<Utc>,
) -> Option<Vec<Option<String>>> {
    let windows = &rollout.rule.maintenance_windows;
    if windows.is_empty() {
        return None;
    }
    let zones: Vec<_> = waiting.zones.iter().map(|z| z.time_zone.clone()).collect();
    Some(windows::open_zones(windows, &zones, now))
}

/// The time zones of all devices, each once; none for those without one.
///
/// # Errors
/// Whatever the database says.
pub async fn time_zones(session: &mut Session) -> Result<Vec<Option<String>>> {
    let rows: Vec<(Option<String>,)> = session
        .sql("SELECT DISTINCT time_zone FROM devices ORDER BY time_zone")
        .all()
        .await?;
    Ok(rows.into_iter().map(|(zone,)| zone).collect())
}

/// Slices of a rollout admitted in the last minute, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn admitted_lately(session: &mut Session, id: RolloutId) -> Result<Vec<Slice>> {
    let since = session.now() - TimeDelta::minutes(1);
    let rows: Vec<(DateTime<Utc>, i64)> = session
        .sql(
            "SELECT admitted_at, devices FROM rollout_admissions \
             WHERE rollout_id = $1 AND admitted_at > $2 ORDER BY slice",
        )
        .bind(id.0)
        .bind(since)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(at, devices)| Slice { at, devices })
        .collect())
}
