//! Writing verdicts, and what follows from them for the device.

use crate::db::{Session, placeholders};
use crate::error::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeSet;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::Digest;
use windlass_types::rollout::DeviceStatus;

/// Rows of one statement at most: 500 × 11 parameters stay far below what both databases take.
const CHUNK: usize = 500;

/// Whether the image was good for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It proved healthy.
    Healthy,
    /// It failed.
    Failed,
    /// It failed for a reason that is not the image's.
    Environment,
}

impl Verdict {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Environment => "environment",
        }
    }
}

/// What a row becomes, if it still is as it was read.
#[derive(Debug, Clone)]
pub struct Written {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
    /// The status it was read with.
    pub from: DeviceStatus,
    /// Since when it had that.
    pub since: DateTime<Utc>,
    /// Its status from now on.
    pub status: DeviceStatus,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// The verdict; without one the one there stays.
    pub verdict: Option<Verdict>,
    /// What it rests on; without one what is there stays.
    pub evidence: Option<Value>,
    /// When to look again.
    pub check_at: Option<DateTime<Utc>>,
    /// The deadline from now on.
    pub deadline_at: DateTime<Utc>,
}

/// Writes these rows where they still are as they were read, and returns those that were. The time
/// of the last move changes only with the status.
///
/// # Errors
/// Whatever the database says.
pub async fn write(
    session: &mut Session,
    rows: &[Written],
) -> Result<BTreeSet<(RolloutId, DeviceId)>> {
    let (kind, now) = (session.kind(), session.now());
    let mut written = BTreeSet::new();
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "UPDATE device_rollout_status SET status = v.next_status, reason = v.next_reason, \
             verdict = COALESCE(v.next_verdict, verdict), \
             evidence = COALESCE(v.next_evidence, evidence), \
             check_at = v.next_check_at, deadline_at = v.next_deadline_at, \
             rollback_why = CASE WHEN v.next_status = 'skipped' THEN NULL ELSE rollback_why END, \
             judged_at = CASE WHEN v.next_verdict IS NULL THEN judged_at ELSE ${n} END, \
             updated_at = CASE WHEN v.next_status = v.old_status THEN updated_at ELSE ${n} END \
             FROM (SELECT column1 AS r, column2 AS d, column3 AS old_status, column4 AS since, \
             column5 AS next_status, column6 AS next_reason, column7 AS next_verdict, \
             column8 AS next_evidence, column9 AS next_check_at, column10 AS next_deadline_at \
             FROM (VALUES {}) AS raw) AS v \
             WHERE rollout_id = v.r AND device_uuid = v.d AND status = v.old_status \
             AND updated_at = v.since RETURNING rollout_id, device_uuid",
            placeholders(kind, 1, chunk.len(), 10),
            n = chunk.len() * 10 + 1,
        );
        let mut statement = session.built(sql);
        for row in chunk {
            statement = statement
                .bind(row.rollout.0)
                .bind(row.device.0)
                .bind(row.from.as_str())
                .bind(row.since)
                .bind(row.status.as_str())
                .bind(row.reason.clone())
                .bind(row.verdict.map(Verdict::as_str))
                .bind(row.evidence.clone().map(Json))
                .bind(row.check_at)
                .bind(row.deadline_at);
        }
        let done: Vec<(Uuid, Uuid)> = statement.bind(now).all().await?;
        written.extend(
            done.into_iter()
                .map(|(rollout, device)| (RolloutId(rollout), DeviceId(device))),
        );
    }
    Ok(written)
}

/// An image that a service of a device proved healthy on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastGood {
    /// The device.
    pub device: DeviceId,
    /// The app.
    pub app_id: i64,
    /// The service.
    pub service_id: i64,
    /// The image, as the target names it.
    pub image: String,
    /// The rollout it was proved in.
    pub rollout: Option<RolloutId>,
}

/// Good images kept of a service: a device that is taken back from one goes to the one before, and
/// several of them in a row may turn out bad.
const KEPT: i64 = 5;

/// Remembers where these devices go back to from now on.
///
/// # Errors
/// Whatever the database says.
pub async fn last_good(session: &mut Session, rows: &[LastGood]) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO device_last_good (device_uuid, app_id, service_id, image, proved_at, \
             rollout_id) VALUES {} ON CONFLICT (device_uuid, app_id, service_id, image) DO UPDATE SET \
             proved_at = excluded.proved_at, rollout_id = excluded.rollout_id",
            placeholders(kind, 1, chunk.len(), 6)
        );
        let mut statement = session.built(sql);
        for row in chunk {
            statement = statement
                .bind(row.device.0)
                .bind(row.app_id)
                .bind(row.service_id)
                .bind(row.image.clone())
                .bind(now)
                .bind(row.rollout.map(|id| id.0));
        }
        statement.execute().await?;
        let sql = format!(
            "DELETE FROM device_last_good WHERE (device_uuid, app_id, service_id, image) IN \
             (SELECT device_uuid, app_id, service_id, image FROM \
             (SELECT device_uuid, app_id, service_id, image, \
             row_number() OVER (PARTITION BY device_uuid, app_id, service_id \
             ORDER BY proved_at DESC, image) AS place FROM device_last_good \
             WHERE device_uuid IN {}) AS ranked WHERE place > ${})",
            placeholders(kind, 1, 1, chunk.len()),
            chunk.len() + 1
        );
        let mut statement = session.built(sql);
        for row in chunk {
            statement = statement.bind(row.device.0);
        }
        statement.bind(KEPT).execute().await?;
    }
    Ok(())
}

/// Remembers that this digest failed on these devices, and forgets it as an image they were good on.
///
/// # Errors
/// Whatever the database says.
pub async fn failed_images(
    session: &mut Session,
    rollout: RolloutId,
    digest: &Digest,
    devices: &[DeviceId],
) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    for chunk in devices.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO device_failed_images (device_uuid, digest, rollout_id, failed_at) \
             VALUES {} ON CONFLICT (device_uuid, digest) DO NOTHING",
            placeholders(kind, 1, chunk.len(), 4)
        );
        let mut statement = session.built(sql);
        for device in chunk {
            statement = statement
                .bind(device.0)
                .bind(digest.to_string())
                .bind(rollout.0)
                .bind(now);
        }
        statement.execute().await?;
        let sql = format!(
            "DELETE FROM device_last_good WHERE device_uuid IN {} AND image LIKE ${}",
            placeholders(kind, 1, 1, chunk.len()),
            chunk.len() + 1
        );
        let mut statement = session.built(sql);
        for device in chunk {
            statement = statement.bind(device.0);
        }
        statement.bind(format!("%@{digest}")).execute().await?;
    }
    Ok(())
}

/// Forgets these images as ones that services proved healthy on, where they still are: a device was
/// taken back from them.
///
/// # Errors
/// Whatever the database says.
pub async fn no_longer_good(session: &mut Session, rows: &[LastGood]) -> Result<()> {
    let kind = session.kind();
    for chunk in rows.chunks(CHUNK) {
        let sql = format!(
            "DELETE FROM device_last_good WHERE (device_uuid, app_id, service_id, image) IN \
             (SELECT column1, column2, column3, column4 FROM (VALUES {}) AS raw)",
            placeholders(kind, 1, chunk.len(), 4)
        );
        let mut statement = session.built(sql);
        for row in chunk {
            statement = statement
                .bind(row.device.0)
                .bind(row.app_id)
                .bind(row.service_id)
                .bind(row.image.clone());
        }
        statement.execute().await?;
    }
    Ok(())
}
