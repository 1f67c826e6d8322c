//! A device's places in rollouts, and what failed on it.

use super::rollouts::{DEVICE_COLUMNS, DeviceRow};
use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{DeviceStatus, RolloutDevice};
use windlass_types::why::FailedDigest;

/// How many rollouts back a device is looked for, beside those that have not ended: each costs one
/// look-up by key.
const LOOK_BACK: i64 = 200;

/// As in the index `device_rollout_status_device`, word for word: a rollout can have ended before its
/// last devices have.
const ON_THE_WAY: &str =
    "status IN ('scheduled', 'updating', 'verifying', 'unreachable', 'rolling_back')";

/// A device's place in a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceRow {
    /// Where it stands.
    pub row: RolloutDevice,
    /// Whether it failed for a reason that is not the image's.
    pub environment: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    device: DeviceRow,
    rollout_id: Uuid,
    verdict: Option<String>,
}

/// A device's places in rollouts, latest first, at most `limit`; those in which something is still to
/// come are found however old they are, and come before the others.
///
/// # Errors
/// Whatever the database says.
pub async fn places(session: &mut Session, device: DeviceId, limit: i64) -> Result<Vec<PlaceRow>> {
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {DEVICE_COLUMNS}, d.rollout_id, d.verdict FROM (\
               SELECT id FROM (SELECT id FROM image_rollouts ORDER BY id DESC LIMIT $1) latest \
               UNION SELECT id FROM image_rollouts WHERE finished_at IS NULL \
               UNION SELECT rollout_id FROM device_rollout_status w \
                 WHERE w.device_uuid = $2 AND {ON_THE_WAY}) known \
             JOIN image_rollouts r ON r.id = known.id \
             JOIN device_rollout_status d ON d.rollout_id = r.id AND d.device_uuid = $2 \
             ORDER BY CASE WHEN r.finished_at IS NULL OR d.{ON_THE_WAY} THEN 0 ELSE 1 END, \
             r.id DESC LIMIT $3"
        ))
        .bind(LOOK_BACK)
        .bind(device.0)
        .bind(limit)
        .all()
        .await?;
    let mut places = rows
        .into_iter()
        .map(|row| {
            Ok(PlaceRow {
                environment: row.verdict.as_deref() == Some("environment"),
                row: row.device.read(RolloutId(row.rollout_id))?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    places.sort_by_key(|place| std::cmp::Reverse(place.row.rollout_id));
    Ok(places)
}

/// Digests that failed on a device, latest first, at most 100.
///
/// # Errors
/// Whatever the database says.
pub async fn failed_digests(session: &mut Session, device: DeviceId) -> Result<Vec<FailedDigest>> {
    let rows: Vec<(String, Uuid, DateTime<Utc>, Option<String>)> = session
        .sql(
            "SELECT f.digest, f.rollout_id, f.failed_at, q.digest \
             FROM device_failed_images f LEFT JOIN quarantined_digests q ON q.digest = f.digest AND q.tag_key = '' \
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
