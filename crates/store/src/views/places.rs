//! A device's places in rollouts, and what failed on it.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::DeviceStatus;
use windlass_types::why::FailedDigest;

/// How many rollouts back a device is looked for: each costs one look-up by key.
const LOOK_BACK: i64 = 200;

/// A device's place in a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device's batch, from 1.
    pub batch: i64,
    /// Where it stands.
    pub status: DeviceStatus,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// The target version that gave it the image.
    pub target_version: Option<i64>,
    /// The image it is put back on.
    pub rollback_image: Option<String>,
    /// Until when it must be healthy or back.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When it was last moved.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    rollout_id: Uuid,
    batch: i64,
    status: String,
    reason: Option<String>,
    target_version: Option<i64>,
    rollback_image: Option<String>,
    deadline_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

/// A device's places in the latest rollouts, latest first, at most `limit`.
///
/// # Errors
/// Whatever the database says.
pub async fn places(session: &mut Session, device: DeviceId, limit: i64) -> Result<Vec<Place>> {
    let rows: Vec<Row> = session
        .sql(
            "SELECT d.rollout_id, d.batch, d.status, d.reason, d.target_version, \
             d.rollback_image, d.deadline_at, d.updated_at \
             FROM (SELECT id FROM image_rollouts ORDER BY id DESC LIMIT $1) r \
             JOIN device_rollout_status d ON d.rollout_id = r.id AND d.device_uuid = $2 \
             ORDER BY r.id DESC LIMIT $3",
        )
        .bind(LOOK_BACK)
        .bind(device.0)
        .bind(limit)
        .all()
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Place {
                rollout: RolloutId(row.rollout_id),
                batch: row.batch,
                status: parse("device_rollout_status.status", &row.status)?,
                reason: row.reason,
                target_version: row.target_version,
                rollback_image: row.rollback_image,
                deadline_at: row.deadline_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

/// Digests that failed on a device, latest first, at most 100.
///
/// # Errors
/// Whatever the database says.
pub async fn failed_digests(session: &mut Session, device: DeviceId) -> Result<Vec<FailedDigest>> {
    let rows: Vec<(String, Uuid, DateTime<Utc>, Option<String>)> = session
        .sql(
            "SELECT f.digest, f.rollout_id, f.failed_at, q.digest \
             FROM device_failed_images f LEFT JOIN quarantined_digests q ON q.digest = f.digest \
             WHERE f.device_uuid = $1 ORDER BY f.failed_at DESC, f.digest LIMIT 100",
        )
        .bind(device.0)
        .all()
        .await?;
    rows.into_iter()
        .map(|(digest, rollout, failed_at, quarantined)| {
            Ok(FailedDigest {
                digest: parse("device_failed_images.digest", &digest)?,
                rollout_id: RolloutId(rollout),
                failed_at,
                quarantined: quarantined.is_some(),
            })
        })
        .collect()
}

/// Where a device stands in one rollout; none where it is not in it.
///
/// # Errors
/// Whatever the database says.
pub async fn place_in(
    session: &mut Session,
    rollout: RolloutId,
    device: DeviceId,
) -> Result<Option<DeviceStatus>> {
    let row: Option<(String,)> = session
        .sql("SELECT status FROM device_rollout_status WHERE rollout_id = $1 AND device_uuid = $2")
        .bind(rollout.0)
        .bind(device.0)
        .optional()
        .await?;
    row.map(|(status,)| parse("device_rollout_status.status", &status))
        .transpose()
}
