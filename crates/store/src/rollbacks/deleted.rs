//! Devices that were deleted on their way back.

use crate::db::Session;
use crate::error::Result;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};

/// A device that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The rollout.
    pub rollout: RolloutId,
    /// The device.
    pub device: DeviceId,
}

/// Leaves out the devices that are no more, of those that are on their way back and whose time has
/// come: nobody would ever report for them. Returns them; the caller appends the events.
///
/// # Errors
/// Whatever the database says.
pub async fn let_deleted_go(session: &mut Session) -> Result<Vec<Left>> {
    let now = session.now();
    // The first condition is the index's own, word by word, so that SQLite takes it.
    let rows: Vec<(Uuid, Uuid)> = session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'deleted', \
             check_at = NULL, rollback_why = NULL, updated_at = $1 \
             WHERE status IN ('scheduled', 'updating', 'verifying', 'rolling_back') \
             AND status = 'rolling_back' AND check_at <= $2 AND NOT EXISTS (SELECT 1 \
             FROM device_targets t WHERE t.device_uuid = device_rollout_status.device_uuid) \
             RETURNING rollout_id, device_uuid",
        )
        .bind(now)
        .bind(now)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(rollout, device)| Left {
            rollout: RolloutId(rollout),
            device: DeviceId(device),
        })
        .collect())
}
