//! Deleting devices.

use crate::db::Session;
use crate::error::Result;
use crate::events;
use serde_json::json;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;

/// Deletes a device with everything that is about it alone, and appends the event, from which
/// every replica learns that its key is good no more and the planner that rollouts are to go on
/// without it. Its places in rollouts stay: they are the rollouts' history. Returns false where
/// there is no such device.
///
/// # Errors
/// Whatever the database says.
pub async fn delete(
    session: &mut Session,
    device: DeviceId,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    // Its tags, target, state and logs go with it.
    let gone: Option<(String, String)> = session
        .sql("DELETE FROM devices WHERE uuid = $1 RETURNING name, fleet_id")
        .bind(device.0)
        .optional()
        .await?;
    let Some((name, fleet)) = gone else {
        return Ok(false);
    };
    for sql in [
        "DELETE FROM device_presence WHERE device_uuid = $1",
        "DELETE FROM device_last_good WHERE device_uuid = $1",
        "DELETE FROM device_failed_images WHERE device_uuid = $1",
        "DELETE FROM device_penalties WHERE device_uuid = $1",
    ] {
        session.sql(sql).bind(device.0).execute().await?;
    }
    let event = NewEvent::new(EventType::DeviceDeleted, actor)
        .device(device)
        .data(json!({"name": name, "fleet": fleet, "reason": reason}));
    events::append(session, event).await?;
    Ok(true)
}
