//! Devices, fleets and tags.

mod delete;

pub use delete::delete;

use crate::db::{Session, Statement, placeholders};
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::api::{DevicePatch, Fleet};
use windlass_types::device::Device;
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::{DeviceId, FleetId, StateId};

/// Rows of one statement at most.
const CHUNK: usize = 500;

#[derive(sqlx::FromRow)]
struct Row {
    uuid: Uuid,
    id: i64,
    name: String,
    device_type: String,
    fleet_id: String,
    enabled: bool,
    time_zone: Option<String>,
    platform: Option<String>,
    agent_version: Option<String>,
    os_version: Option<String>,
    last_seen_at: Option<DateTime<Utc>>,
    target_version: i64,
    created_at: DateTime<Utc>,
}

const SELECT: &str = "SELECT d.uuid, d.id, d.name, d.device_type, d.fleet_id, d.enabled, \
     d.time_zone, d.platform, d.agent_version, d.os_version, p.last_seen_at, t.version AS target_version, d.created_at \
     FROM devices d JOIN device_targets t ON t.device_uuid = d.uuid \
     LEFT JOIN device_presence p ON p.device_uuid = d.uuid";

/// The rows with their tags, in the same order.
async fn with_tags(session: &mut Session, rows: Vec<Row>) -> Result<Vec<Device>> {
    let kind = session.kind();
    let mut tags: BTreeMap<Uuid, BTreeMap<String, String>> = BTreeMap::new();
    for chunk in rows.chunks(CHUNK) {
        let mut statement = session.built(format!(
            "SELECT device_uuid, key, value FROM device_tags WHERE device_uuid IN {}",
            placeholders(kind, 1, 1, chunk.len())
        ));
        for row in chunk {
            statement = statement.bind(row.uuid);
        }
        let found: Vec<(Uuid, String, String)> = statement.all().await?;
        for (device, key, value) in found {
            tags.entry(device).or_default().insert(key, value);
        }
    }
    rows.into_iter()
        .map(|row| {
            Ok(Device {
                uuid: DeviceId(row.uuid),
                id: row.id,
                name: row.name,
                device_type: row.device_type,
                fleet: parse("devices.fleet_id", &row.fleet_id)?,
                tags: tags.remove(&row.uuid).unwrap_or_default(),
                enabled: row.enabled,
                time_zone: row.time_zone,
                platform: row.platform,
                agent_version: row.agent_version,
                os_version: row.os_version,
                last_seen_at: row.last_seen_at,
                target_version: row.target_version,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// One device; none where it is not known.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, device: DeviceId) -> Result<Option<Device>> {
    let row: Option<Row> = session
        .built(format!("{SELECT} WHERE d.uuid = $1"))
        .bind(device.0)
        .optional()
        .await?;
    Ok(with_tags(session, row.into_iter().collect()).await?.pop())
}

/// Which devices a listing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only those of this fleet.
    pub fleet: Option<FleetId>,
    /// Only those that carry all these tags with these values.
    pub tags: BTreeMap<String, String>,
    /// Only those that may, or may not, poll and report.
    pub enabled: Option<bool>,
    /// Only those that polled or reported since.
    pub seen_since: Option<DateTime<Utc>>,
}

/// Up to `limit` devices after this one, by uuid.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    filter: &DeviceFilter,
    after: Option<DeviceId>,
    limit: i64,
) -> Result<Vec<Device>> {
    let mut sql = format!("{SELECT} WHERE d.uuid > $1");
    let mut next = 2;
    let mut condition = |text: &dyn Fn(usize) -> String, parameters: usize| {
        sql.push_str(" AND ");
        sql.push_str(&text(next));
        next += parameters;
    };
    if filter.fleet.is_some() {
        condition(&|n| format!("d.fleet_id = ${n}"), 1);
    }
    if filter.enabled.is_some() {
        condition(&|n| format!("d.enabled = ${n}"), 1);
    }
    if filter.seen_since.is_some() {
        condition(
            &|n| {
                format!(
                    "EXISTS (SELECT 1 FROM device_presence p WHERE p.device_uuid = d.uuid \
                     AND p.last_seen_at >= ${n})"
                )
            },
            1,
        );
    }
    for _ in &filter.tags {
        condition(
            &|n| {
                format!(
                    "EXISTS (SELECT 1 FROM device_tags g WHERE g.device_uuid = d.uuid \
                     AND g.key = ${n} AND g.value = ${})",
                    n + 1
                )
            },
            2,
        );
    }
    sql.push_str(&format!(" ORDER BY d.uuid LIMIT CAST(${next} AS BIGINT)"));
    let mut statement = session
        .built(sql)
        .bind(after.map_or(Uuid::nil(), |id| id.0));
    if let Some(fleet) = &filter.fleet {
        statement = statement.bind(fleet.as_str().to_owned());
    }
    if let Some(enabled) = filter.enabled {
        statement = statement.bind(enabled);
    }
    if let Some(since) = filter.seen_since {
        statement = statement.bind(since);
    }
    for (key, value) in &filter.tags {
        statement = statement.bind(key.clone()).bind(value.clone());
    }
    let rows: Vec<Row> = statement.bind(limit).all().await?;
    with_tags(session, rows).await
}

/// Changes what is given. Returns false where the device is not known. The caller appends the event
/// (`device.changed`), from which every replica learns of it.
///
/// # Errors
/// Whatever the database says.
pub async fn update(session: &mut Session, device: DeviceId, patch: &DevicePatch) -> Result<bool> {
    if let Some(fleet) = &patch.fleet {
        ensure_fleet(session, fleet).await?;
    }
    let found = session
        .sql(
            "UPDATE devices SET name = COALESCE($1, name), fleet_id = COALESCE($2, fleet_id), \
             enabled = COALESCE($3, enabled), \
             time_zone = CASE WHEN $4 THEN $5 ELSE time_zone END WHERE uuid = $6",
        )
        .bind(patch.name.clone())
        .bind(patch.fleet.as_ref().map(|fleet| fleet.as_str().to_owned()))
        .bind(patch.enabled)
        .bind(patch.time_zone.is_some())
        .bind(patch.time_zone.clone().flatten())
        .bind(device.0)
        .execute()
        .await?;
    if found == 0 {
        return Ok(false);
    }
    if let Some(tags) = &patch.tags {
        session
            .sql("DELETE FROM device_tags WHERE device_uuid = $1")
            .bind(device.0)
            .execute()
            .await?;
        let (kind, tags): (_, Vec<_>) = (session.kind(), tags.iter().collect());
        for chunk in tags.chunks(CHUNK) {
            let mut statement = session.built(format!(
                "INSERT INTO device_tags (device_uuid, key, value) VALUES {}",
                placeholders(kind, 1, chunk.len(), 3)
            ));
            for (key, value) in chunk {
                statement = statement
                    .bind(device.0)
                    .bind((*key).clone())
                    .bind((*value).clone());
            }
            statement.execute().await?;
        }
    }
    Ok(true)
}

/// Makes a fleet where it does not exist.
///
/// # Errors
/// Whatever the database says.
pub async fn ensure_fleet(session: &mut Session, fleet: &FleetId) -> Result<()> {
    let now = session.now();
    session
        .sql("INSERT INTO fleets (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(fleet.as_str().to_owned())
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Up to `limit` fleets after this one, by name.
///
/// # Errors
/// Whatever the database says.
pub async fn fleets(
    session: &mut Session,
    after: Option<&FleetId>,
    limit: i64,
) -> Result<Vec<Fleet>> {
    let rows: Vec<(String, i64, DateTime<Utc>)> = session
        .sql(
            "SELECT f.id, (SELECT COUNT(*) FROM devices d WHERE d.fleet_id = f.id), f.created_at \
             FROM fleets f WHERE f.id > $1 ORDER BY f.id LIMIT CAST($2 AS BIGINT)",
        )
        .bind(after.map_or_else(String::new, |fleet| fleet.as_str().to_owned()))
        .bind(limit)
        .all()
        .await?;
    rows.into_iter()
        .map(|(id, devices, created_at)| {
            Ok(Fleet {
                id: parse("fleets.id", &id)?,
                devices,
                created_at,
            })
        })
        .collect()
}

/// What a poll is answered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The device.
    pub device: DeviceId,
    /// Its key, hashed.
    pub key_hash: Vec<u8>,
    /// Its target's version.
    pub version: i64,
    /// Whether it may poll and report.
    pub enabled: bool,
}

type CredentialRow = (Uuid, Vec<u8>, i64, bool);

impl From<CredentialRow> for Credentials {
    fn from((device, key_hash, version, enabled): CredentialRow) -> Self {
        Self {
            device: DeviceId(device),
            key_hash,
            version,
            enabled,
        }
    }
}

const CREDENTIALS: &str = "SELECT d.uuid, d.key_hash, t.version, d.enabled FROM devices d \
     JOIN device_targets t ON t.device_uuid = d.uuid";

/// Up to `limit` devices' credentials after this device, by uuid.
///
/// # Errors
/// Whatever the database says.
pub async fn credentials_page(
    session: &mut Session,
    after: Option<DeviceId>,
    limit: i64,
) -> Result<Vec<Credentials>> {
    let rows: Vec<CredentialRow> = session
        .built(format!(
            "{CREDENTIALS} WHERE d.uuid > $1 ORDER BY d.uuid LIMIT CAST($2 AS BIGINT)"
        ))
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(Credentials::from).collect())
}

/// These devices' credentials; those that are not known are left out.
///
/// # Errors
/// Whatever the database says.
pub async fn credentials(session: &mut Session, devices: &[DeviceId]) -> Result<Vec<Credentials>> {
    let mut found = Vec::with_capacity(devices.len());
    for chunk in devices.chunks(CHUNK) {
        let rows: Vec<CredentialRow> = among(session, CREDENTIALS, "d.uuid", chunk).all().await?;
        found.extend(rows.into_iter().map(Credentials::from));
    }
    Ok(found)
}

/// These devices' targets by name: version, and the state to be in. Those that are not known are left out.
///
/// # Errors
/// Whatever the database says.
pub async fn targets_of(
    session: &mut Session,
    devices: &[DeviceId],
) -> Result<Vec<(DeviceId, i64, StateId)>> {
    const SELECT: &str = "SELECT device_uuid, version, state_id FROM device_targets";
    let mut found = Vec::with_capacity(devices.len());
    for chunk in devices.chunks(CHUNK) {
        let statement = among(session, SELECT, "device_uuid", chunk);
        let rows: Vec<(Uuid, i64, Uuid)> = statement.all().await?;
        found.extend(
            rows.into_iter()
                .map(|(device, version, state)| (DeviceId(device), version, StateId(state))),
        );
    }
    Ok(found)
}

/// `select` for these devices. The list has a power of two of places, the last device in those left over: so a
/// few statements serve every number of devices, and stay prepared.
fn among<'t>(
    session: &'t mut Session,
    select: &str,
    column: &str,
    devices: &[DeviceId],
) -> Statement<'t> {
    let places = devices.len().next_power_of_two();
    let list = placeholders(session.kind(), 1, 1, places);
    let statement = session.built(format!("{select} WHERE {column} IN {list}"));
    let last = devices.last().copied();
    let rest = last.into_iter().cycle().take(places - devices.len());
    rest.fold(bind_all(statement, devices), |statement, device| {
        statement.bind(device.0)
    })
}

pub(crate) fn bind_all<'t>(statement: Statement<'t>, devices: &[DeviceId]) -> Statement<'t> {
    devices
        .iter()
        .fold(statement, |statement, device| statement.bind(device.0))
}

/// An event as far as a cache of devices needs it: without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its place in the log.
    pub id: Cursor,
    /// What happened; none for a type of a newer program.
    pub kind: Option<EventType>,
    /// The device it is about.
    pub device: Option<DeviceId>,
    /// The target version it made.
    pub version: Option<i64>,
}

type ChangeRow = (i64, i64, String, Option<Uuid>, Option<i64>);

/// Up to `limit` settled events of every type after a place, in the order of the log.
///
/// # Errors
/// Whatever the database says.
pub async fn changes_after(
    session: &mut Session,
    cursor: Cursor,
    limit: i64,
) -> Result<Vec<Change>> {
    let rows: Vec<ChangeRow> = session
        .sql(
            "SELECT tx, seq, type, device_uuid, version FROM settled_events \
             WHERE (tx, seq) > ($1, $2) ORDER BY tx, seq LIMIT CAST($3 AS BIGINT)",
        )
        .bind(cursor.tx)
        .bind(cursor.seq)
        .bind(limit)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(tx, seq, kind, device, version)| Change {
            id: Cursor { tx, seq },
            kind: kind.parse().ok(),
            device: device.map(DeviceId),
            version,
        })
        .collect())
}

/// The device whose key has this hash.
///
/// # Errors
/// Whatever the database says.
pub async fn by_key(session: &mut Session, hash: &[u8]) -> Result<Option<DeviceId>> {
    let row: Option<(Uuid,)> = session
        .sql("SELECT uuid FROM devices WHERE key_hash = $1")
        .bind(hash.to_vec())
        .optional()
        .await?;
    Ok(row.map(|(device,)| DeviceId(device)))
}
