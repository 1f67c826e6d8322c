//! Target states: shared bodies, and which device has which at which version.
//!
//! A body is stored once for all devices that want the same, under an id made from its content; a
//! device's row names it. Moving a hundred thousand devices rewrites a hundred thousand short rows.

use crate::db::{Session, placeholders};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::image::ImageReference;
use windlass_types::target::{TargetSource, TargetState};

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// A device's place in the world of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The device.
    pub device: DeviceId,
    /// Its state.
    pub state: StateId,
    /// Raised by each change.
    pub version: i64,
    /// Who gave it.
    pub source: TargetSource,
    /// When.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    device_uuid: Uuid,
    state_id: Uuid,
    version: i64,
    source: String,
    updated_at: DateTime<Utc>,
}

/// Stores these states where they are not there yet, with the services they run.
///
/// # Errors
/// Whatever the database says.
pub async fn ensure_states(
    session: &mut Session,
    states: &BTreeMap<StateId, TargetState>,
) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    let states: Vec<_> = states.iter().collect();
    for chunk in states.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO target_states (id, body, created_at) VALUES {} \
             ON CONFLICT (id) DO NOTHING RETURNING id",
            placeholders(kind, 1, chunk.len(), 3)
        );
        let mut statement = session.built(sql);
        for (id, state) in chunk {
            statement = statement.bind(id.0).bind(Json((*state).clone())).bind(now);
        }
        let made: Vec<(Uuid,)> = statement.all().await?;
        let mut services = Vec::new();
        for (id,) in made {
            let Some((_, state)) = chunk.iter().find(|(known, _)| known.0 == id) else {
                continue;
            };
            for (app, service) in state.services() {
                // What is no image reference can run, but no policy can be about it.
                if let Ok(image) = service.image_name.parse::<ImageReference>() {
                    services.push((id, app, service.clone(), image));
                }
            }
        }
        for chunk in services.chunks(CHUNK) {
            let sql = format!(
                "INSERT INTO target_services (state_id, app_id, service_id, service_name, \
                 repository, image) VALUES {} ON CONFLICT DO NOTHING",
                placeholders(kind, 1, chunk.len(), 6)
            );
            let mut statement = session.built(sql);
            for (id, app, service, image) in chunk {
                statement = statement
                    .bind(*id)
                    .bind(*app)
                    .bind(service.service_id)
                    .bind(service.service_name.clone())
                    .bind(image.repository().to_string())
                    .bind(service.image_name.clone());
            }
            statement.execute().await?;
        }
    }
    Ok(())
}

/// These states' bodies, without those that cannot be read: one such stops nobody else.
///
/// # Errors
/// Whatever the database says.
pub async fn states(
    session: &mut Session,
    ids: &[StateId],
) -> Result<BTreeMap<StateId, TargetState>> {
    let kind = session.kind();
    let mut found = BTreeMap::new();
    for chunk in ids.chunks(CHUNK) {
        let list = placeholders(kind, 1, 1, chunk.len());
        let mut statement = session.built(format!(
            "SELECT id, body FROM target_states WHERE id IN {list}"
        ));
        for id in chunk {
            statement = statement.bind(id.0);
        }
        let rows: Vec<(Uuid, Json<Value>)> = statement.all().await?;
        for (id, body) in rows {
            match serde_json::from_value(body.0) {
                Ok(body) => {
                    found.insert(StateId(id), body);
                }
                Err(error) => {
                    tracing::error!(state.id = %id, %error, "a target state cannot be read");
                }
            }
        }
    }
    Ok(found)
}

/// A device's target and its body; none for a device that is not known.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, device: DeviceId) -> Result<Option<(Target, TargetState)>> {
    let row: Option<Row> = session
        .sql(
            "SELECT device_uuid, state_id, version, source, updated_at FROM device_targets \
             WHERE device_uuid = $1",
        )
        .bind(device.0)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let target = Target {
        device: DeviceId(row.device_uuid),
        state: StateId(row.state_id),
        version: row.version,
        source: crate::error::parse("device_targets.source", &row.source)?,
        updated_at: row.updated_at,
    };
    let mut bodies = states(session, &[target.state]).await?;
    match bodies.remove(&target.state) {
        Some(body) => Ok(Some((target, body))),
        None => Err(Error::Corrupt {
            column: "target_states.body",
            value: format!("state {}", row.state_id),
        }),
    }
}

/// Gives a device its first target, version 1.
///
/// # Errors
/// A unique violation where it has one.
pub async fn create(session: &mut Session, device: DeviceId, state: StateId) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO device_targets (device_uuid, state_id, version, source, updated_at) \
             VALUES ($1, $2, 1, 'initial', $3)",
        )
        .bind(device.0)
        .bind(state.0)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Gives one device another state and the next version. With `expected`, only if its version is
/// still that one. Returns the new version, or none where the device is unknown or has moved on.
///
/// # Errors
/// Whatever the database says.
pub async fn set(
    session: &mut Session,
    device: DeviceId,
    state: StateId,
    source: TargetSource,
    rollout: Option<RolloutId>,
    expected: Option<i64>,
) -> Result<Option<i64>> {
    let now = session.now();
    let version: Option<(i64,)> = session
        .sql(
            "UPDATE device_targets SET state_id = $1, version = version + 1, source = $2, \
             rollout_id = $3, updated_at = $4, \
             hand_version = CASE WHEN $5 THEN version + 1 ELSE hand_version END, \
             hand_at = CASE WHEN $6 THEN $7 ELSE hand_at END \
             WHERE device_uuid = $8 AND version = COALESCE($9, version) RETURNING version",
        )
        .bind(state.0)
        .bind(source.as_str())
        .bind(rollout.map(|id| id.0))
        .bind(now)
        .bind(source == TargetSource::Operator)
        .bind(source == TargetSource::Operator)
        .bind(now)
        .bind(device.0)
        .bind(expected)
        .optional()
        .await?;
    Ok(version.map(|(version,)| version))
}

/// Gives a device a state with a version above `above`, where its version is below that: the database is older than
/// what the device has taken, and it refuses to go back. Returns the new version, or none where nothing is to be done.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(
    session: &mut Session,
    device: DeviceId,
    state: StateId,
    above: i64,
) -> Result<Option<i64>> {
    let now = session.now();
    let version: Option<(i64,)> = session
        .sql(
            "UPDATE device_targets SET state_id = $1, version = $2, source = $3, rollout_id = NULL, \
             updated_at = $4, hand_version = $5, hand_at = $6 \
             WHERE device_uuid = $7 AND version < $8 RETURNING version",
        )
        .bind(state.0)
        .bind(above.saturating_add(1))
        .bind(TargetSource::Operator.as_str())
        .bind(now)
        .bind(above.saturating_add(1))
        .bind(now)
        .bind(device.0)
        .bind(above)
        .optional()
        .await?;
    Ok(version.map(|(version,)| version))
}
