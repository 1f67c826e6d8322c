//! When devices were seen: kept coarsely, written in groups.

use crate::db::{Session, placeholders};
use crate::error::Result;
use chrono::{DateTime, Utc};
use windlass_types::ids::DeviceId;

/// Rows of one statement at most: two parameters each, far below what both databases take.
const CHUNK: usize = 5000;

/// Notes when these devices were seen. What is stored is never made older.
///
/// # Errors
/// Whatever the database says.
pub async fn seen(session: &mut Session, seen: &[(DeviceId, DateTime<Utc>)]) -> Result<()> {
    let kind = session.kind();
    let mut seen = seen.to_vec();
    // In one order everywhere, or two replicas wait for each other; the latest of a device first.
    seen.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    seen.dedup_by_key(|(device, _)| *device);
    for chunk in seen.chunks(CHUNK) {
        let mut statement = session.built(format!(
            "INSERT INTO device_presence (device_uuid, last_seen_at) VALUES {} \
             ON CONFLICT (device_uuid) DO UPDATE SET last_seen_at = excluded.last_seen_at \
             WHERE device_presence.last_seen_at < excluded.last_seen_at",
            placeholders(kind, 1, chunk.len(), 2)
        ));
        for (device, at) in chunk {
            statement = statement.bind(device.0).bind(*at);
        }
        statement.execute().await?;
    }
    Ok(())
}

/// When a device was seen last.
///
/// # Errors
/// Whatever the database says.
pub async fn last_seen(session: &mut Session, device: DeviceId) -> Result<Option<DateTime<Utc>>> {
    let row: Option<(DateTime<Utc>,)> = session
        .sql("SELECT last_seen_at FROM device_presence WHERE device_uuid = $1")
        .bind(device.0)
        .optional()
        .await?;
    Ok(row.map(|(at,)| at))
}
