//! Checks that health-checker runs against devices.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::store::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::CheckStatus;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// How long a check is left to who took it: a try takes ten seconds at most, the rest is for writing
/// down what came out.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(45);

/// How a check of a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCheck {
    /// Its place in the list of the rule, from 0.
    pub position: i64,
    /// What became of it.
    pub status: CheckStatus,
    /// How often it was tried.
    pub tries: i64,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// What the last try said.
    pub output: String,
    /// When it is tried next.
    pub next_at: Option<DateTime<Utc>>,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
    /// When it was tried last.
    pub checked_at: Option<DateTime<Utc>>,
}

/// Begins checks, or begins them anew: those of a device that is being verified from now on, or whose
/// stable window is. Each is the rollout, the device, the check's place and until when it must have
/// passed; the first try is now. Tries are counted on: by its number a try says which it was.
///
/// # Errors
/// Whatever the database says.
pub async fn begin(
    session: &mut Session,
    rows: &[(RolloutId, DeviceId, i64, DateTime<Utc>)],
) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO device_checks (rollout_id, device_uuid, position, status, output, \
             next_at, deadline_at) VALUES {} ON CONFLICT (rollout_id, device_uuid, position) \
             DO UPDATE SET status = excluded.status, failed_in_row = 0, \
             output = excluded.output, next_at = excluded.next_at, \
             deadline_at = excluded.deadline_at, checked_at = NULL",
            placeholders(kind, 1, chunk.len(), 7)
        );
        let mut statement = session.built(sql);
        for (rollout, device, position, deadline_at) in chunk {
            statement = statement
                .bind(rollout.0)
                .bind(device.0)
                .bind(*position)
                .bind("pending")
                .bind("it was not tried yet")
                .bind(now)
                .bind(*deadline_at);
        }
        statement.execute().await?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    rollout_id: Uuid,
    device_uuid: Uuid,
    position: i64,
    status: String,
    tries: i64,
    failed_in_row: i64,
    output: String,
    next_at: Option<DateTime<Utc>>,
    deadline_at: DateTime<Utc>,
    checked_at: Option<DateTime<Utc>>,
}

/// How the checks of these devices stand, in the order of their places.
///
/// # Errors
/// Whatever the database says.
pub async fn of_devices(
    session: &mut Session,
    devices: &BTreeSet<(RolloutId, DeviceId)>,
) -> Result<BTreeMap<(RolloutId, DeviceId), Vec<DeviceCheck>>> {
    let devices: Vec<(RolloutId, DeviceId)> = devices.iter().copied().collect();
    let mut found: BTreeMap<_, Vec<DeviceCheck>> = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        let sql = format!(
            "SELECT rollout_id, device_uuid, position, status, tries, failed_in_row, output, \
             next_at, deadline_at, checked_at FROM device_checks \
             WHERE (rollout_id, device_uuid) IN \
             (SELECT column1, column2 FROM (VALUES {}) AS raw) \
             ORDER BY rollout_id, device_uuid, position",
            placeholders(session.kind(), 1, chunk.len(), 2)
        );
        let rows: Vec<Row> = bind_pairs(session.built(sql), chunk).all().await?;
        for row in rows {
            found
                .entry((RolloutId(row.rollout_id), DeviceId(row.device_uuid)))
                .or_default()
                .push(DeviceCheck {
                    position: row.position,
                    status: parse("device_checks.status", &row.status)?,
                    tries: row.tries,
                    failed_in_row: row.failed_in_row,
                    output: row.output,
                    next_at: row.next_at,
                    deadline_at: row.deadline_at,
                    checked_at: row.checked_at,
                });
        }
    }
    Ok(found)
}

fn bind_pairs<'t>(
    statement: crate::Statement<'t>,
    pairs: &[(RolloutId, DeviceId)],
) -> crate::Statement<'t> {
    pairs
        .iter()
        .fold(statement, |statement, (rollout, device)| {
            statement.bind(rollout.0).bind(device.0)
        })
}

/// Forgets the checks of these devices, which are being verified no more: what came of them is in the
/// verdict's evidence.
///
/// # Errors
/// Whatever the database says.
pub async fn forget(
    session: &mut Session,
    devices: &BTreeSet<(RolloutId, DeviceId)>,
) -> Result<()> {
    let devices: Vec<(RolloutId, DeviceId)> = devices.iter().copied().collect();
    for chunk in devices.chunks(CHUNK) {
        let sql = format!(
            "DELETE FROM device_checks WHERE (rollout_id, device_uuid) IN \
             (SELECT column1, column2 FROM (VALUES {}) AS raw)",
            placeholders(session.kind(), 1, chunk.len(), 2)
        );
        bind_pairs(session.built(sql), chunk).execute().await?;
    }
    Ok(())
}

/// Forgets checks that are due and whose device somebody else has moved on: a rollback, an operator.
///
/// # Errors
/// Whatever the database says.
pub async fn forget_left_behind(session: &mut Session) -> Result<u64> {
    let now = session.now();
    session
        .sql(
            "DELETE FROM device_checks WHERE next_at <= $1 AND NOT EXISTS (\
               SELECT 1 FROM device_rollout_status d WHERE d.rollout_id = device_checks.rollout_id \
               AND d.device_uuid = device_checks.device_uuid AND d.status = 'verifying')",
        )
        .bind(now)
        .execute()
        .await
}

/// Whether a check of any device is due.
///
/// # Errors
/// Whatever the database says.
pub async fn any_due(session: &mut Session) -> Result<bool> {
    let now = session.now();
    let (due,): (i64,) = session
        .sql(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM device_checks WHERE next_at <= $1) \
             THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END",
        )
        .bind(now)
        .one()
        .await?;
    Ok(due == 1)
}

/// A check that is to be tried now, with what is known of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCheck {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
    /// The check's place in the list of the rule, from 0.
    pub position: i64,
    /// How often it was tried, this one included: what shows that it is still ours.
    pub tries: i64,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
    /// The device's name.
    pub name: String,
    /// The address in its own network that it reported last.
    pub address: Option<String>,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    rollout_id: Uuid,
    device_uuid: Uuid,
    batch: i64,
    position: i64,
    tries: i64,
    failed_in_row: i64,
    deadline_at: DateTime<Utc>,
    name: String,
    address: Option<String>,
}

/// Takes up to `limit` checks of devices that are due, the longest overdue first: they are left to the
/// caller for a while, from the commit on.
///
/// # Errors
/// Whatever the database says.
pub async fn claim(session: &mut Session, limit: i64) -> Result<Vec<DueCheck>> {
    let (kind, now) = (session.kind(), session.now());
    let lock = match kind {
        Kind::Postgres => " FOR UPDATE OF c SKIP LOCKED",
        Kind::Sqlite => "",
    };
    let sql = format!(
        "SELECT c.rollout_id, c.device_uuid, d.batch, c.position, c.tries, c.failed_in_row, \
         c.deadline_at, v.name, s.report ->> 'local_ip' AS address FROM device_checks c \
         JOIN device_rollout_status d ON d.rollout_id = c.rollout_id \
           AND d.device_uuid = c.device_uuid AND d.status = 'verifying' \
         JOIN devices v ON v.uuid = c.device_uuid \
         LEFT JOIN device_current_state s ON s.device_uuid = c.device_uuid \
         WHERE c.next_at <= $1 ORDER BY c.next_at LIMIT CAST($2 AS BIGINT){lock}"
    );
    let rows: Vec<DueRow> = session.built(sql).bind(now).bind(limit).all().await?;
    let due: Vec<DueCheck> = rows
        .into_iter()
        .map(|row| DueCheck {
            rollout: RolloutId(row.rollout_id),
            device: DeviceId(row.device_uuid),
            batch: row.batch,
            position: row.position,
            tries: row.tries + 1,
            failed_in_row: row.failed_in_row,
            deadline_at: row.deadline_at,
            name: row.name,
            address: row.address,
        })
        .collect();
    for chunk in due.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_checks SET tries = tries + 1, next_at = ${} \
             WHERE (rollout_id, device_uuid, position) IN \
             (SELECT column1, column2, column3 FROM (VALUES {}) AS raw)",
            chunk.len() * 3 + 1,
            placeholders(kind, 1, chunk.len(), 3),
        );
        // The time stands before the rows in the text: on SQLite its number says which it is.
        let mut statement = session.built(sql);
        for one in chunk {
            statement = statement
                .bind(one.rollout.0)
                .bind(one.device.0)
                .bind(one.position);
        }
        statement.bind(now + LEASE).execute().await?;
    }
    Ok(due)
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
    /// The check's place.
    pub position: i64,
    /// The number of the try.
    pub tries: i64,
    /// What became of the check.
    pub status: CheckStatus,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// What the try said.
    pub output: String,
    /// When it is tried again; none once it is decided.
    pub next_at: Option<DateTime<Utc>>,
}

/// Writes down what came of tries that are still the caller's, and has the devices whose checks are
/// decided judged at once. Returns how many were written.
///
/// # Errors
/// Whatever the database says.
pub async fn decide(session: &mut Session, tried: &[Tried]) -> Result<u64> {
    let (kind, now) = (session.kind(), session.now());
    let mut pairs: Vec<(RolloutId, DeviceId)> =
        tried.iter().map(|one| (one.rollout, one.device)).collect();
    pairs.sort_by_key(|(rollout, device)| (*device, *rollout));
    pairs.dedup();
    let mut written = 0;
    for chunk in pairs.chunks(CHUNK) {
        if kind == Kind::Postgres {
            // Before the checks and in the order in which devices are judged, or two wait for
            // each other.
            let sql = format!(
                "SELECT COUNT(*) FROM (SELECT d.rollout_id FROM device_rollout_status d \
                 WHERE (d.rollout_id, d.device_uuid) IN \
                 (SELECT column1, column2 FROM (VALUES {}) AS raw) \
                 ORDER BY d.device_uuid, d.rollout_id FOR UPDATE OF d) x",
                placeholders(kind, 1, chunk.len(), 2)
            );
            bind_pairs(session.built(sql), chunk).execute().await?;
        }
    }
    for chunk in tried.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_checks SET status = v.next_status, failed_in_row = v.next_failed, \
             output = v.next_output, next_at = v.again_at, checked_at = ${n} \
             FROM (SELECT column1 AS r, column2 AS d, column3 AS p, column4 AS t, \
             column5 AS next_status, column6 AS next_failed, column7 AS next_output, \
             column8 AS again_at FROM (VALUES {}) AS raw) AS v \
             WHERE rollout_id = v.r AND device_uuid = v.d AND position = v.p AND tries = v.t \
             AND status = 'pending'",
            placeholders(kind, 1, chunk.len(), 8),
            n = chunk.len() * 8 + 1,
        );
        let mut statement = session.built(sql);
        for one in chunk {
            statement = statement
                .bind(one.rollout.0)
                .bind(one.device.0)
                .bind(one.position)
                .bind(one.tries)
                .bind(one.status.as_str())
                .bind(one.failed_in_row)
                .bind(one.output.clone())
                .bind(one.next_at);
        }
        written += statement.bind(now).execute().await?;
    }
    let decided: Vec<(RolloutId, DeviceId)> = tried
        .iter()
        .filter(|one| one.status != CheckStatus::Pending)
        .map(|one| (one.rollout, one.device))
        .collect();
    for chunk in decided.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_rollout_status SET check_at = ${} WHERE status = 'verifying' \
             AND (rollout_id, device_uuid) IN \
             (SELECT column1, column2 FROM (VALUES {}) AS raw)",
            chunk.len() * 2 + 1,
            placeholders(kind, 1, chunk.len(), 2)
        );
        bind_pairs(session.built(sql), chunk)
            .bind(now)
            .execute()
            .await?;
    }
    Ok(written)
}
