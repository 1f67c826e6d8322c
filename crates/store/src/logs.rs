//! Logs that devices send.

use crate::db::{Session, placeholders};
use crate::error::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use windlass_types::device::DeviceLog;
use windlass_types::ids::DeviceId;

/// Rows of one INSERT at most: 9 parameters each.
const CHUNK: usize = 500;

/// A line as a device sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLog {
    /// When the device wrote it.
    pub logged_at: DateTime<Utc>,
    /// `info` and the like.
    pub level: String,
    /// The line.
    pub message: String,
    /// The service it is from.
    pub service_name: Option<String>,
    /// The container it is from.
    pub container_id: Option<String>,
    /// Whether it was written to standard error.
    pub is_stderr: bool,
    /// Where it is from, as the device says it.
    pub source: Option<Value>,
}

/// Stores lines of one device, in this order.
///
/// # Errors
/// Whatever the database says.
pub async fn insert(session: &mut Session, device: DeviceId, logs: &[NewLog]) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    for chunk in logs.chunks(CHUNK) {
        let mut statement = session.built(format!(
            "INSERT INTO device_logs (device_uuid, logged_at, received_at, level, message, \
             service_name, container_id, is_stderr, source) VALUES {}",
            placeholders(kind, 1, chunk.len(), 9)
        ));
        for log in chunk {
            statement = statement
                .bind(device.0)
                .bind(log.logged_at)
                .bind(now)
                .bind(log.level.clone())
                .bind(log.message.clone())
                .bind(log.service_name.clone())
                .bind(log.container_id.clone())
                .bind(log.is_stderr)
                .bind(log.source.clone().map(Json));
        }
        statement.execute().await?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    logged_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
    level: String,
    message: String,
    service_name: Option<String>,
    container_id: Option<String>,
    is_stderr: bool,
    source: Option<Json<Value>>,
}

/// Up to `limit` lines of a device, the latest received first, before the line of this number.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    device: DeviceId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<DeviceLog>> {
    let rows: Vec<Row> = session
        .sql(
            "SELECT id, logged_at, received_at, level, message, service_name, container_id, \
             is_stderr, source FROM device_logs WHERE device_uuid = $1 AND id < $2 \
             ORDER BY id DESC LIMIT CAST($3 AS BIGINT)",
        )
        .bind(device.0)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeviceLog {
            id: row.id,
            logged_at: row.logged_at,
            received_at: row.received_at,
            level: row.level,
            message: row.message,
            service_name: row.service_name,
            container_id: row.container_id,
            is_stderr: row.is_stderr,
            source: row.source.map(|source| source.0),
        })
        .collect())
}

/// Deletes up to `limit` lines received before this time; returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn delete_before(
    session: &mut Session,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    session
        .sql(
            "DELETE FROM device_logs WHERE id IN \
             (SELECT id FROM device_logs WHERE received_at < $1 ORDER BY received_at LIMIT CAST($2 AS BIGINT))",
        )
        .bind(before)
        .bind(limit)
        .execute()
        .await
}
